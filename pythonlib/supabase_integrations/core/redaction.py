"""Taking secrets out of a stream of bytes, however its parts are cut, in constant memory.

A service may repeat what it was sent: Meta writes the token into `paging.next`, and test endpoints echo whole requests.
A secret is found as it is, and with any of its characters percent-encoded (up to four times over), or escaped as JSON,
JavaScript or HTML escape them: both text and secret are compared unescaped. In Base64 it is found wherever it stands in
what was encoded, but for the few bits that it shares with its neighbours. A service that wanted to give its own token
away could; this keeps honest ones from it.
"""

import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from .secret import SecretStr

MASK: Final = b"[redacted]"
SHORTEST: Final = 8
"""Shorter secrets are left: they occur by chance, and what is missing would tell them."""
_ESCAPES: Final = (
    re.compile(rb"%(?:25){0,3}(?P<percent>[0-9A-Fa-f]{2})"),
    re.compile(rb"\\\\{0,7}(?:u(?P<unicode>[0-9A-Fa-f]{4})|x(?P<hex>[0-9A-Fa-f]{2})|(?P<itself>/))"),
    re.compile(rb"&(?:amp;){0,3}(?:#(?P<decimal>\d{1,5})|#[xX](?P<hex>[0-9A-Fa-f]{1,5})|(?P<name>[a-z]{2,6}));"),
)
"""Of what is escaped several times over, the outer escapes are part of it. Each begins with one certain byte, which
makes searching four times as fast as with all in one expression.
"""
_CUT_ESCAPE: Final = re.compile(
    rb"(?:%(?:25){0,3}[0-9A-Fa-f]?|\\\\{0,7}(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?"
    rb"|&(?:amp;){0,3}(?:#(?:\d{0,5}|[xX][0-9A-Fa-f]{0,5})|[a-z]{0,6})?)\Z"
)
"""What the end of a part may be the beginning of."""
_LONGEST_ESCAPE: Final = 24
_NEEDLESS: Final = (
    (b"%", re.compile(rb"%(?:25){0,3}(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")),
    (b"\\", re.compile(rb"\\(?:u00|x)(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")),
    (b"#", re.compile(rb"#(?<=[&;]#)(?:[0-9]|[xX][0-9A-Fa-f])")),
)
"""An escaped letter or digit, which no encoder writes without being told to. Each begins with one certain byte, for
which a text that has none of it is searched several times faster.
"""
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
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


@dataclass(frozen=True, slots=True)
class _Form:
    """One secret, unescaped, and a part of it that stands in a text as it is unless letters are escaped."""

    value: bytes
    anchor: bytes


class Redactor:
    """Replaces some secrets. One for each stream, fed with its parts in order; `finish` gives what it held back.

    Held back is only what may be the beginning of a secret, so that events arrive as they are sent.
    """

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        values = {form for secret in secrets for form in _forms(secret.get_secret_value())}
        # The longest first: of two secrets that begin alike, the longer one is taken where both fit.
        ordered = sorted(values, key=len, reverse=True)
        self._forms = [_Form(value, max(re.findall(rb"[0-9A-Za-z]+", value) or [b""], key=len)) for value in ordered]
        self._anchors = {form.anchor for form in self._forms}
        self._longest = max(map(len, ordered), default=0) + _LONGEST_ESCAPE
        self._held = b""

    def feed(self, part: bytes) -> bytes:
        """What can be passed on after another part has come."""
        passed = self.feed_plain(part)
        return self.search() if passed is None else passed

    def feed_plain(self, part: bytes) -> bytes | None:
        """The same, where the part plainly holds no secret. For another it is None, and `search` has to look at it."""
        if not self._forms:
            return part
        data = self._held + part if self._held else part
        if self._may_contain(data):
            self._held = data
            return None
        clean = self._clean(data)
        passed, self._held = self._split(data[clean:] if clean else data)
        return data[:clean] + passed if clean else passed

    def search(self) -> bytes:
        """What can be passed on of a part that may hold a secret. Text of nothing but escapes takes a hundred times as
        long as any other.
        """
        passed, self._held = self._split(self._held)
        return passed

    def finish(self) -> bytes:
        """What is left when no more comes."""
        held, self._held = self._held, b""
        return self.whole(held)

    def whole(self, data: bytes) -> bytes:
        """A text that has come as a whole."""
        if not data or not self._forms or not self._may_contain(data):
            return data
        return self._replaced(_Unescaped(data), len(data), goes_on=False)[0]

    def text(self, value: str) -> str:
        """A header's value."""
        return self.whole(value.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def _clean(self, data: bytes) -> int:
        """Where the end of data begins that holds no secret, and may hold the beginning of one."""
        for size in (2 * self._longest, _LONGEST_ESCAPE * self._longest):
            if len(data) > size and len(_Unescaped(data[-size:]).value) >= self._longest:
                return len(data) - size
        return 0

    def _may_contain(self, data: bytes) -> bool:
        if any(anchor in data for anchor in self._anchors):
            return True
        return any(byte in data and escape.search(data) for byte, escape in _NEEDLESS)

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the data can be passed on, replaced, and what has to wait."""
        tail = len(data) - min(len(data), 2 * _LONGEST_ESCAPE)
        cut = _CUT_ESCAPE.search(data, tail)
        end = cut.start() if cut else len(data)
        passed, place = self._replaced(_Unescaped(data[:end] if cut else data), end, goes_on=True)
        return passed, data[place:]

    def _replaced(self, text: "_Unescaped", end: int, *, goes_on: bool) -> tuple[bytes, int]:
        """The text with its secrets replaced, up to a place; from there on it may be the beginning of one."""
        passed: list[bytes] = []
        at = done = 0
        anchors = {anchor for anchor in self._anchors if anchor in text.value}
        nearest = {form: text.value.find(form.value) for form in self._forms if form.anchor in anchors}
        while True:
            for form, place in nearest.items():
                if 0 <= place < at:
                    nearest[form] = text.value.find(form.value, at)
            # Of those that begin at one place the first is the longest.
            found = min((form for form, place in nearest.items() if place >= 0), key=nearest.__getitem__, default=None)
            waits = self._begun(text.value, at) if goes_on else None
            if waits is not None and (found is None or waits <= nearest[found]):
                stop = text.place(waits)
                return b"".join((*passed, text.data[done:stop])), stop
            if found is None:
                return b"".join((*passed, text.data[done:end])), end
            passed += (text.data[done : text.place(nearest[found])], MASK)
            at = nearest[found] + len(found.value)
            done = text.place(at)

    def _begun(self, value: bytes, at: int) -> int | None:
        """The first place from which on the text is the beginning of a secret, and no more."""
        found: int | None = None
        for form in self._forms:
            place = max(at, len(value) - len(form.value) + 1)
            while (place := value.find(form.value[:1], place)) >= 0:
                if form.value.startswith(value[place:]):
                    found = place if found is None else min(found, place)
                    break
                place += 1
        return found


class _Unescaped:
    """A text without its escapes, and where each of its places was before."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._places = [0]
        self._shifts = [0]
        parts: list[bytes] = []
        done = length = 0
        found = [escape for kind in _ESCAPES for escape in kind.finditer(data) if _is_known(escape)]
        for escape in sorted(found, key=re.Match.start):
            parts += (data[done : escape.start()], (character := _unescaped(escape)))
            length += escape.start() - done + len(character)
            done = escape.end()
            self._places.append(length)
            self._shifts.append(done - length)
        self.value = b"".join((*parts, data[done:])) if parts else data

    def place(self, index: int) -> int:
        """Where in the original text something of the unescaped one begins."""
        return index + self._shifts[bisect_right(self._places, index) - 1]


def _forms(secret: str) -> Iterable[bytes]:
    """A secret as it may be written, unescaped: forms write plus signs for spaces, JSON escapes quotes, and what looks
    like an escape in a secret may be taken for one or not.
    """
    if len(secret) >= SHORTEST:
        for form in (secret, secret.replace(" ", "+"), orjson.dumps(secret).decode()[1:-1]):
            yield form.encode()
            yield _Unescaped(form.encode()).value
        for encoded in _in_base64(secret.encode()):
            yield from (encoded, encoded.translate(_URL_SAFE))


def _in_base64(secret: bytes) -> Iterable[bytes]:
    """The characters that are made of a secret's bits alone. Three bytes become four characters, so that there are
    three ways in which it may stand behind something else.
    """
    for before in range(3):
        yield b64encode(bytes(before) + secret)[(4 * before + 2) // 3 : 4 * (before + len(secret)) // 3]


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
