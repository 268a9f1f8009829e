"""Taking secrets out of a stream of bytes, however its parts are cut, in constant memory.

A service may repeat what it was sent: Meta writes the token into `paging.next`, and test endpoints echo whole requests.
A secret is found as it is, and with any of its characters percent-encoded (up to four times over), or escaped as JSON,
JavaScript or HTML escape them: both text and secret are compared unescaped. One that is not escaped is found even where
it seems to make an escape with what stands around it. In Base64 it is found wherever it stands in what was encoded, but
for the few bits that it shares with its neighbours. A service that wanted to give its own token away could; this keeps
honest ones from it.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from .escapes import CUT_ESCAPE, LONGEST_ESCAPE, NEEDLESS, AsWritten, Unescaped, View
from .secret import SecretStr

MASK: Final = b"[redacted]"
SHORTEST: Final = 8
"""Shorter secrets are left: they occur by chance, and what is missing would tell them."""
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


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
        self._longest = max(map(len, ordered), default=0) + LONGEST_ESCAPE
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
        return self._replaced(Unescaped(data), len(data), goes_on=False)[0]

    def text(self, value: str) -> str:
        """A header's value."""
        return self.whole(value.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def _clean(self, data: bytes) -> int:
        """Where the end of data begins that holds no secret, and may hold the beginning of one."""
        for size in (2 * self._longest, LONGEST_ESCAPE * self._longest):
            if len(data) > size and len(Unescaped(data[-size:]).value) >= self._longest:
                return len(data) - size
        return 0

    def _may_contain(self, data: bytes) -> bool:
        if any(anchor in data for anchor in self._anchors):
            return True
        return any(byte in data and escape.search(data) for byte, escape in NEEDLESS)

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the data can be passed on, replaced, and what has to wait."""
        tail = len(data) - min(len(data), 2 * LONGEST_ESCAPE)
        cut = CUT_ESCAPE.search(data, tail)
        end = cut.start() if cut else len(data)
        passed, place = self._replaced(Unescaped(data[:end] if cut else data), end, goes_on=True)
        return passed, data[place:]

    def _replaced(self, text: Unescaped, end: int, *, goes_on: bool) -> tuple[bytes, int]:
        """The text with its secrets replaced, up to a place; from there on it may be the beginning of one."""
        passed: list[bytes] = []
        done = 0
        views: list[View] = [text] if text.value is text.data else [text, AsWritten(text)]
        nearest = {
            (form, view): view.value.find(form.value)
            for form in self._forms
            for view in views
            if form.anchor in view.value
        }
        nearest = {key: index for key, index in nearest.items() if index >= 0}
        while True:
            # Of those that begin at one place the first is the longest.
            found = min(nearest, key=lambda key: key[1].place(nearest[key]), default=None)
            place = len(text.data) if found is None else found[1].place(nearest[found])
            waits = [start for view in views if (start := self._begun(view, done)) is not None] if goes_on else []
            if waits and min(waits) <= place:
                stop = max(done, min(map(text.escape_start, waits)))
                return b"".join((*passed, text.data[done:stop])), stop
            if found is None:
                return b"".join((*passed, text.data[done:end])), end
            form, view = found
            passed += (text.data[done:place], MASK)
            done = view.end(nearest[found] + len(form.value))
            nearest = {key: index for key in nearest if (index := self._next(key, nearest[key], done)) >= 0}

    @staticmethod
    def _next(key: tuple[_Form, View], index: int, done: int) -> int:
        """Where in a view a secret comes next, from a place of the text on."""
        form, view = key
        return index if view.place(index) >= done else view.value.find(form.value, view.index(done))

    def _begun(self, view: View, done: int) -> int | None:
        """The first place from which on the text is the beginning of a secret, and no more."""
        found: int | None = None
        value, at = view.value, view.index(done)
        for form in self._forms:
            place = max(at, len(value) - len(form.value) + 1)
            while (place := value.find(form.value[:1], place)) >= 0:
                if form.value.startswith(value[place:]):
                    found = place if found is None else min(found, place)
                    break
                place += 1
        return None if found is None else view.place(found)


def _forms(secret: str) -> Iterable[bytes]:
    """A secret as it may be written, unescaped: forms write plus signs for spaces, JSON escapes quotes, and what looks
    like an escape in a secret may be taken for one or not.
    """
    if len(secret) >= SHORTEST:
        for form in (secret, secret.replace(" ", "+"), orjson.dumps(secret).decode()[1:-1]):
            yield form.encode()
            yield Unescaped(form.encode()).value
        for encoded in _in_base64(secret.encode()):
            yield from (encoded, encoded.translate(_URL_SAFE))


def _in_base64(secret: bytes) -> Iterable[bytes]:
    """The characters that are made of a secret's bits alone. Three bytes become four characters, so that there are
    three ways in which it may stand behind something else.
    """
    for before in range(3):
        yield b64encode(bytes(before) + secret)[(4 * before + 2) // 3 : 4 * (before + len(secret)) // 3]
