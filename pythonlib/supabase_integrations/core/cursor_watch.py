"""Noticing that a list at a service goes round in circles, in constant memory."""

from .errors import EndlessListError


class CursorWatch:
    """Sees the cursors of one list, in order: each page's word for where the next one begins.

    Brent's way: one cursor is remembered, and after twice as many pages as before the latest one in its place. A circle
    of n pages that begins after m others is noticed within 3 · max(m, n) pages, and a list without one never is taken
    for it.
    """

    def __init__(self, first: str | None) -> None:
        """`first` is where the list was begun."""
        self._remembered = first
        self._pages = 0
        self._until = 1

    def see(self, cursor: str) -> None:
        """Raises EndlessListError where this page has been read before."""
        if cursor == self._remembered:
            raise EndlessListError
        self._pages += 1
        if self._pages == self._until:
            self._remembered, self._pages, self._until = cursor, 0, 2 * self._until
