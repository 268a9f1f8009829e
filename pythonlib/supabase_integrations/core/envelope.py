"""The text form of a ciphertext: `v1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`. Strict, bounded, without keys."""

import re

from . import base64url
from .encryption_errors import (
    EnvelopeTooLongError,
    MalformedEnvelopeError,
    NonCanonicalEnvelopeError,
    TruncatedEnvelopeError,
    UnsupportedEnvelopeVersionError,
)

MAX_LENGTH = 65_536
"""Characters; the database's own limit for a column of credentials."""

PREFIX_LENGTH = len("v1.01234567.")
NONCE_LENGTH = 12
"""Bytes: the 96 bits for which GCM needs no hashing of the nonce (NIST SP 800-38D, 5.2.1.1)."""
TAG_LENGTH = 16

_PREFIX = re.compile(r"v1\.([0-9a-f]{8})\.")
_ANY_VERSION = re.compile(r"v[0-9]{1,9}\.")
_LETTERS = re.compile(r"[A-Za-z0-9_-]*")


def prefix_of(key_id: str) -> str:
    """What every envelope sealed under a key begins with."""
    return f"v1.{key_id}."


def key_id_of(envelope: str) -> str:
    """The id of the key an envelope names. Raises MalformedEnvelopeError, UnsupportedEnvelopeVersionError."""
    prefix = _PREFIX.match(envelope)
    if prefix is not None:
        return prefix[1]
    if _ANY_VERSION.match(envelope) and not envelope.startswith("v1."):
        raise UnsupportedEnvelopeVersionError
    raise MalformedEnvelopeError


def sealed_bytes_of(envelope: str) -> bytes:
    """Nonce, ciphertext and tag of an envelope whose prefix is known to be good.

    Raises EnvelopeTooLongError, NonCanonicalEnvelopeError, TruncatedEnvelopeError.
    """
    if len(envelope) > MAX_LENGTH:
        raise EnvelopeTooLongError
    sealed: bytes | None
    try:
        sealed = base64url.decode(envelope[PREFIX_LENGTH:])
    except ValueError:
        sealed = None
    if sealed is None:
        ends_within_a_byte = (len(envelope) - PREFIX_LENGTH) % 4 == 1 and _LETTERS.fullmatch(envelope, PREFIX_LENGTH)
        raise TruncatedEnvelopeError if ends_within_a_byte else NonCanonicalEnvelopeError
    if len(sealed) < NONCE_LENGTH + TAG_LENGTH:
        raise TruncatedEnvelopeError
    return sealed
