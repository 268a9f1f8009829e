"""What may be sealed, texts and JSON objects, as bytes and back.

The errors raised here have contexts and frames that hold the plaintext: `Encryption` takes both away.
"""

import math
from collections.abc import Mapping
from typing import Final

import orjson

from .encryption_errors import UnexpectedContentError, UnsealableValueError
from .json_types import JsonObject, JsonValue

MAX_LENGTH: Final = 45_056
"""Bytes. Sealed with the longest place, it still fits the database's 65,536 characters."""

_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def from_text(text: str) -> bytes:
    """UTF-8. Raises UnsealableValueError for lone surrogates and beyond 45,056 bytes."""
    try:
        return bounded(text.encode())
    except UnicodeEncodeError:
        raise UnsealableValueError("The text is not valid Unicode: it has a lone surrogate.") from None


def to_text(content: bytes) -> str:
    """The text. Raises UnexpectedContentError for bytes that are not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UnexpectedContentError("The ciphertext opens, but does not hold a text.") from None


def from_object(value: JsonObject) -> bytes:
    """Compact JSON. Raises UnsealableValueError for what JSON cannot carry back exactly and beyond 45,056 bytes."""
    try:
        content = orjson.dumps(value, default=_as_dict, option=_OPTIONS)
    except orjson.JSONEncodeError:
        content = b""
    # orjson writes NaN and infinities as null, so only a document with a null can have lost one.
    if not content.startswith(b"{") or (b"null" in content and _has_non_finite(value)):
        raise UnsealableValueError(
            "The value is not an object that JSON carries exactly: check for keys that are not texts, numbers that are "
            "not finite or beyond 64 bits, and lone surrogates."
        )
    return bounded(content)


def to_object(content: bytes) -> dict[str, JsonValue]:
    """The JSON object. Raises UnexpectedContentError for bytes that are not one."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise UnexpectedContentError("The ciphertext opens, but does not hold a JSON object.")
    return value


def bounded(content: bytes) -> bytes:
    """The same bytes. Raises UnsealableValueError beyond 45,056."""
    if len(content) > MAX_LENGTH:
        raise UnsealableValueError(f"The plaintext has {len(content)} bytes; at most {MAX_LENGTH} can be sealed.")
    return content


def _as_dict(value: object) -> dict[object, object]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _has_non_finite(value: JsonValue) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_has_non_finite, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_non_finite, value))
