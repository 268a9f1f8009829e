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

    A page's cursor names the parent and where its list goes on; a parent that is gone by then is passed over, and so is
    one that the service refuses with 403 while it gives another.
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
        first, inner = _parse(after)
        parents = sorted({parent for parent in await self._parents() if parent >= first})
        # A cursor comes from a page that another parent gave.
        is_open, refusal = after is not None, None
        for number, parent in enumerate(parents):
            following = _cursor(parents[number + 1], None) if number + 1 < len(parents) else None
            try:
                async for page in self._listing(parent).pages(inner if parent == first else None):
                    is_open = True
                    yield replace(page, cursor=_cursor(parent, page.cursor) if page.cursor is not None else following)
            except ServiceError as error:
                # One closed account must not keep the others out; where all are, it is the connection.
                if error.status != _FORBIDDEN:
                    raise
                refusal = error
        if refusal is not None and not is_open:
            raise refusal


def _cursor(parent: str, inner: str | None) -> str:
    return orjson.dumps([parent, inner]).decode()


def _parse(cursor: str | None) -> tuple[str, str | None]:
    if cursor is None:
        return "", None
    try:
        parent, inner = orjson.loads(cursor)
    except ValueError:
        raise InvalidValueError("cursor", _OTHER) from None
    if not isinstance(parent, str) or not (inner is None or isinstance(inner, str)):
        raise InvalidValueError("cursor", _OTHER)
    return parent, inner
