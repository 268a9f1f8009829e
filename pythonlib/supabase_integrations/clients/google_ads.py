"""Google Ads: the customers a user reaches, and what GAQL queries find there.

https://developers.google.com/google-ads/api/rest/common/search
"""

import re
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from typing import Final

import orjson

from ..core.errors import (
    InvalidValueError,
    ProviderUnavailableError,
    ServiceError,
    ServiceRateLimitedError,
)
from ..core.json_stream import ArrayItems
from ..core.json_types import JsonObject
from ..core.service_reply import ServiceReply
from ..use_cases.integration_client import IntegrationClient
from .paging import UNEXPECTED, Listing, Page, cursor_at, member, objects_at, refusal, require_service, text

_ONE_ACCOUNT: Final = timedelta(seconds=60)
"""As long as one customer's own quota holds up the others, who share this server's line, and no longer."""


class GoogleAds:
    """Reads the customers that one connected user may see.

    `login_customer_id` names the manager account through which a customer is reached. `service_name` is another one
    where the catalogue has a service like Google Ads that is not based on it. Raises InvalidValueError, also for a
    connection to something else.
    """

    def __init__(
        self, api: IntegrationClient, *, login_customer_id: str = "", service_name: str = "google_ads"
    ) -> None:
        self._api = require_service(api, service_name)
        self._headers = {"login-customer-id": customer_number(login_customer_id)} if login_customer_id else {}

    async def accessible_customers(self) -> tuple[str, ...]:
        """The ids of the customers that the user reaches without a manager account."""
        found = (await self._api.get("/customers:listAccessibleCustomers", check=_check)).json()
        names = member(found, "resourceNames") or []
        if not isinstance(names, list):
            raise ProviderUnavailableError(UNEXPECTED)
        return tuple(str(name).removeprefix("customers/") for name in names)

    def search(self, customer_id: str, query: str) -> Listing:
        """The rows of a GAQL query, in pages of 10,000. Raises InvalidValueError."""
        path = f"/customers/{customer_number(customer_id)}/googleAds:search"

        async def fetch(cursor: str | None) -> Page:
            body = {"query": query} | ({"pageToken": cursor} if cursor else {})
            reply = await self._api.post(path, json=body, headers=self._headers, is_read=True, check=_check)
            found = reply.json()
            rows = objects_at(found, "results") if member(found, "results") else ()
            return Page(rows, cursor_at(found, "nextPageToken") if member(found, "nextPageToken") else None)

        return Listing(fetch)

    async def search_stream(self, customer_id: str, query: str) -> AsyncGenerator[JsonObject, None]:
        """The same rows from one reply, of which one part is held at a time.

        Where it breaks off, which raises ProviderUnavailableError, it can only be begun anew.
        """
        path = f"/customers/{customer_number(customer_id)}/googleAds:searchStream"
        parts = ArrayItems()
        async with self._api.stream(
            "POST", path, json={"query": query}, headers=self._headers, is_read=True, check=_check
        ) as reply:
            async for chunk in reply.chunks():
                for item in parts.feed(chunk):
                    for row in _rows(item):
                        yield row
        if not parts.is_complete:
            raise ProviderUnavailableError("The service broke its reply off.")


def customer_number(customer_id: str) -> str:
    """A customer's id as the API has it: ten digits, as people write them with or without hyphens.

    Raises InvalidValueError.
    """
    if not re.fullmatch(r"[0-9]{3}-?[0-9]{3}-?[0-9]{4}", customer_id):
        raise InvalidValueError("customer_id", "A Google Ads customer id has ten digits.")
    return customer_id.replace("-", "")


def _rows(item: bytes) -> tuple[JsonObject, ...]:
    try:
        part = orjson.loads(item)
    except orjson.JSONDecodeError:
        raise ProviderUnavailableError(UNEXPECTED) from None
    if member(part, "error") is not None:
        # Rows may have come before it, with the status of success.
        _raise_quota_error(part, item)
        code = member(part, "error", "code")
        raise ServiceError(code if isinstance(code, int) else 500, body=item)
    return objects_at(part, "results") if member(part, "results") else ()


def _check(reply: ServiceReply) -> None:
    if reply.status >= 400:
        found = refusal(reply)
        # A stream's refusal is an array of one.
        _raise_quota_error(found[0] if isinstance(found, list) and found else found, reply.body)


def _raise_quota_error(found: object, body: bytes) -> None:
    if text(found, "error", "status") != "RESOURCE_EXHAUSTED" and member(found, "error", "code") != 429:
        return
    wait = None
    for details in _quota_details(found):
        seconds = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s", text(details, "retryDelay"))
        if seconds:
            wait = timedelta(seconds=float(seconds[1]))
            if text(details, "rateScope") == "ACCOUNT":
                wait = min(wait, _ONE_ACCOUNT)
    raise ServiceRateLimitedError(body=body, retry_after=wait)


def _quota_details(found: object) -> Iterator[object]:
    """Of a GoogleAdsFailure its QuotaErrorDetails, and otherwise a google.rpc.RetryInfo."""
    for detail in _items(member(found, "error", "details")):
        yield detail
        for error in _items(member(detail, "errors")):
            yield member(error, "details", "quotaErrorDetails")


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
