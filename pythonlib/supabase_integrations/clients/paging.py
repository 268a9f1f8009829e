"""Lists that services give page by page, as records or as pages, from the beginning or from where one stopped."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ..core.cursor_watch import CursorWatch
from ..core.errors import InvalidValueError, ProviderUnavailableError
from ..core.json_types import JsonObject
from ..core.service_reply import ServiceReply
from ..use_cases.integration_client import IntegrationClient

UNEXPECTED: Final = "The service answered in another form than its documentation says."


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and where the next ones begin: None after the last page.

    `is_partial`: up to here the service has refused a part of the list, whose records may be there all the same.
    """

    records: tuple[JsonObject, ...]
    cursor: str | None
    is_partial: bool = False


class Listing:
    """A list at a service. Nothing is asked before it is iterated; each iteration asks anew.

    async for record in listing: …
    async for page in listing.pages(after=cursor): …

    `fetch` gets the cursor that the page before brought, None for the first page. Both raise as
    `IntegrationClient.request` does, and EndlessListError where the pages go round in circles.
    """

    def __init__(self, fetch: Callable[[str | None], Awaitable[Page]]) -> None:
        self._fetch = fetch

    async def __aiter__(self) -> AsyncIterator[JsonObject]:
        async for page in self.pages():
            for record in page.records:
                yield record

    async def pages(self, after: str | None = None) -> AsyncIterator[Page]:
        """The pages, or those after a page's `cursor`, which holds no secret and may be stored."""
        cursor, watch = after, CursorWatch(after)
        while True:
            page = await self._fetch(cursor)
            yield page
            if page.cursor is None:
                return
            watch.see(page.cursor)
            cursor = page.cursor


def require_service(api: IntegrationClient, service_name: str) -> IntegrationClient:
    """The same client, if it is one of this service, or of one that is based on it. Raises InvalidValueError."""
    if service_name not in api.service.lineage:
        raise InvalidValueError(
            "service_name",
            f"This is a connection to {api.service.display_name} ({api.service.name}), not to {service_name}.",
        )
    return api


def member(value: object, *names: str) -> object:
    """What stands in a JSON object under these names, one inside the other; None where there is no such place."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text(value: object, *names: str) -> str:
    """The text there; empty where there is none."""
    found = member(value, *names)
    return found if isinstance(found, str) else ""


def cursor_at(value: object, *names: str) -> str:
    """Where the next page begins; empty where there is nothing that the cursor would stand in.

    Raises ProviderUnavailableError where there is, without a cursor: that is no end of the list.
    """
    cursor = text(value, *names)
    if not cursor and member(value, *names[:-1]):
        raise ProviderUnavailableError(UNEXPECTED)
    return cursor


def object_at(value: object, *names: str) -> JsonObject:
    """The object there. Raises ProviderUnavailableError where there is none."""
    found = member(value, *names)
    if not isinstance(found, dict):
        raise ProviderUnavailableError(UNEXPECTED)
    return found


def objects_at(value: object, *names: str) -> tuple[JsonObject, ...]:
    """The objects of the list there. Raises ProviderUnavailableError where there is none."""
    found = member(value, *names)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ProviderUnavailableError(UNEXPECTED)
    return tuple(found)


def refusal(reply: ServiceReply) -> object:
    """A refusal's body as JSON, None where it is none: a proxy on the way refuses in HTML."""
    try:
        return reply.json()
    except ProviderUnavailableError:
        return None
