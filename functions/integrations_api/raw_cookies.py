"""Cookies read byte by byte, because a name's prefix is a promise that the browser made for exactly these bytes.

A browser lets no other host set a cookie called `__Host-…` (RFC 6265bis §4.1.3.2). Common parsers strip what they take
for white space, such as the byte A0, from a name that a sibling host was allowed to set, and so break the promise.
"""

from collections.abc import Iterable


def cookie_value(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """The value of the cookie of exactly this name; None where there is none, or more than one."""
    wanted = name.encode("ascii")
    values = [value for candidate, value in _pairs(headers) if candidate == wanted]
    if len(values) != 1 or not values[0].isascii():
        return None
    return values[0].decode("ascii")


def _pairs(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """Split at semicolons, strip spaces and tabs, unquote nothing (RFC 6265 §5.4 writes nothing else)."""
    for header, line in headers:
        if header == b"cookie":
            for pair in line.split(b";"):
                candidate, _, value = pair.strip(b" \t").partition(b"=")
                yield candidate, value
