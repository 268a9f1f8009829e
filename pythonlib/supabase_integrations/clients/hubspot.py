"""HubSpot's CRM: contacts, companies, deals and other objects, listed or searched.

https://developers.hubspot.com/docs/api-reference/2026-03/overview
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NotRequired, TypedDict

from ..core.errors import InvalidValueError, ProviderUnavailableError, ServiceRateLimitedError
from ..core.service_reply import ServiceReply
from ..use_cases.integration_client import IntegrationClient
from .paging import UNEXPECTED, Listing, Page, cursor_at, member, objects_at, refusal, require_service, text

VERSION: Final = "2026-03"
SEARCH_LIMIT: Final = 10_000
"""A search gives no results beyond these; asked for more, HubSpot answers 400.
https://developers.hubspot.com/docs/api-reference/search/guide#limitations"""
_LIST_PAGE: Final = 100
_SEARCH_PAGE: Final = 200
_WAITS: Final = {"SECONDLY": timedelta(seconds=1), "DAILY": timedelta(minutes=10)}
"""By `policyName`. A day ends at midnight where the account is, which nobody tells: ask again now and then."""


class Filter(TypedDict):
    """One condition of a search, in HubSpot's own words."""

    propertyName: str
    operator: str
    value: NotRequired[str]
    highValue: NotRequired[str]
    values: NotRequired[Sequence[str]]


class HubSpot:
    """Reads the CRM of one connected account.

    `service_name` is another one where the catalogue has a service like HubSpot that is not based on it. Raises
    InvalidValueError for a connection to something else.
    """

    def __init__(self, api: IntegrationClient, *, service_name: str = "hubspot") -> None:
        self._api = require_service(api, service_name)

    def contacts(self, *, properties: Sequence[str] = (), associations: Sequence[str] = ()) -> Listing:
        """All contacts, see `objects`."""
        return self.objects("contacts", properties=properties, associations=associations)

    def companies(self, *, properties: Sequence[str] = (), associations: Sequence[str] = ()) -> Listing:
        """All companies, see `objects`."""
        return self.objects("companies", properties=properties, associations=associations)

    def deals(self, *, properties: Sequence[str] = (), associations: Sequence[str] = ()) -> Listing:
        """All deals, see `objects`."""
        return self.objects("deals", properties=properties, associations=associations)

    def objects(self, object_type: str, *, properties: Sequence[str] = (), associations: Sequence[str] = ()) -> Listing:
        """All objects of a type: `{"id", "properties": {…}, "createdAt", "updatedAt", "archived"}`.

        HubSpot leaves out properties that are not asked for, except a few, and all associations (names of types such
        as `companies`: then `associations` has their ids).
        """
        params: dict[str, str | int] = {"limit": _LIST_PAGE}
        if properties:
            params["properties"] = ",".join(properties)
        if associations:
            params["associations"] = ",".join(associations)

        async def fetch(cursor: str | None) -> Page:
            after = {"after": cursor} if cursor else {}
            reply = await self._api.get(_path(object_type), params={**params, **after}, check=_check)
            found = reply.json()
            return Page(objects_at(found, "results"), cursor_at(found, "paging", "next", "after") or None)

        return Listing(fetch)

    def search(
        self,
        object_type: str,
        *groups: Sequence[Filter],
        query: str = "",
        sort: str = "",
        properties: Sequence[str] = (),
    ) -> Listing:
        """The objects that match: all filters of any one group.

        They come by id, and then all of them come, for the search is begun anew after each 10,000 with the ids above;
        a group of ten filters has no room for that. With `sort` (a property, `-` before it for descending) only the
        first 10,000 can be had: going on then raises InvalidValueError.
        """
        order = {"propertyName": sort.removeprefix("-") or "hs_object_id"}
        order["direction"] = "DESCENDING" if sort.startswith("-") else "ASCENDING"

        async def fetch(cursor: str | None) -> Page:
            above, seen, after = _parse(cursor)
            if seen >= SEARCH_LIMIT:
                raise InvalidValueError("sort", "HubSpot gives only the first 10,000 results of a sorted search.")
            body = {
                "filterGroups": _above(groups, above),
                "sorts": [order],
                "properties": list(properties),
                "limit": _SEARCH_PAGE,
            } | {name: value for name, value in (("query", query), ("after", after)) if value}
            reply = await self._api.post(f"{_path(object_type)}/search", json=body, is_read=True, check=_check)
            found = reply.json()
            records, following = objects_at(found, "results"), cursor_at(found, "paging", "next", "after")
            reached, total = seen + len(records), member(found, "total")
            cut_off = reached >= SEARCH_LIMIT and isinstance(total, int) and total > reached
            if not records or not (following or cut_off):
                return Page(records, None)
            if reached >= SEARCH_LIMIT and not sort:
                last = text(records[-1], "id")
                if not last.isdecimal():
                    # Begun anew above no id, the search would be the first one again.
                    raise ProviderUnavailableError(UNEXPECTED)
                return Page(records, f"{last}:0:")
            return Page(records, f"{above}:{reached}:{following}")

        return Listing(fetch)


def _path(object_type: str) -> str:
    return f"/crm/objects/{VERSION}/{object_type}"


def _parse(cursor: str | None) -> tuple[str, int, str]:
    """Above which id a search goes on, how many results it has given since, and HubSpot's own cursor after them."""
    found = re.fullmatch(r"([0-9]*):([0-9]{1,9}):(.*)", cursor or ":0:", re.ASCII | re.DOTALL)
    if found is None:
        raise InvalidValueError("cursor", "This is not where a search stood.")
    return found[1], int(found[2]), found[3]


def _above(groups: Sequence[Sequence[Filter]], object_id: str) -> list[dict[str, list[Filter]]]:
    """The groups, each with what was seen left out."""
    if not object_id:
        return [{"filters": list(group)} for group in groups]
    unseen: Filter = {"propertyName": "hs_object_id", "operator": "GT", "value": object_id}
    return [{"filters": [*group, unseen]} for group in groups or [[]]]


def _check(reply: ServiceReply) -> None:
    if reply.status == 429 and "retry-after" not in reply.headers:
        wait = _WAITS.get(text(refusal(reply), "policyName"))
        raise ServiceRateLimitedError(body=reply.body, retry_after=wait)
