"""A text as it reads when the escapes of URLs, JSON, JavaScript and HTML are taken away, and where everything was."""

import re
from bisect import bisect_right
from typing import Final, Protocol

_ESCAPES: Final = (
    re.compile(rb"%(?:25){0,3}(?P<percent>[0-9A-Fa-f]{2})"),
    re.compile(rb"\\\\{0,7}(?:u(?P<unicode>[0-9A-Fa-f]{4})|x(?P<hex>[0-9A-Fa-f]{2})|(?P<itself>/))"),
    re.compile(rb"&(?:amp;){0,3}(?:#(?P<decimal>\d{1,5})|#[xX](?P<hex>[0-9A-Fa-f]{1,5})|(?P<name>[a-z]{2,6}));"),
)
"""Of what is escaped several times over, the outer escapes are part of it. Each begins with one certain byte, which
makes searching four times as fast as with all in one expression.
"""
CUT_ESCAPE: Final = re.compile(
    rb"(?:%(?:25){0,3}[0-9A-Fa-f]?|\\\\{0,7}(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?"
    rb"|&(?:amp;){0,3}(?:#(?:\d{0,5}|[xX][0-9A-Fa-f]{0,5})|[a-z]{0,6})?)\Z"
)
"""What the end of a part may be the beginning of."""
LONGEST_ESCAPE: Final = 24
NEEDLESS: Final = (
    (b"%", re.compile(rb"%(?:25){0,3}(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")),
    (b"\\", re.compile(rb"\\(?:u00|x)(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")),
    (
        b"#",
        re.compile(
            rb"#(?<=[&;]#)(?:0*(?:4[89]|5[0-7]|6[5-9]|[78][0-9]|9[07-9]|1[01][0-9]|12[0-2])"
            rb"|[xX]0*(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]));"
        ),
    ),
)
"""An escaped letter or digit, which no encoder writes without being told to. Each begins with one certain byte, for
which a text that has none of it is searched several times faster.
"""
_NAMED: Final = {
    b"amp": b"&",
    b"lt": b"<",
    b"gt": b">",
    b"quot": b'"',
    b"apos": b"'",
    b"sol": b"/",
    b"equals": b"=",
    b"plus": b"+",
}


class View(Protocol):
    """One reading of a text. An index is of the reading, a place of the text."""

    value: bytes

    def place(self, index: int) -> int:
        """Where something begins."""
        ...

    def end(self, index: int) -> int:
        """Where something ends."""
        ...

    def index(self, place: int) -> int:
        """The first index that is not before a place."""
        ...


class Unescaped:
    """A text without its escapes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._indexes = [0]
        self._ends = [0]
        self._starts: list[int] = []
        parts: list[bytes] = []
        done = length = 0
        found = [escape for kind in _ESCAPES for escape in kind.finditer(data) if _is_known(escape)]
        for escape in sorted(found, key=re.Match.start):
            parts += (data[done : escape.start()], (character := _unescaped(escape)))
            length += escape.start() - done + len(character)
            done = escape.end()
            self._starts.append(escape.start())
            self._indexes.append(length)
            self._ends.append(done)
        self.value = b"".join((*parts, data[done:])) if parts else data

    def place(self, index: int) -> int:
        part = bisect_right(self._indexes, index) - 1
        return index - self._indexes[part] + self._ends[part]

    end = place

    def index(self, place: int) -> int:
        part = bisect_right(self._ends, place) - 1
        index = place - self._ends[part] + self._indexes[part]
        return index if self.escape_start(place) == place else self._indexes[part + 1]

    def escape_start(self, place: int) -> int:
        """Where the escape begins that a place is within, or the place itself."""
        escape = bisect_right(self._starts, place) - 1
        return self._starts[escape] if escape >= 0 and place < self._ends[escape + 1] else place

    def escape_end(self, place: int) -> int:
        """Where the escape ends that a place is within, or the place itself."""
        return place if (start := self.escape_start(place)) == place else self._ends[bisect_right(self._ends, start)]


class AsWritten:
    """A text with its escapes, which may be none: a percent sign before a secret that begins with two digits. Of an
    escape that the end of a secret seems to begin, nothing is left.
    """

    def __init__(self, text: Unescaped) -> None:
        self.value = text.data
        self._text = text

    def place(self, index: int) -> int:
        return index

    def end(self, index: int) -> int:
        return self._text.escape_end(index)

    def index(self, place: int) -> int:
        return place


def _is_known(escape: re.Match[bytes]) -> bool:
    return escape.lastgroup != "name" or escape[escape.lastindex or 0] in _NAMED


def _unescaped(escape: re.Match[bytes]) -> bytes:
    kind, content = escape.lastgroup, escape[escape.lastindex or 0]
    match kind:
        case "percent":
            return bytes.fromhex(content.decode())
        case "itself":
            return content
        case "name":
            return _NAMED[content]
    return chr(int(content, 10 if kind == "decimal" else 16)).encode("utf-8", "replace")
