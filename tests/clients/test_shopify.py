"""Shopify over real HTTP: a bucket of cost points, throttling and errors at HTTP 200, and cursors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import orjson
import pytest

from supabase_integrations.clients import Shopify
from supabase_integrations.core.errors import (
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    ServiceError,
    ServiceRateLimitedError,
)
from supabase_integrations.core.models import IntegrationStatus
from tests.clients.fake_service import Answer, Asked, FakeService, answer
from tests.clients.office import Office

GRAPHQL = "/admin/api/2026-10/graphql.json"


@dataclass
class Bucket:
    """Shopify's bucket of points: it refills, and a query for which it has too few is refused at HTTP 200."""

    size: float = 1_000
    rate: float = 100
    cost: float = 100
    available: float = 1_000
    refused: int = 0
    seen: float = field(default_factory=monotonic)

    def spend(self, data: object) -> Answer:
        """Answer with these data, or that there is too little."""
        now = monotonic()
        self.available = min(self.size, self.available + (now - self.seen) * self.rate)
        self.seen = now
        is_enough = self.available >= self.cost
        if is_enough:
            self.available -= self.cost
        cost = {
            "requestedQueryCost": self.cost,
            "actualQueryCost": self.cost if is_enough else None,
            "throttleStatus": {
                "maximumAvailable": self.size,
                "currentlyAvailable": int(self.available),
                "restoreRate": self.rate,
            },
        }
        if is_enough:
            return answer({"data": data, "extensions": {"cost": cost}})
        self.refused += 1
        code = {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"}
        return answer({"errors": [{"message": "Throttled", "extensions": code}], "extensions": {"cost": cost}})


def connection(name: str, ids: Sequence[int], bucket: Bucket | None = None) -> Any:
    """A connection that is paged with cursors."""
    points = bucket or Bucket()

    def behaviour(asked: Asked) -> Answer:
        variables = asked.json["variables"]
        begin = int(variables["after"].removeprefix("cursor-")) if variables["after"] else 0
        found = ids[begin : begin + variables["first"]]
        end = begin + len(found)
        page_info = {"hasNextPage": end < len(ids), "endCursor": f"cursor-{end}" if found else None}
        nodes = [{"id": f"gid://shopify/Thing/{number}"} for number in found]
        return points.spend({name: {"nodes": nodes, "pageInfo": page_info}})

    return behaviour


def refused(*errors: dict[str, Any], data: object = None) -> Answer:
    """GraphQL's errors, at HTTP 200."""
    return answer({"data": data, "errors": list(errors)})


@pytest.mark.parametrize("name", ["products", "orders"])
async def test_records_come_page_by_page(office: Office, fake: FakeService, name: str) -> None:
    fake.behaviour = connection(name, range(250))
    async with office.client("shopify") as api:
        found = [record["id"] async for record in getattr(Shopify(api), name)("id", search="updated_at:>2026-01-01")]
    assert found == [f"gid://shopify/Thing/{number}" for number in range(250)]
    assert [(asked.method, asked.path) for asked in fake.asked] == [("POST", GRAPHQL)] * 3
    assert [asked.json["variables"]["after"] for asked in fake.asked] == [None, "cursor-100", "cursor-200"]
    assert {asked.json["variables"]["search"] for asked in fake.asked} == {"updated_at:>2026-01-01"}
    assert {asked.headers["x-shopify-access-token"] for asked in fake.asked} == {"canary-first"}
    assert not any("authorization" in asked.headers for asked in fake.asked)


async def test_a_list_goes_on_after_the_page_where_it_stopped(office: Office, fake: FakeService) -> None:
    fake.behaviour = connection("products", range(250))
    async with office.client("shopify") as api:
        products = Shopify(api).products("id")
        cursors = [page.cursor async for page in products.pages()]
        rest = [len(page.records) async for page in products.pages(after=cursors[0])]
    assert cursors == ["cursor-100", "cursor-200", None]
    assert rest == [100, 50]


async def test_the_shop_says_what_it_is(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: Bucket().spend({"shop": {"name": "Acme"}})
    async with office.client("shopify") as api:
        assert await Shopify(api).shop("name") == {"name": "Acme"}
    assert fake.asked[0].json == {"query": "{ shop { name } }", "variables": {}}


async def test_a_connection_inside_others_is_listed(office: Office, fake: FakeService) -> None:
    query = "query ($first: Int!, $after: String, $id: ID!) { product(id: $id) { variants { nodes { id } } } }"
    inner = connection("variants", range(3))

    def behaviour(asked: Asked) -> Answer:
        return answer({"data": {"product": orjson.loads(inner(asked).body)["data"]}})

    fake.behaviour = behaviour
    async with office.client("shopify") as api:
        variants = Shopify(api).connection(query, ["product", "variants"], {"id": "gid://shopify/Product/1"})
        assert len([record async for record in variants]) == 3
    assert fake.asked[0].json["variables"] == {"id": "gid://shopify/Product/1", "first": 100, "after": None}


async def test_calls_slow_down_before_the_bucket_is_empty(office: Office, fake: FakeService) -> None:
    """12 queries of 100 points, of which 5 are there: the others come as fast as points do."""
    bucket = Bucket(size=500, rate=500, cost=100, available=500)
    fake.behaviour = connection("products", range(1_200), bucket)
    began = monotonic()
    async with office.client("shopify") as api:
        assert len([record async for record in Shopify(api).products()]) == 1_200
    assert bucket.refused == 0
    assert len(fake.asked) == 12
    assert monotonic() - began >= 1.2


async def test_a_throttled_query_is_sent_again_when_the_bucket_has_refilled(office: Office, fake: FakeService) -> None:
    """Somebody else has emptied the shop's bucket."""
    bucket = Bucket(size=500, rate=100, cost=100, available=0)
    fake.behaviour = connection("products", range(1), bucket)
    began = monotonic()
    async with office.client("shopify") as api:
        assert len([record async for record in Shopify(api).products()]) == 1
    assert bucket.refused == 1
    assert len(fake.asked) == 2
    assert 1.0 <= monotonic() - began < 4.5  # it takes five seconds to fill the bucket


async def test_an_older_shape_of_throttling_is_known_too(office: Office, fake: FakeService) -> None:
    throttle = {"maximumAvailable": 1000.0, "currentlyAvailable": 180, "restoreRate": 50.0}
    cost = {"requestedQueryCost": 202, "actualQueryCost": None, "throttleStatus": throttle}
    fake.first = [answer({"errors": [{"message": "Throttled"}], "extensions": {"cost": cost}})]
    fake.behaviour = lambda _: Bucket().spend({"shop": {"name": "Acme"}})
    async with office.client("shopify") as api:
        assert await Shopify(api).shop("name") == {"name": "Acme"}
    assert len(fake.asked) == 2


async def test_a_query_that_never_gets_its_points_is_told(office: Office, fake: FakeService) -> None:
    bucket = Bucket(size=100_000, rate=1, cost=50_000, available=0)
    fake.behaviour = connection("products", range(1), bucket)
    async with office.client("shopify") as api:
        with pytest.raises(ServiceRateLimitedError) as caught:
            await anext(Shopify(api).products().pages())
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() > 40_000
    assert len(fake.asked) == 1


async def test_a_throttled_mutation_is_sent_again(office: Office, fake: FakeService) -> None:
    """It was not carried out, so it is not doubled."""
    throttle = {"maximumAvailable": 1000, "currentlyAvailable": 5, "restoreRate": 100}
    cost = {"requestedQueryCost": 10, "actualQueryCost": None, "throttleStatus": throttle}
    code = {"code": "THROTTLED"}
    fake.first = [answer({"errors": [{"message": "Too many", "extensions": code}], "extensions": {"cost": cost}})]
    fake.behaviour = lambda _: answer({"data": {"tagsAdd": {"userErrors": []}}})
    async with office.client("shopify") as api:
        assert await Shopify(api).mutate("mutation { tagsAdd }") == {"tagsAdd": {"userErrors": []}}
    assert len(fake.asked) == 2


async def test_a_mutation_without_a_reply_is_not_sent_again_and_a_query_is(office: Office, fake: FakeService) -> None:
    gone = Answer(502, b"", {"content-type": "text/html"})
    fake.first, fake.behaviour = [gone, gone], lambda _: answer({"data": {"shop": {"name": "Acme"}}})
    async with office.client("shopify") as api:
        with pytest.raises(ServiceError) as caught:
            await Shopify(api).mutate("mutation { tagsAdd }")
        assert (caught.value.status, len(fake.asked)) == (502, 1)
        assert await Shopify(api).query("{ shop { name } }") == {"shop": {"name": "Acme"}}
    assert len(fake.asked) == 3


@pytest.mark.parametrize(
    ("error", "named"),
    [
        ({"message": "canary-message", "extensions": {"code": "ACCESS_DENIED"}}, "ACCESS_DENIED"),
        ({"message": "canary-message", "extensions": {"code": "MAX_COST_EXCEEDED"}}, "MAX_COST_EXCEEDED"),
        ({"message": "canary-message", "extensions": {"code": "canary code"}}, "an error without a code"),
        ({"message": "canary-message"}, "an error without a code"),
    ],
)
async def test_errors_in_a_reply_with_status_200_are_raised(
    office: Office, fake: FakeService, error: dict[str, Any], named: str
) -> None:
    fake.behaviour = lambda _: refused(error, data={"shop": None})
    async with office.client("shopify") as api:
        with pytest.raises(ServiceError) as caught:
            await Shopify(api).shop()
    assert str(caught.value) == f"The service refused the query ({named})."
    assert b"canary" in caught.value.body
    assert len(fake.asked) == 1


@pytest.mark.parametrize("body", [{"errors": "Not Found"}, {"errors": {"base": ["x"]}}])
async def test_errors_that_are_no_list_are_errors(office: Office, fake: FakeService, body: object) -> None:
    fake.behaviour = lambda _: answer(body)
    async with office.client("shopify") as api:
        with pytest.raises(ServiceError):
            await Shopify(api).shop()


async def test_an_internal_error_at_status_200_passes_by_itself(office: Office, fake: FakeService) -> None:
    fake.first = [refused({"message": "Internal error", "extensions": {"code": "INTERNAL_SERVER_ERROR"}})]
    fake.behaviour = lambda _: answer({"data": {"shop": {"name": "Acme"}}})
    async with office.client("shopify") as api:
        assert await Shopify(api).shop("name") == {"name": "Acme"}


@pytest.mark.parametrize("body", [{}, [], None, {"data": {"products": {"nodes": 7}}}, {"data": {"products": None}}])
async def test_a_reply_of_another_form_is_not_an_empty_list(office: Office, fake: FakeService, body: object) -> None:
    fake.behaviour = lambda _: answer(body)
    async with office.client("shopify") as api:
        with pytest.raises(ProviderUnavailableError):
            await anext(Shopify(api).products().pages())


async def test_a_rest_refusal_is_waited_for(office: Office, fake: FakeService) -> None:
    body = {"errors": "Exceeded 2 calls per second for api client. Reduce request rates to resume."}
    fake.first = [answer(body, 429, retry_after="1.0")]
    fake.behaviour = lambda _: answer({"shop": {}})
    began = monotonic()
    async with office.client("shopify") as api:
        assert (await api.get("/shop.json")).json() == {"shop": {}}
    assert monotonic() - began >= 1.0
    assert len(fake.asked) == 2


async def test_a_dead_token_is_renewed_and_the_new_one_kept(office: Office, fake: FakeService) -> None:
    dead = {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
    fake.behaviour = lambda asked: (
        answer(dead, 401)
        if asked.headers["x-shopify-access-token"] == "canary-first"
        else answer({"data": {"shop": {"name": "Acme"}}})
    )
    async with office.client("shopify") as api:
        assert await Shopify(api).shop("name") == {"name": "Acme"}
        assert await Shopify(api).shop("name") == {"name": "Acme"}
    assert (len(fake.asked), len(fake.refreshed)) == (3, 1)


async def test_an_uninstalled_app_means_connecting_again(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer({"errors": "[API] Invalid API key or access token"}, 401)
    fake.token = lambda _: answer({"error": "invalid_grant"}, 400)
    async with office.client("shopify") as api:
        with pytest.raises(ReauthorizationRequiredError):
            await Shopify(api).shop()
        assert office.row(api.integration.id).status is IntegrationStatus.NEEDS_REAUTHORIZATION
