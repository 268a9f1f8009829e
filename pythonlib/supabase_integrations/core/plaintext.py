"""What may be sealed, texts and JSON objects, as bytes and back.

None where a value is refused: an exception raised here would carry the value, or a frame that does.
"""

import math
from collections.abc import Mapping
from typing import Final

import orjson

from .json_types import JsonObject, JsonValue

MAX_LENGTH: Final = 45_056
"""Bytes. Sealed with the longest place, it still fits the database's 65,536 characters."""

_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def from_text(text: str) -> bytes | None:
    """UTF-8; None for lone surrogates and for more than 45,056 bytes."""
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return None
    return content if len(content) <= MAX_LENGTH else None


def to_text(content: bytes) -> str | None:
    """The text; None for bytes that are not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def from_object(value: JsonObject) -> bytes | None:
    """Compact JSON; None for what JSON cannot carry back exactly, and for more than 45,056 bytes."""
    try:
        content = orjson.dumps(value, default=_as_dict, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return None
    if not content.startswith(b"{") or len(content) > MAX_LENGTH:
        return None
    # orjson writes NaN and infinities as null, so only a document with a null can have lost one.
    return None if b"null" in content and _has_non_finite(value) else content


def to_object(content: bytes) -> dict[str, JsonValue] | None:
    """The JSON object; None for bytes that are not one."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


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
