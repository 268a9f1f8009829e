"""The path and query of a request to a service, checked: what is sent is what was meant, on every server on the way.

A path that one server reads differently from another (RFC 3986 §6.2) would get past whatever was allowed or refused by
its text. So what could be read twice is refused, and not repaired.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from .errors import InvalidValueError

Scalar: TypeAlias = str | int | float | bool
QueryParams: TypeAlias = Mapping[str, Scalar | Sequence[Scalar]] | Sequence[tuple[str, Scalar]]

MAX_TARGET_LENGTH: Final = 16_384
"""Of an encoded path, in bytes; servers commonly take 8 to 32 KiB of path and query together."""
_SAFE_IN_PATH: Final = "/:@!$'()*,;=+~-._%&"
_SAFE_IN_QUERY: Final = "/:@!$'()*,~-._"
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~-]+(?:[.:][A-Za-z0-9_~-]+)*)+/?")
"""Nothing in it could be read twice."""
_TWICE_ENCODED: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_LOG_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_:.-]{0,39}|v\d{1,3}(?:[._]\d{1,3})?|\d{4}-\d{2}(?:-\d{2})?")
_LEFT_OUT: Final = "{…}"


def checked_path(path: str) -> str:
    """A path with everything percent-encoded that has to be. Raises InvalidValueError for one that could mislead:
    `.` and `..`, an empty segment, a backslash, a control character, an encoded or doubly encoded one of them.
    """
    if _PLAIN.fullmatch(path) and len(path) <= MAX_TARGET_LENGTH:
        return path
    if not path.startswith("/"):
        raise _refused("must begin with a slash, and name no host")
    encoded = quote(path, safe=_SAFE_IN_PATH)
    if len(encoded) > MAX_TARGET_LENGTH:
        raise _refused(f"must be at most {MAX_TARGET_LENGTH} bytes")
    if re.search(r"%(?![0-9A-Fa-f]{2})", encoded):
        raise _refused("must have two hexadecimal digits after each percent sign")
    *inner, last = encoded.split("/")[1:]
    for segment in (*inner, last or "end"):
        _check_segment(segment)
    return encoded


def segments(path: str) -> tuple[str, ...]:
    """The decoded segments of a checked path."""
    return tuple(unquote_to_bytes(segment).decode() for segment in path.split("/")[1:])


def path_template(path: str) -> str:
    """A checked path for logs: words and versions stay, and everything else is left out, such as ids and secrets."""
    return "/".join(
        segment if not segment or _LOG_WORD.fullmatch(segment) else _LEFT_OUT for segment in path.split("/")
    )


def query_pairs(params: QueryParams | None) -> list[tuple[str, str]]:
    """Parameters as a caller gives them, as pairs of texts; a list becomes one pair for each of its values."""
    if params is None:
        return []
    items = params.items() if isinstance(params, Mapping) else params
    return [
        (name, _text(value))
        for name, given in items
        for value in ([given] if isinstance(given, str | int | float) else given)
    ]


def parsed_query(query: str) -> list[tuple[str, str]]:
    """The parameters of a raw query. Raises InvalidValueError for one that is not UTF-8."""
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError):
        raise InvalidValueError("query", "The query is not one that could be sent.") from None


def written_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Parameters as a query, in which semicolons, plus signs and the like can be read in one way only."""
    return urlencode(list(pairs), safe=_SAFE_IN_QUERY)


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_segment(segment: str) -> None:
    if not segment:
        raise _refused("must have no empty segment")
    raw = unquote_to_bytes(segment)
    if _TWICE_ENCODED.search(raw):
        raise _refused("must not be percent-encoded twice")
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        raise _refused("must be UTF-8") from None
    # Some servers compare names in this form, in which a full-width slash is a slash.
    meant = unicodedata.normalize("NFKC", decoded)
    if any(character in "/\\" or unicodedata.category(character) == "Cc" for character in decoded + meant):
        raise _refused("must not hide a slash, a backslash or a control character in a segment")
    # A servlet container drops what follows a semicolon, and takes what is left for the segment.
    if {part.partition(";")[0].strip() for part in (decoded, meant)} & {"", ".", ".."}:
        raise _refused("must not have . or .. as a segment")


def _refused(why: str) -> InvalidValueError:
    return InvalidValueError("path", f"The path {why}.")
