"""HubSpot over real HTTP: lists, searches beyond 10,000 results, its limits, and tokens that end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest

from supabase_integrations.clients import HubSpot
from supabase_integrations.core.errors import (
    InvalidValueError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    ServiceError,
    ServiceRateLimitedError,
)
from supabase_integrations.core.models import IntegrationStatus
from tests.clients.fake_service import Answer, Asked, FakeService, answer
from tests.clients.office import FIRST_TOKEN, Office, numbered

CONTACTS = "/crm/objects/2026-03/contacts"
EXPIRED = answer(
    {
        "status": "error",
        "message": "The OAuth token used to make this call expired 4 second(s) ago.",
        "correlationId": "1f2d",
        "category": "EXPIRED_AUTHENTICATION",
    },
    401,
)


def limited(policy: str) -> Answer:
    """HubSpot's 429."""
    return answer(
        {
            "status": "error",
            "message": f"You have reached your {policy} limit.",
            "errorType": "RATE_LIMIT",
            "correlationId": "c033cdaa",
            "policyName": policy,
        },
        429,
    )


def listed(count: int) -> Any:
    """The list endpoint of so many contacts, 100 at a time."""

    def behaviour(asked: Asked) -> Answer:
        after, limit = int(asked.query.get("after", "0")), int(asked.query["limit"])
        found = list(numbered(count))[after : after + limit]
        body: dict[str, Any] = {"results": found}
        if after + limit < count:
            following = str(after + limit)
            body["paging"] = {
                "next": {"after": following, "link": f"https://api.hubapi.com{CONTACTS}?after={following}"}
            }
        return answer(body)

    return behaviour


def searched(ids: Sequence[int]) -> Any:
    """The search endpoint as HubSpot has it: an offset for a cursor, and 400 beyond 10,000."""

    def behaviour(asked: Asked) -> Answer:
        body = asked.json
        after, limit = int(body.get("after", "0")), body["limit"]
        if after + limit > 10_000 or not 0 < limit <= 200:
            return answer({"status": "error", "category": "VALIDATION_ERROR", "message": "paging too deep"}, 400)
        above = [
            int(condition["value"])
            for group in body["filterGroups"]
            for condition in group["filters"]
            if (condition["propertyName"], condition["operator"]) == ("hs_object_id", "GT")
        ]
        order = body["sorts"][0]
        matching = sorted(
            (number for number in ids if number > max(above, default=0)), reverse=order["direction"] == "DESCENDING"
        )
        found = [{"id": str(number)} for number in matching[after : after + limit]]
        paging = {"paging": {"next": {"after": str(after + limit)}}} if after + limit < len(matching) else {}
        return answer({"total": len(matching), "results": found} | paging)

    return behaviour


async def test_all_contacts_are_listed_page_by_page(office: Office, fake: FakeService) -> None:
    fake.behaviour = listed(250)
    async with office.client("hubspot") as api:
        found = [record["id"] async for record in HubSpot(api).contacts(properties=["email", "phone"])]
    assert found == [str(number) for number in range(1, 251)]
    assert [asked.path for asked in fake.asked] == [CONTACTS] * 3
    assert [asked.query.get("after") for asked in fake.asked] == [None, "100", "200"]
    assert {asked.query["properties"] for asked in fake.asked} == {"email,phone"}
    assert {asked.headers["authorization"] for asked in fake.asked} == {"Bearer canary-first"}


async def test_a_list_goes_on_after_the_page_where_it_stopped(office: Office, fake: FakeService) -> None:
    fake.behaviour = listed(250)
    async with office.client("hubspot") as api:
        contacts = HubSpot(api).contacts()
        cursors = [page.cursor async for page in contacts.pages()]
        rest = [len(page.records) async for page in contacts.pages(after=cursors[0])]
    assert cursors == ["100", "200", None]
    assert rest == [100, 50]


@pytest.mark.parametrize("name", ["companies", "deals"])
async def test_other_objects_and_their_associations(office: Office, fake: FakeService, name: str) -> None:
    associated = {"contacts": {"results": [{"id": "7", "type": "deal_to_contact"}]}}
    fake.behaviour = lambda _: answer({"results": [{"id": "1", "associations": associated}]})
    async with office.client("hubspot") as api:
        (record,) = [record async for record in getattr(HubSpot(api), name)(associations=["contacts"])]
    assert record["associations"] == associated
    (asked,) = fake.asked
    assert (asked.path, asked.query["associations"]) == (f"/crm/objects/2026-03/{name}", "contacts")


async def test_a_search_asks_for_what_matches_any_group(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer({"total": 0, "results": []})
    async with office.client("hubspot") as api:
        search = HubSpot(api).search(
            "contacts",
            [{"propertyName": "email", "operator": "HAS_PROPERTY"}],
            [{"propertyName": "phone", "operator": "EQ", "value": "1"}],
            query="ada",
            properties=["email"],
        )
        assert [record async for record in search] == []
    (asked,) = fake.asked
    assert asked.path == f"{CONTACTS}/search"
    assert asked.json == {
        "filterGroups": [
            {"filters": [{"propertyName": "email", "operator": "HAS_PROPERTY"}]},
            {"filters": [{"propertyName": "phone", "operator": "EQ", "value": "1"}]},
        ],
        "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "properties": ["email"],
        "limit": 200,
        "query": "ada",
    }


async def test_a_search_finds_everything_beyond_10000_results(office: Office, fake: FakeService) -> None:
    office.limiter.set_config("hubspot", max_requests=10_000)
    ids = range(3, 3 + 2 * 20_500, 2)
    fake.behaviour = searched(ids)
    async with office.client("hubspot") as api:
        search = HubSpot(api).search("contacts", [{"propertyName": "email", "operator": "HAS_PROPERTY"}])
        found = [int(str(record["id"])) async for record in search]
    assert found == list(ids)
    assert [condition["value"] for condition in fake.asked[-1].json["filterGroups"][0]["filters"][1:]] == ["40001"]


@pytest.mark.parametrize("count", [9_999, 10_000, 10_001])
async def test_a_search_around_10000_results_loses_and_repeats_none(
    office: Office, fake: FakeService, count: int
) -> None:
    office.limiter.set_config("hubspot", max_requests=10_000)
    fake.behaviour = searched(range(1, count + 1))
    async with office.client("hubspot") as api:
        found = [int(str(record["id"])) async for record in HubSpot(api).search("contacts")]
    assert found == list(range(1, count + 1))


async def test_a_search_goes_on_where_it_stopped_beyond_10000_results(office: Office, fake: FakeService) -> None:
    office.limiter.set_config("hubspot", max_requests=10_000)
    fake.behaviour = searched(range(1, 10_501))
    async with office.client("hubspot") as api:
        search = HubSpot(api).search("contacts")
        cursors = [page.cursor async for page in search.pages()]
        rest = [record["id"] async for page in search.pages(after=cursors[50]) for record in page.records]
    assert rest == [str(number) for number in range(10_201, 10_501)]


@pytest.mark.parametrize("cursor", ["100", "a:b:c", ":-1:", ":1e3:", "٣:1:", "1:" + "9" * 5000 + ":"])
async def test_a_cursor_of_something_else_is_refused(office: Office, fake: FakeService, cursor: str) -> None:
    async with office.client("hubspot") as api:
        with pytest.raises(InvalidValueError, match="not where a search stood"):
            await anext(HubSpot(api).search("contacts").pages(after=cursor))
    assert fake.asked == []


async def test_a_search_is_not_begun_anew_above_nothing(office: Office, fake: FakeService) -> None:
    """It would give the first 10,000 results for good."""
    last = {"results": [{"id": 10_000}], "total": 10_001, "paging": {"next": {"after": "10000"}}}
    fake.behaviour = lambda _: answer(last)
    async with office.client("hubspot") as api:
        with pytest.raises(ProviderUnavailableError):
            await anext(HubSpot(api).search("contacts").pages(after=":9999:9999"))


async def test_a_sorted_search_says_that_it_is_cut_off(office: Office, fake: FakeService) -> None:
    office.limiter.set_config("hubspot", max_requests=10_000)
    fake.behaviour = searched(range(1, 10_002))
    async with office.client("hubspot") as api:
        pages = HubSpot(api).search("contacts", sort="-createdate").pages()
        found = [record["id"] for _ in range(50) for record in (await anext(pages)).records]
        with pytest.raises(InvalidValueError, match="first 10,000"):
            await anext(pages)
    assert (len(found), found[0], found[-1]) == (10_000, "10001", "2")
    assert fake.asked[0].json["sorts"] == [{"propertyName": "createdate", "direction": "DESCENDING"}]


async def test_a_sorted_search_of_exactly_10000_results_ends_well(office: Office, fake: FakeService) -> None:
    office.limiter.set_config("hubspot", max_requests=10_000)
    fake.behaviour = searched(range(1, 10_001))
    async with office.client("hubspot") as api:
        found = [record["id"] async for record in HubSpot(api).search("contacts", sort="createdate")]
    assert len(found) == 10_000


async def test_a_call_that_was_one_too_many_a_second_is_made_again(office: Office, fake: FakeService) -> None:
    fake.first, fake.behaviour = [limited("SECONDLY")], searched([1])
    began = monotonic()
    async with office.client("hubspot") as api:
        found = [record["id"] async for record in HubSpot(api).search("contacts")]
    assert found == ["1"]
    assert len(fake.asked) == 2
    assert 1.0 <= monotonic() - began < 9


async def test_the_wait_the_service_asks_for_wins(office: Office, fake: FakeService) -> None:
    refusal = limited("TEN_SECONDLY_ROLLING")
    fake.first = [Answer(429, refusal.body, {**refusal.headers, "retry-after": "1"})]
    fake.behaviour = listed(1)
    began = monotonic()
    async with office.client("hubspot") as api:
        assert [record["id"] async for record in HubSpot(api).contacts()] == ["1"]
    assert 1.0 <= monotonic() - began < 9


async def test_a_spent_day_is_told_at_once(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: limited("DAILY")
    began = monotonic()
    async with office.client("hubspot") as api:
        with pytest.raises(ServiceRateLimitedError) as caught:
            await anext(HubSpot(api).contacts().pages())
    assert caught.value.retry_after == timedelta(minutes=10)
    assert (len(fake.asked), monotonic() - began < 9) == (1, True)


async def test_headers_slow_the_account_down_before_it_is_refused(office: Office, fake: FakeService) -> None:
    left = {"x-hubspot-ratelimit-max": "110", "x-hubspot-ratelimit-interval-milliseconds": "1000"}
    fake.behaviour = lambda asked: Answer(
        200, listed(200)(asked).body, {"content-type": "application/json", **left, "x-hubspot-ratelimit-remaining": "0"}
    )
    began = monotonic()
    async with office.client("hubspot") as api:
        assert len([record async for record in HubSpot(api).contacts()]) == 200
    assert monotonic() - began >= 1.0


async def test_an_expired_token_is_renewed_in_the_middle_of_a_list(office: Office, fake: FakeService) -> None:
    seen = listed(300)
    fake.behaviour = lambda asked: (
        EXPIRED if asked.query.get("after") and asked.headers["authorization"] == "Bearer canary-first" else seen(asked)
    )
    async with office.client("hubspot") as api:
        found = [record["id"] async for record in HubSpot(api).contacts()]
    assert found == [str(number) for number in range(1, 301)]
    (refresh,) = fake.refreshed
    assert refresh.form["refresh_token"] == "canary-refresh-1"
    assert len(fake.asked) == 4


async def test_a_dead_grant_means_connecting_again(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: EXPIRED
    fake.token = lambda _: answer(
        {
            "status": "BAD_REFRESH_TOKEN",
            "message": "missing or invalid refresh token",
            "error": "invalid_grant",
            "error_description": "missing or invalid refresh token",
        },
        400,
    )
    async with office.client("hubspot") as api:
        with pytest.raises(ReauthorizationRequiredError):
            await anext(HubSpot(api).contacts().pages())
        assert office.row(api.integration.id).status is IntegrationStatus.NEEDS_REAUTHORIZATION


async def test_a_search_is_made_again_after_a_failure_of_the_service(office: Office, fake: FakeService) -> None:
    """It is a POST, and changes nothing."""
    fake.first, fake.behaviour = (
        [Answer(502, b"<html>Bad Gateway</html>", {"content-type": "text/html"})],
        searched([1]),
    )
    async with office.client("hubspot") as api:
        assert [record["id"] async for record in HubSpot(api).search("contacts")] == ["1"]
    assert len(fake.asked) == 2


async def test_a_refusal_shows_nothing_of_the_answer(office: Office, fake: FakeService) -> None:
    body = {"status": "error", "message": "canary-message", "category": "MISSING_SCOPES"}
    fake.behaviour = lambda _: answer(body, 403)
    async with office.client("hubspot") as api:
        with pytest.raises(ServiceError) as caught:
            await anext(HubSpot(api).deals().pages())
    assert caught.value.status == 403
    assert b"MISSING_SCOPES" in caught.value.body
    assert "canary" not in str(caught.value) + repr(caught.value)


async def test_many_calls_with_a_dead_token_renew_it_once(office: Office, fake: FakeService) -> None:
    """Their refusals come early and late: before the renewal, in its midst and after it."""
    renewed = fake.token
    waits = iter(range(60))

    def refusing(asked: Asked) -> Answer:
        if asked.headers["authorization"] != f"Bearer {FIRST_TOKEN}":
            return answer({"results": []})
        sleep(next(waits) * 0.005)
        return EXPIRED

    def renewing(asked: Asked) -> Answer:
        sleep(0.1)
        return renewed(asked)

    fake.behaviour, fake.token = refusing, renewing
    async with office.client("hubspot") as api:
        await asyncio.gather(*(anext(HubSpot(api).contacts().pages()) for _ in range(50)))
    assert len(fake.refreshed) == 1
    assert len(fake.asked) <= 100
