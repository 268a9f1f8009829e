"""Google Ads over real HTTP: pages, streams in constant memory, quotas, and tokens that end."""

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest

from supabase_integrations.clients import GoogleAds
from supabase_integrations.core.errors import (
    InvalidValueError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    ServiceError,
    ServiceRateLimitedError,
)
from supabase_integrations.core.models import IntegrationStatus
from tests.clients.fake_service import Answer, Asked, FakeService, answer
from tests.clients.office import Office, open_office

CUSTOMER = "123-456-7890"
PATH = "/v26/customers/1234567890/googleAds"
QUERY = "SELECT campaign.id, metrics.clicks FROM campaign"
FAILURE = "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure"


def row(number: int) -> dict[str, Any]:
    """A row as Google sends it: int64 as text."""
    name = f"customers/1234567890/campaigns/{number}"
    return {"campaign": {"resourceName": name, "id": str(number)}, "metrics": {"clicks": "7"}}


def exhausted(delay: str, scope: str = "DEVELOPER") -> dict[str, Any]:
    """Google's error for a spent quota."""
    quota = {"rateScope": scope, "rateName": "Number of operations for basic access", "retryDelay": delay}
    error = {
        "errorCode": {"quotaError": "RESOURCE_EXHAUSTED"},
        "message": f"Too many requests. Retry in {delay}.",
        "details": {"quotaErrorDetails": quota},
    }
    return {
        "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": FAILURE, "errors": [error], "requestId": "xN_KaZRHZuU6Rlgt3cM2uQ"}],
        }
    }


def unauthenticated() -> dict[str, Any]:
    """Google's error for a token it does not accept any more."""
    error = {"errorCode": {"authenticationError": "OAUTH_TOKEN_REVOKED"}, "message": "canary-message"}
    details = [{"@type": FAILURE, "errors": [error]}]
    return {"error": {"code": 401, "status": "UNAUTHENTICATED", "details": details}}


def part(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A part of a stream."""
    return {"results": rows, "fieldMask": "campaign.id,metrics.clicks", "requestId": "r"}


async def test_customers_are_named_without_a_manager(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer({"resourceNames": ["customers/1234567890", "customers/2345678901"]})
    async with office.client("google_ads") as api:
        found = await GoogleAds(api, login_customer_id="999-999-9999").accessible_customers()
    assert found == ("1234567890", "2345678901")
    (asked,) = fake.asked
    assert (asked.method, asked.path) == ("GET", "/v26/customers:listAccessibleCustomers")
    assert "login-customer-id" not in asked.headers


async def test_a_user_without_customers_has_none(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer({})
    async with office.client("google_ads") as api:
        assert await GoogleAds(api).accessible_customers() == ()


async def test_a_search_goes_through_all_pages(office: Office, fake: FakeService) -> None:
    following = {None: ("t1", [row(1), row(2)]), "t1": ("t2", [row(3)]), "t2": (None, [row(4)])}

    def behaviour(asked: Asked) -> Answer:
        token, rows = following[asked.json.get("pageToken")]
        return answer({"results": rows} | ({"nextPageToken": token} if token else {}))

    fake.behaviour = behaviour
    async with office.client("google_ads") as api:
        found = [record async for record in GoogleAds(api, login_customer_id="999-999-9999").search(CUSTOMER, QUERY)]
    assert found == [row(number) for number in range(1, 5)]
    assert [(asked.method, asked.path) for asked in fake.asked] == [("POST", f"{PATH}:search")] * 3
    assert [asked.json for asked in fake.asked] == [
        {"query": QUERY},
        {"query": QUERY, "pageToken": "t1"},
        {"query": QUERY, "pageToken": "t2"},
    ]
    assert {asked.headers["login-customer-id"] for asked in fake.asked} == {"9999999999"}


async def test_a_search_without_rows_is_empty(office: Office, fake: FakeService) -> None:
    """Google leaves empty lists out."""
    fake.behaviour = lambda _: answer({"fieldMask": "campaign.id"})
    async with office.client("google_ads") as api:
        assert [record async for record in GoogleAds(api).search(CUSTOMER, QUERY)] == []


@pytest.mark.parametrize("customer", ["", "123", "12345678901", "123-456-789x", "1234567890\n", "١٢٣٤٥٦٧٨٩٠"])
async def test_what_is_no_customer_is_not_asked_for(office: Office, fake: FakeService, customer: str) -> None:
    async with office.client("google_ads") as api:
        with pytest.raises(InvalidValueError, match="ten digits"):
            GoogleAds(api).search(customer, QUERY)
    assert fake.asked == []


async def test_a_stream_brings_the_rows_of_all_its_parts(office: Office, fake: FakeService) -> None:
    whole = orjson.dumps([part([row(1), row(2)]), part([row(3)]), {"fieldMask": "campaign.id"}])
    pieces = [whole[begin : begin + 7] for begin in range(0, len(whole), 7)]
    fake.behaviour = lambda _: Answer(200, pieces)
    async with office.client("google_ads") as api:
        found = [record async for record in GoogleAds(api).search_stream(CUSTOMER, QUERY)]
    assert found == [row(1), row(2), row(3)]
    (asked,) = fake.asked
    assert (asked.method, asked.path, asked.json) == ("POST", f"{PATH}:searchStream", {"query": QUERY})


async def test_a_long_stream_takes_the_memory_of_one_part(office: Office, fake: FakeService) -> None:
    """Held as a whole, these 12,000 rows are more than 8 MiB."""
    one = orjson.dumps(part([row(number) for number in range(200)]))

    def body() -> Iterator[bytes]:
        for number in range(60):
            yield (b"," if number else b"[") + one
        yield b"]"

    fake.behaviour = lambda _: Answer(200, body())
    async with office.client("google_ads") as api:
        rows = GoogleAds(api).search_stream(CUSTOMER, QUERY)
        await anext(rows)
        tracemalloc.start()
        try:
            count = 1 + sum([1 async for _ in rows])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert count == 12_000
    assert peak < 2 * 1024 * 1024


async def test_a_stream_that_breaks_off_is_no_shorter_list(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer(None, 200)
    whole = orjson.dumps([part([row(1)]), part([row(2)])])
    fake.behaviour = lambda _: Answer(200, [whole[:-1]])
    async with office.client("google_ads") as api:
        rows = GoogleAds(api).search_stream(CUSTOMER, QUERY)
        assert [await anext(rows), await anext(rows)] == [row(1), row(2)]
        with pytest.raises(ProviderUnavailableError, match="broke"):
            await anext(rows)


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        ({"error": {"code": 500, "status": "INTERNAL"}}, ServiceError),
        (exhausted("5s"), ServiceRateLimitedError),
        ({"results": 7}, ProviderUnavailableError),
    ],
)
async def test_a_problem_in_the_middle_of_a_stream_is_raised(
    office: Office, fake: FakeService, problem: dict[str, Any], error: type[Exception]
) -> None:
    fake.behaviour = lambda _: answer([part([row(1)]), problem])
    async with office.client("google_ads") as api:
        rows = GoogleAds(api).search_stream(CUSTOMER, QUERY)
        assert await anext(rows) == row(1)
        with pytest.raises(error):
            await anext(rows)


async def test_a_quota_that_is_back_soon_is_waited_for(office: Office, fake: FakeService) -> None:
    fake.first = [answer(exhausted("1.5s"), 429)]
    fake.behaviour = lambda _: answer(part([row(1)]))
    began = monotonic()
    async with office.client("google_ads") as api:
        assert [record async for record in GoogleAds(api).search(CUSTOMER, QUERY)] == [row(1)]
    assert 1.5 <= monotonic() - began < 20
    assert len(fake.asked) == 2


async def test_a_stream_waits_for_its_quota_too(office: Office, fake: FakeService) -> None:
    """The refusal of a stream is an array."""
    fake.first = [answer([exhausted("1s")], 429)]
    fake.behaviour = lambda _: answer([part([row(1)])])
    began = monotonic()
    async with office.client("google_ads") as api:
        assert [record async for record in GoogleAds(api).search_stream(CUSTOMER, QUERY)] == [row(1)]
    assert 1.0 <= monotonic() - began < 20


async def test_a_spent_day_is_told_at_once_and_nobody_asks_again(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer(exhausted("40591s"), 429)
    async with office.client("google_ads") as api:
        with pytest.raises(ServiceRateLimitedError) as caught:
            await anext(GoogleAds(api).search(CUSTOMER, QUERY).pages())
        assert caught.value.retry_after == timedelta(seconds=40_591)
        with pytest.raises(RateLimitedError) as held:
            await anext(GoogleAds(api).search(CUSTOMER, QUERY).pages())
    assert held.value.retry_after > timedelta(hours=11)
    assert len(fake.asked) == 1


async def test_the_quota_of_one_customer_does_not_hold_up_all_others(office: Office, fake: FakeService) -> None:
    """All connections share one line, for Google counts for the project."""
    fake.behaviour = lambda _: answer(exhausted("40591s", "ACCOUNT"), 429)
    async with office.client("google_ads") as api:
        with pytest.raises(ServiceRateLimitedError):
            await anext(GoogleAds(api).search(CUSTOMER, QUERY).pages())
        with pytest.raises(RateLimitedError) as held:
            await anext(GoogleAds(api).search(CUSTOMER, QUERY).pages())
    assert held.value.retry_after <= timedelta(seconds=61)


async def test_a_token_that_is_not_accepted_is_renewed(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda asked: (
        answer(unauthenticated(), 401)
        if asked.headers["authorization"] == "Bearer canary-first"
        else answer([part([row(1)])])
    )
    async with office.client("google_ads") as api:
        assert [record async for record in GoogleAds(api).search_stream(CUSTOMER, QUERY)] == [row(1)]
    assert (len(fake.asked), len(fake.refreshed)) == (2, 1)


async def test_a_revoked_grant_means_connecting_again(office: Office, fake: FakeService) -> None:
    fake.behaviour = lambda _: answer(unauthenticated(), 401)
    fake.token = lambda _: answer(
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, 400
    )
    async with office.client("google_ads") as api:
        with pytest.raises(ReauthorizationRequiredError):
            await GoogleAds(api).accessible_customers()
        assert office.row(api.integration.id).status is IntegrationStatus.NEEDS_REAUTHORIZATION


async def test_a_mistake_in_a_query_is_told_once(office: Office, fake: FakeService) -> None:
    error = {"errorCode": {"queryError": "UNRECOGNIZED_FIELD"}, "message": "canary-message"}
    body = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"@type": FAILURE, "errors": [error]}]}}
    fake.behaviour = lambda _: answer(body, 400)
    async with office.client("google_ads") as api:
        with pytest.raises(ServiceError) as caught:
            await anext(GoogleAds(api).search(CUSTOMER, "SELECT nothing").pages())
    assert (caught.value.status, len(fake.asked)) == (400, 1)
    assert b"UNRECOGNIZED_FIELD" in caught.value.body
    assert "canary" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("given", ["", "canary-developer-token"])
async def test_a_developer_token_is_sent_only_where_the_operator_has_one(
    fake: FakeService, tmp_path: Path, given: str
) -> None:
    fake.behaviour = lambda _: answer({"resourceNames": []})
    async with (
        open_office(fake, tmp_path / "state", GOOGLE_ADS_DEVELOPER_TOKEN=given) as office,
        office.client("google_ads") as api,
    ):
        await GoogleAds(api).accessible_customers()
        with pytest.raises(InvalidValueError, match="writes itself"):
            await api.get("/customers:listAccessibleCustomers", headers={"Developer-Token": "another"})
    assert fake.asked[0].headers.get("developer-token", "") == given
    assert ("developer-token" in fake.asked[0].headers) is bool(given)


async def test_a_stream_that_is_left_early_ends_at_the_service(office: Office, fake: FakeService) -> None:
    """The service goes on sending for good; nothing of it is read any more."""
    one = orjson.dumps(part([row(number) for number in range(200)]))
    has_ended = threading.Event()

    def body() -> Iterator[bytes]:
        try:
            yield b"["
            while True:
                yield one + b","
        finally:
            has_ended.set()

    fake.behaviour = lambda _: Answer(200, body())
    async with office.client("google_ads") as api, aclosing(GoogleAds(api).search_stream(CUSTOMER, QUERY)) as rows:
        assert await anext(rows) == row(0)
    assert await asyncio.to_thread(has_ended.wait, 10)
