"""Meta Ads over real HTTP: paging links that hold the token, throttling by codes, and dead tokens at HTTP 400."""

import hashlib
import hmac
import json
from datetime import date, timedelta
from time import monotonic
from typing import Any

import pytest

from supabase_integrations.clients import MetaAds
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
from tests.clients.office import ENVIRONMENT, FIRST_TOKEN, Office

JANUARY = (date(2026, 1, 1), date(2026, 1, 31))


def refused(code: object, subcode: int | None = None, *, status: int = 400, **headers: str) -> Answer:
    """Meta's error."""
    error: dict[str, object] = {"message": "canary-message", "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
    if subcode is not None:
        error["error_subcode"] = subcode
    return answer({"error": error}, status, **headers)


def regain(minutes: int) -> str:
    """A header as Meta sends it with a refusal of that kind."""
    usage = {"type": "ads_management", "call_count": 101, "total_cputime": 12, "total_time": 15}
    return json.dumps({"123": [{**usage, "estimated_time_to_regain_access": minutes}]})


def pages(*parts: list[dict[str, str]], cursors: bool = True) -> Any:
    """An edge in so many pages; `next` is a whole URL with the token in it."""

    def behaviour(asked: Asked) -> Answer:
        number = int(asked.query.get("after", "page-0").removeprefix("page-"))
        paging: dict[str, Any] = {"cursors": {"before": f"before-{number}", "after": f"page-{number + 1}"}}
        if number + 1 < len(parts):
            link = f"https://graph.facebook.com{asked.path}?access_token={FIRST_TOKEN}&after=page-{number + 1}"
            paging["next"] = link
        if not cursors:
            del paging["cursors"]
        return answer({"data": parts[number], "paging": paging})

    return behaviour


async def test_ad_accounts_come_page_by_page_and_every_call_is_signed(office: Office, fake: FakeService) -> None:
    fake.behaviour = pages([{"id": "act_1"}, {"id": "act_2"}], [{"id": "act_3"}])
    async with office.client("meta_ads") as api:
        found = [record["id"] async for record in MetaAds(api).ad_accounts()]
    proof = hmac.new(ENVIRONMENT["META_APP_SECRET"].encode(), FIRST_TOKEN.encode(), hashlib.sha256).hexdigest()
    assert found == ["act_1", "act_2", "act_3"]
    assert [asked.path for asked in fake.asked] == ["/v26.0/me/adaccounts"] * 2
    assert [asked.query.get("after") for asked in fake.asked] == [None, "page-1"]
    assert {asked.query["appsecret_proof"] for asked in fake.asked} == {proof}
    assert {asked.headers["authorization"] for asked in fake.asked} == {f"Bearer {FIRST_TOKEN}"}
    assert not any("access_token" in asked.query for asked in fake.asked)


@pytest.mark.parametrize("cursors", [True, False])
async def test_a_cursor_never_holds_the_token(office: Office, fake: FakeService, cursors: bool) -> None:
    """It may be stored, and the paging link has the token in it."""
    fake.behaviour = pages([{"id": "1"}], [{"id": "2"}], cursors=cursors)
    async with office.client("meta_ads") as api:
        found = [page async for page in MetaAds(api).campaigns("123").pages()]
    assert [page.cursor for page in found] == ["page-1", None]
    assert [page.records[0]["id"] for page in found] == ["1", "2"]
    assert FIRST_TOKEN not in repr(found)


async def test_a_page_that_does_not_say_where_the_next_begins_is_an_error(office: Office, fake: FakeService) -> None:
    """Rather than an end that looks like one."""
    fake.behaviour = lambda _: answer({"data": [], "paging": {"next": "https://graph.facebook.com/v26.0/x?offset=25"}})
    async with office.client("meta_ads") as api:
        with pytest.raises(ProviderUnavailableError):
            await anext(MetaAds(api).campaigns("act_123").pages())


async def test_insights_are_asked_for_as_meta_wants_it(office: Office, fake: FakeService) -> None:
    row = {"campaign_id": "7", "impressions": "100", "spend": "1.20", "date_start": "2026-01-01"}
    fake.behaviour = pages([row])
    async with office.client("meta_ads") as api:
        insights = MetaAds(api).insights(
            "123", *JANUARY, level="ad", fields=["impressions", "spend"], days=1, breakdowns=["age", "gender"]
        )
        assert [record async for record in insights] == [row]
    (asked,) = fake.asked
    assert asked.path == "/v26.0/act_123/insights"
    assert json.loads(asked.query["time_range"]) == {"since": "2026-01-01", "until": "2026-01-31"}
    expected = {"level": "ad", "fields": "impressions,spend", "time_increment": "1", "breakdowns": "age,gender"}
    assert expected.items() <= asked.query.items()


@pytest.mark.parametrize("account", ["", "act_", "act_1/../2", "1?x=1", "act_1\n", "me", "٣"])
async def test_what_is_no_account_is_not_asked_for(office: Office, fake: FakeService, account: str) -> None:
    async with office.client("meta_ads") as api:
        with pytest.raises(InvalidValueError, match="act_"):
            MetaAds(api).campaigns(account)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("code", "subcode", "status"),
    [
        *((4, None, 400), (4, None, 403), (17, 2446079, 400), (32, None, 400), (613, 1487742, 400)),
        *((80_000, None, 400), (80_004, None, 403), (80_014, None, 400)),
    ],
)
async def test_throttling_is_known_by_its_code(
    office: Office, fake: FakeService, code: int, subcode: int | None, status: int
) -> None:
    headers = {"x_business_use_case_usage": regain(17)}
    fake.behaviour = lambda _: refused(code, subcode, status=status, **headers)
    async with office.client("meta_ads") as api:
        with pytest.raises(ServiceRateLimitedError) as caught:
            await anext(MetaAds(api).campaigns("123").pages())
        assert caught.value.retry_after == timedelta(minutes=17)
        assert "canary" not in str(caught.value)
        with pytest.raises(RateLimitedError) as held:
            await anext(MetaAds(api).campaigns("123").pages())
    assert len(fake.asked) == 1
    assert timedelta(minutes=16) < held.value.retry_after <= timedelta(minutes=17, seconds=1)


async def test_a_call_refused_for_a_moment_is_made_again(office: Office, fake: FakeService) -> None:
    fake.first = [refused(17, 2446079, retry_after="1")]
    fake.behaviour = pages([{"id": "1"}])
    began = monotonic()
    async with office.client("meta_ads") as api:
        assert [record["id"] async for record in MetaAds(api).campaigns("123")] == ["1"]
    assert len(fake.asked) == 2
    assert monotonic() - began >= 1.0


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("subcode", [458, 460, 463, 467])
async def test_a_dead_token_means_connecting_again(
    office: Office, fake: FakeService, status: int, subcode: int
) -> None:
    """Meta mostly says so with HTTP 400."""
    fake.behaviour = fake.token = lambda _: refused(190, subcode, status=status)
    async with office.client("meta_ads") as api:
        with pytest.raises(ReauthorizationRequiredError):
            await anext(MetaAds(api).ad_accounts().pages())
        assert office.row(api.integration.id).status is IntegrationStatus.NEEDS_REAUTHORIZATION
    assert len(fake.asked) == 1


async def test_a_token_that_can_be_renewed_is_and_the_call_made_once_more(office: Office, fake: FakeService) -> None:
    fake.token = lambda _: answer({"access_token": "canary-second", "token_type": "bearer", "expires_in": 5183944})
    seen = pages([{"id": "1"}])
    fake.behaviour = lambda asked: (
        refused(190, 463) if asked.headers["authorization"] == f"Bearer {FIRST_TOKEN}" else seen(asked)
    )
    async with office.client("meta_ads") as api:
        assert [record["id"] async for record in MetaAds(api).ad_accounts()] == ["1"]
    (refresh,) = fake.refreshed
    assert refresh.form["grant_type"] == "fb_exchange_token"
    assert len(fake.asked) == 2


async def test_a_renewed_token_that_is_refused_too_ends_it(office: Office, fake: FakeService) -> None:
    fake.token = lambda _: answer({"access_token": "canary-second", "token_type": "bearer", "expires_in": 5183944})
    fake.behaviour = lambda _: refused(190)
    async with office.client("meta_ads") as api:
        with pytest.raises(ReauthorizationRequiredError):
            await anext(MetaAds(api).ad_accounts().pages())
    assert (len(fake.asked), len(fake.refreshed)) == (2, 1)


@pytest.mark.parametrize("code", [100, 200, 10, 1, None, "4", [4], {"code": 4}])
async def test_other_refusals_are_passed_on_once(office: Office, fake: FakeService, code: object) -> None:
    fake.behaviour = lambda _: refused(code)
    async with office.client("meta_ads") as api:
        with pytest.raises(ServiceError) as caught:
            await anext(MetaAds(api).ad_accounts().pages())
    assert type(caught.value) is ServiceError
    assert len(fake.asked) == 1
