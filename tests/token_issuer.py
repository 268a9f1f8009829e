"""A Supabase Auth of the tests' own: signing keys, the set of public keys it publishes, and access tokens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeAlias
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PROJECT = "https://canary-project.supabase.test"
PUBLISHABLE_KEY = "sb_publishable_canary"
USER = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
SESSION = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
SHARED_SECRET = "canary-shared-jwt-secret-of-40-characters"

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A private key of the project, and the name it is published under."""

    key_id: str
    algorithm: str
    private: PrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half, as Supabase publishes it."""
        return _public_jwk(self.private) | {"kid": self.key_id, "alg": self.algorithm, "use": "sig"}

    @property
    def public_pem(self) -> bytes:
        """Its public half, as an attacker may have it."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token over the claims; `header` adds to or replaces the ordinary header."""
        return jwt.encode(claims, self.private, self.algorithm, {"kid": self.key_id} | header)


def signing_key(algorithm: str = "ES256", key_id: str = "current") -> SigningKey:
    """A key of that kind, the same one for each name."""
    return _signing_key(algorithm, key_id)


@cache
def _signing_key(algorithm: str, key_id: str) -> SigningKey:
    # Apart from the function above because a cache takes an argument that is given for another one than its default.
    if algorithm == "RS256":
        return SigningKey(key_id, algorithm, rsa.generate_private_key(65_537, 2048))
    if algorithm == "EdDSA":
        return SigningKey(key_id, algorithm, ed25519.Ed25519PrivateKey.generate())
    return SigningKey(key_id, algorithm, ec.generate_private_key(ec.SECP256R1()))


def key_set(*keys: SigningKey | dict[str, Any]) -> bytes:
    """The body of `/auth/v1/.well-known/jwks.json`."""
    return json.dumps({"keys": [key.jwk if isinstance(key, SigningKey) else key for key in keys]}).encode()


def claims(now: datetime | None = None, *, without: Sequence[str] = (), **changes: Any) -> dict[str, Any]:
    """What Supabase Auth says of an ordinary user for an hour from `now`."""
    issued_at = int((now or datetime.now(UTC)).timestamp())
    ordinary = {
        "iss": f"{PROJECT}/auth/v1",
        "sub": str(USER),
        "aud": "authenticated",
        "exp": issued_at + 3600,
        "iat": issued_at,
        "role": "authenticated",
        "session_id": SESSION,
        "is_anonymous": False,
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"email": "user@example.com"},
    }
    return {name: value for name, value in (ordinary | changes).items() if name not in without}


def hs256(payload: dict[str, Any], secret: str = SHARED_SECRET) -> str:
    """A token of a project that signs with a shared secret."""
    return jwt.encode(payload, secret, "HS256")


def _public_jwk(private: PrivateKey) -> dict[str, Any]:
    if isinstance(private, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
