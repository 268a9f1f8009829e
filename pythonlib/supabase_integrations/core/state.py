"""The `state` parameter (RFC 6749 §10.12): 32 random bytes that authenticate themselves.

A state says, without any database, that this service made it, until when it holds, and which allow-listed page it
leads back to. It names neither user nor service: those are sealed in the flow, under the state's SHA-256.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from . import base64url
from .associated_data import AssociatedData, Purpose
from .encryption import Encryption
from .encryption_errors import DecryptionError
from .errors import InvalidStateError

STATE_LIFETIME: Final = timedelta(minutes=10)

_RANDOM_BYTES: Final = 32
_REDIRECT_BYTES: Final = 8
_EXPIRY_BYTES: Final = 8
_CONTENT_BYTES: Final = _RANDOM_BYTES + _REDIRECT_BYTES + _EXPIRY_BYTES
_MAX_TEXT_LENGTH: Final = 512


@dataclass(frozen=True, slots=True)
class AuthenticState:
    """A state whose tag was checked. `hash` is the hex SHA-256 of its text: all that the database ever sees of it."""

    hash: str
    expires_at: datetime
    redirect_digest: bytes

    def redirect_to(self, allowed: Iterable[str]) -> str | None:
        """The allow-listed page this state leads back to; None where it names none, or one that is allowed no more."""
        return next((url for url in allowed if _redirect_digest(url) == self.redirect_digest), None)


def new_state(encryption: Encryption, *, redirect_to: str | None, now: datetime) -> str:
    """A fresh state, good for ten minutes."""
    expiry = int((now + STATE_LIFETIME).timestamp()).to_bytes(_EXPIRY_BYTES)
    content = secrets.token_bytes(_RANDOM_BYTES) + _redirect_digest(redirect_to) + expiry
    tag = encryption.seal_bytes(b"", _associated_data(content))
    return base64url.encode(content + tag)


def read_state(encryption: Encryption, state: str) -> AuthenticState:
    """Authenticate a state. Whether it has expired is for the caller to decide. Raises InvalidStateError."""
    raw = _decode(state)
    content = raw[:_CONTENT_BYTES]
    try:
        encryption.open_bytes(raw[_CONTENT_BYTES:], _associated_data(content))
    except DecryptionError:
        raise InvalidStateError from None
    return AuthenticState(
        hash=state_hash(state),
        expires_at=datetime.fromtimestamp(int.from_bytes(content[-_EXPIRY_BYTES:]), UTC),
        redirect_digest=content[_RANDOM_BYTES : _RANDOM_BYTES + _REDIRECT_BYTES],
    )


def state_hash(state: str) -> str:
    """Hex SHA-256 of the state's text."""
    return sha256(state.encode("ascii")).hexdigest()


def _decode(state: str) -> bytes:
    """Canonical base64url only, or the same bytes would be a second state with another hash."""
    if len(state) > _MAX_TEXT_LENGTH:
        raise InvalidStateError
    try:
        return base64url.decode(state)
    except ValueError:
        raise InvalidStateError from None


def _redirect_digest(redirect_to: str | None) -> bytes:
    return sha256(redirect_to.encode()).digest()[:_REDIRECT_BYTES] if redirect_to else bytes(_REDIRECT_BYTES)


def _associated_data(content: bytes) -> AssociatedData:
    return AssociatedData(purpose=Purpose.STATE, id=content.hex())
