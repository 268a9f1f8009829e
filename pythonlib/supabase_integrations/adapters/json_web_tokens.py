"""PyJWT, and nothing else that knows it: reads the keys a project publishes and checks signatures under them.

A signature is checked with the key's own algorithm. The token's header chooses which key, never how it is used, and
keys inside a header (`jwk`, `jku`, `x5u`) are not looked at (RFC 8725 §3.1, §3.10).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
import orjson

from ..core import base64url
from ..core.errors import ConfigurationError
from ..core.secret import SecretStr
from ..core.token_refusal import TokenRefusal

_MAX_KEYS: Final = 32
_MIN_SECRET_BYTES: Final = 32
"""An HS256 key shorter than its hash can be found by trying (RFC 7518 §3.2)."""
_ALGORITHMS: Final = {("EC", "P-256"): "ES256", ("RSA", None): "RS256", ("OKP", "Ed25519"): "EdDSA"}
"""What a published key may be, and the one algorithm it is then used with."""

_COMPACT_JWS: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_JWS: Final = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """What a token says about its own signature, before anything is checked."""

    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the only algorithm it is used with."""

    algorithm: str
    _key: jwt.PyJWK | bytes = field(repr=False)

    def verified_payload(self, token: str) -> bytes:
        """The token's payload, if its signature is this key's. Raises UnauthenticatedError."""
        try:
            signed = _JWS.decode_complete(token, self._key, algorithms=[self.algorithm])
        except (jwt.InvalidAlgorithmError, NotImplementedError):
            raise TokenRefusal.ALGORITHM_NOT_ALLOWED.error() from None
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
            raise TokenRefusal.SIGNATURE_INVALID.error() from None
        except jwt.InvalidTokenError:
            raise TokenRefusal.MALFORMED.error() from None
        payload: bytes = signed["payload"]
        return payload


def read_header(token: str) -> TokenHeader:
    """The header of a compact JWS. Raises UnauthenticatedError (`token_malformed`).

    Beyond this point the token holds letters, digits, `-`, `_` and two dots: it can be put into a request header.
    """
    if not _COMPACT_JWS.fullmatch(token):
        raise TokenRefusal.MALFORMED.error()
    header = _json_object(_segment(token[: token.index(".")]))
    algorithm, key_id = header.get("alg"), header.get("kid")
    # `crit` names extensions that must be understood, and none is (RFC 7515 §4.1.11).
    if "crit" in header or not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise TokenRefusal.MALFORMED.error()
    return TokenHeader(algorithm, key_id)


def read_claims(payload: bytes) -> dict[str, Any]:
    """The claims in a payload. Raises UnauthenticatedError (`token_malformed`)."""
    return _json_object(payload)


def unverified_payload(token: str) -> bytes:
    """The payload of a token whose signature somebody else has yet to check. Raises UnauthenticatedError."""
    return _segment(token.split(".")[1])


def shared_secret_key(secret: SecretStr) -> VerificationKey:
    """The key of a project that signs with HS256. Whoever holds it can mint any role: development only.

    Raises ConfigurationError for a secret that is too short.
    """
    raw = secret.get_secret_value().encode()
    if len(raw) < _MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"SUPABASE_JWT_SECRET is shorter than {_MIN_SECRET_BYTES} bytes: set the secret your Supabase signs with."
        )
    return VerificationKey("HS256", raw)


def read_key_set(body: bytes) -> dict[str, VerificationKey]:
    """The usable keys of a JWK set (RFC 7517 §5), by key id. Raises ValueError for a body that is no such set.

    Left out, as that section asks, is every key that is not understood, and every key that a public set must not hold:
    symmetric ones and private ones.
    """
    try:
        entries = orjson.loads(body)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        entries = None
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError("Not a JWK set.")
    keys = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str):
            key = _read_key(entry)
            if key is not None:
                keys[entry["kid"]] = key
    return keys


def _read_key(entry: Mapping[str, Any]) -> VerificationKey | None:
    kty, curve = entry.get("kty"), entry.get("crv")
    algorithm = _ALGORITHMS.get((kty, curve)) if isinstance(kty, str) and isinstance(curve, str | None) else None
    operations = entry.get("key_ops", ["verify"])
    if (
        algorithm is None
        or entry.get("alg", algorithm) != algorithm
        or entry.get("use", "sig") != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
        or "d" in entry
    ):
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return None if key.Algorithm.check_key_length(key.key) else VerificationKey(algorithm, key)


def _segment(text: str) -> bytes:
    try:
        return base64url.decode(text)
    except ValueError:
        raise TokenRefusal.MALFORMED.error() from None


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise TokenRefusal.MALFORMED.error()
    return document
