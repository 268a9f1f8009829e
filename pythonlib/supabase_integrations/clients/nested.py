"""The lists of several parents, such as the campaigns of all ad accounts, as one list that can be gone on with."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

import orjson

from ..core.errors import InvalidValueError, ServiceError
from .paging import Listing, Page

_FORBIDDEN: Final = 403
_OTHER: Final = "This is not where such a list stood."


class Nested:
    """The pages of each parent's list, parents in the order of their ids.

    A page's cursor names the parent and where its list goes on; a parent that is gone by then is passed over. So is one
    that the service refuses with 403 while it gives another: the pages after it, also those after their cursors, say
    that the list is partial, and where there are none an empty one does.
    """

    def __init__(
        self,
        parents: Callable[[], Awaitable[Iterable[str]]],
        listing: Callable[[str], Listing],
    ) -> None:
        self._parents = parents
        self._listing = listing

    async def pages(self, after: str | None = None) -> AsyncIterator[Page]:
        """The pages, or those after a page's `cursor`. Raises InvalidValueError for another list's cursor."""
        first, inner, is_partial = _parse(after)
        parents = sorted({parent for parent in await self._parents() if parent >= first})
        # A cursor comes from a page that another parent gave.
        is_open, refusal, is_told = after is not None, None, False
        for number, parent in enumerate(parents):
            following = _cursor(parents[number + 1], None, is_partial) if number + 1 < len(parents) else None
            try:
                async for page in self._listing(parent).pages(inner if parent == first else None):
                    cursor = _cursor(parent, page.cursor, is_partial) if page.cursor is not None else following
                    is_open, is_told = True, is_partial
                    yield replace(page, cursor=cursor, is_partial=is_partial)
            except ServiceError as error:
                # One closed account must not keep the others out; where all are, it is the connection.
                if error.status != _FORBIDDEN:
                    raise
                refusal, is_partial = error, True
        if refusal is not None and not is_open:
            raise refusal
        if is_partial and not is_told:
            yield Page((), None, is_partial=True)


def _cursor(parent: str, inner: str | None, is_partial: bool) -> str:
    return orjson.dumps([parent, inner, is_partial]).decode()


def _parse(cursor: str | None) -> tuple[str, str | None, bool]:
    if cursor is None:
        return "", None, False
    try:
        parent, inner, is_partial = orjson.loads(cursor)
    except (TypeError, ValueError):
        raise InvalidValueError("cursor", _OTHER) from None
    if not (isinstance(parent, str) and isinstance(inner, str | None) and isinstance(is_partial, bool)):
        raise InvalidValueError("cursor", _OTHER)
    return parent, inner, is_partial
