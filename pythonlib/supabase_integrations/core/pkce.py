"""Proof Key for Code Exchange (RFC 7636), method S256 only."""

from base64 import urlsafe_b64encode
from hashlib import sha256


def code_challenge(code_verifier: str) -> str:
    """BASE64URL(SHA256(ASCII(code_verifier))), unpadded (RFC 7636 §4.2)."""
    return urlsafe_b64encode(sha256(code_verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")
