"""A JSON array that arrives in pieces, taken apart into its items: what is held is one item, not the array."""

import re
from typing import Final

from .errors import ReplyTooLargeError

MAX_ITEM_BYTES: Final = 64 * 1024 * 1024
_PLAIN: Final = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""Everything up to the next bracket, or to the quotation mark of a string that does not end in this piece."""
_IN_STRING: Final = re.compile(rb'["\\]')


class ArrayItems:
    """Feed it the pieces in their order; what is no JSON is left for the parser of the items to refuse."""

    def __init__(self, max_item_bytes: int = MAX_ITEM_BYTES) -> None:
        self._max_item_bytes = max_item_bytes
        self._item = bytearray()
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self.is_complete = False
        """The array's closing bracket has come."""

    def feed(self, piece: bytes) -> list[bytes]:
        """The items (arrays or objects) that this piece completes. Raises ReplyTooLargeError."""
        found: list[bytes] = []
        at, begin = 0, 0 if self._depth > 1 else None
        while at < len(piece):
            if self._in_string:
                at = self._leave_string(piece, at)
                continue
            plain = _PLAIN.match(piece, at)
            at = plain.end() if plain else at
            character = piece[at : at + 1]
            at += 1
            if character == b'"':
                self._in_string = True
            elif character in (b"[", b"{"):
                self._depth += 1
                if self._depth == 2:
                    begin = at - 1
            elif character:
                self._depth -= 1
                if self._depth == 1 and begin is not None:
                    self._hold(piece[begin:at])
                    found.append(bytes(self._item))
                    self._item.clear()
                    begin = None
                self.is_complete = self._depth == 0
        if begin is not None:
            self._hold(piece[begin:])
        return found

    def _hold(self, part: bytes) -> None:
        if len(self._item) + len(part) > self._max_item_bytes:
            raise ReplyTooLargeError(f"One item of a list is larger than {self._max_item_bytes} bytes.")
        self._item += part

    def _leave_string(self, piece: bytes, at: int) -> int:
        """Where the search goes on after the string, or after what this piece has of it."""
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        mark = _IN_STRING.search(piece, at)
        if mark is None:
            return len(piece)
        if mark[0] == b'"':
            self._in_string = False
        else:
            self._is_escaped = True
        return mark.end()
