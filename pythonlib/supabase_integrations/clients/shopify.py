"""Shopify's Admin API over GraphQL: products, orders, the shop, and any other query.

https://shopify.dev/docs/api/admin-graphql
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from ..core.errors import ServiceError, ServiceRateLimitedError
from ..core.json_types import JsonObject, JsonValue
from ..core.service_reply import ServiceReply
from ..core.usage_headers import graphql_cost_wait
from ..use_cases.integration_client import IntegrationClient
from .paging import Listing, Page, cursor_at, member, object_at, objects_at, refusal, require_service, text

SHOP_FIELDS: Final = "id name email myshopifyDomain currencyCode ianaTimezone plan { publicDisplayName }"
PRODUCT_FIELDS: Final = "id title handle status vendor productType createdAt updatedAt"
ORDER_FIELDS: Final = (
    "id name createdAt updatedAt displayFinancialStatus displayFulfillmentStatus "
    "totalPriceSet { shopMoney { amount currencyCode } }"
)
_PAGE: Final = 100
_PASSING: Final = frozenset({"INTERNAL_SERVER_ERROR", "TIMEOUT"})


class Shopify:
    """Reads one connected shop, as fast as its bucket of cost points allows.

    `service_name` is another one where the catalogue has a service like Shopify that is not based on it. Raises
    InvalidValueError for a connection to something else.
    """

    def __init__(self, api: IntegrationClient, *, service_name: str = "shopify") -> None:
        self._api = require_service(api, service_name)

    async def shop(self, fields: str = SHOP_FIELDS) -> JsonObject:
        """The shop itself; `fields` is a GraphQL selection."""
        return object_at(await self.query(f"{{ shop {{ {fields} }} }}"), "shop")

    def products(self, fields: str = PRODUCT_FIELDS, *, search: str = "") -> Listing:
        """The products by id; `search` is Shopify's search syntax, such as `updated_at:>2026-01-01`."""
        return self._by_id("products", fields, search)

    def orders(self, fields: str = ORDER_FIELDS, *, search: str = "") -> Listing:
        """The orders by id. Without the scope `read_all_orders` Shopify knows those of the last 60 days alone."""
        return self._by_id("orders", fields, search)

    def connection(self, query: str, path: Sequence[str], variables: Mapping[str, JsonValue] | None = None) -> Listing:
        """The nodes of any connection.

        `query` declares `$first: Int!` and `$after: String`, and gives them to the connection, which selects `nodes`
        and `pageInfo { hasNextPage endCursor }`; `path` leads to it.
        """

        async def fetch(cursor: str | None) -> Page:
            data = await self.query(query, {**(variables or {}), "first": _PAGE, "after": cursor})
            found = object_at(data, *path)
            more = member(found, "pageInfo", "hasNextPage") is True
            return Page(objects_at(found, "nodes"), cursor_at(found, "pageInfo", "endCursor") if more else None)

        return Listing(fetch)

    async def query(self, query: str, variables: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """The `data` of a query, which is sent again where it was throttled or no reply came.

        Raises ServiceError also for errors in a reply with HTTP 200; its `body` holds them.
        """
        return await self._send(query, variables, is_read=True)

    async def mutate(self, mutation: str, variables: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """The `data` of a mutation, which is sent again only where it was throttled. Raises as `query`.

        What the mutation itself refuses is in its `userErrors`.
        """
        return await self._send(mutation, variables, is_read=False)

    async def _send(self, document: str, variables: Mapping[str, JsonValue] | None, *, is_read: bool) -> JsonObject:
        body = {"query": document, "variables": dict(variables or {})}
        reply = await self._api.post("/graphql.json", json=body, is_read=is_read, check=_check)
        found = reply.json()
        wait = graphql_cost_wait(member(found, "extensions"))
        if wait:
            self._api.slow_down(wait)
        return object_at(found, "data")

    def _by_id(self, name: str, fields: str, search: str) -> Listing:
        query = (
            "query ($first: Int!, $after: String, $search: String) "
            f"{{ {name}(first: $first, after: $after, query: $search, sortKey: ID) "
            f"{{ nodes {{ {fields} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        )
        return self.connection(query, [name], {"search": search or None})


def _check(reply: ServiceReply) -> None:
    """GraphQL's errors come with HTTP 200, being throttled among them."""
    if reply.status != 200:
        return
    found = refusal(reply)
    errors = member(found, "errors")
    if not errors:
        return
    codes = [text(error, "extensions", "code") for error in errors] if isinstance(errors, list) else []
    if "THROTTLED" in codes or (isinstance(errors, list) and text(errors[0], "message") == "Throttled"):
        wait = graphql_cost_wait(member(found, "extensions"))
        raise ServiceRateLimitedError(body=reply.body, retry_after=timedelta(seconds=wait) if wait else None)
    code = next((code for code in codes if re.fullmatch(r"[A-Z_]{1,64}", code)), "an error without a code")
    status = 500 if code in _PASSING else reply.status
    raise ServiceError(status, body=reply.body, message=f"The service refused the query ({code}).")
