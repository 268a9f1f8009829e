"""One page of a list after another, by position and not by number: rows that come and go meanwhile shift nothing."""

from datetime import UTC, datetime

import httpx
from postgrest import AsyncRequestBuilder, AsyncSelectRequestBuilder

from ..core.errors import InvalidValueError
from ..core.models import Integration, IntegrationPage, ListOrder, ListPosition, ListQuery
from .integration_rows import INTEGRATION_COLUMNS


def list_address(table: AsyncRequestBuilder, query: ListQuery) -> httpx.URL:
    """Where to read one page, and one row more, which tells whether there is a next page. Raises InvalidValueError."""
    request = _request(table, query).request
    try:
        return httpx.URL(str(request.path), params=request.params)
    except UnicodeEncodeError:
        raise InvalidValueError("query", "The request holds text that is not Unicode.") from None


def page_of(found: tuple[Integration, ...], query: ListQuery) -> IntegrationPage:
    """The page that was asked for, from the rows that came."""
    shown = found[: query.limit]
    has_next = len(found) > query.limit
    return IntegrationPage(shown, ListPosition(shown[-1].created_at, shown[-1].id) if has_next else None)


def _request(table: AsyncRequestBuilder, query: ListQuery) -> AsyncSelectRequestBuilder:
    request = table.select(INTEGRATION_COLUMNS)
    wanted = {"service_type": query.service_type, "service_name": query.service_name, "status": query.status}
    for column, value in wanted.items():
        if value is not None:
            request = request.eq(column, value)
    newest_first = query.order is ListOrder.NEWEST
    if query.after is not None:
        request = _after(request, query.after, newest_first=newest_first)
    return request.order("created_at", desc=newest_first).order("id", desc=newest_first).limit(query.limit + 1)


def _after(
    request: AsyncSelectRequestBuilder, position: ListPosition, *, newest_first: bool
) -> AsyncSelectRequestBuilder:
    # Up to and including the moment, and of that moment only the ids beyond.
    beyond = "lt" if newest_first else "gt"
    moment = _timestamp(position.created_at)
    request = request.filter("created_at", f"{beyond}e", moment)
    return request.or_(f"created_at.{beyond}.{moment},id.{beyond}.{position.id}")


def _timestamp(moment: datetime) -> str:
    # Ends in Z, because the plus sign of +00:00 is a space to whoever forgets to encode it.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
