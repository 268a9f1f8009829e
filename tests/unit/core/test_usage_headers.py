"""What services say about their limits, and which key it slows down by how much."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.usage_headers import BLOCKED, PACE, graphql_cost_wait, slowdowns

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
DAY = 86_400.0


def waits(account: str = "1", **headers: str) -> dict[str | None, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {found.account: pytest.approx(found.wait) for found in slowdowns(named, account=account, now=NOW)}


def hubspot(left: int) -> dict[str, str]:
    return {
        "x_hubspot_ratelimit_max": "110",
        "x_hubspot_ratelimit_remaining": str(left),
        "x_hubspot_ratelimit_interval_milliseconds": "10000",
    }


@pytest.mark.parametrize(("left", "wait"), [(22, 10 / 110), (1, 10 / 110), (0, 10.0)])
def test_hubspot_s_last_fifth_is_spread_over_the_interval(left: int, wait: float) -> None:
    assert waits(**hubspot(left)) == {"1": wait}


def test_hubspot_is_not_slowed_before_that() -> None:
    assert waits(**hubspot(23)) == {}


@pytest.mark.parametrize(
    ("second", "day", "expected"),
    [("1", "1", {}), ("0", "1", {"1": 1.0}), ("0", "0", {"1": BLOCKED}), ("x", "-1", {}), ("", "", {})],
)
def test_hubspot_s_second_and_day_hold_when_nothing_is_left(second: str, day: str, expected: dict[str, float]) -> None:
    found = waits(x_hubspot_ratelimit_secondly_remaining=second, x_hubspot_ratelimit_daily_remaining=day, **hubspot(50))
    assert found == expected


@pytest.mark.parametrize(
    ("bucket", "wait"), [("33/40", 0.5), ("40/40", 4.0), ("80/80", 4.0), ("400/400", 4.0), ("39/40", 3.5)]
)
def test_shopify_s_bucket_drains_to_four_fifths(bucket: str, wait: float) -> None:
    """It loses a twentieth of its size a second: 2, 4 or 20 calls by plan."""
    assert waits(x_shopify_shop_api_call_limit=bucket) == {"1": wait}


@pytest.mark.parametrize("bucket", ["32/40", "0/40", "40", "a/b", "40/0", "/", "-1/40"])
def test_a_calm_or_unreadable_bucket_slows_nothing(bucket: str) -> None:
    assert waits(x_shopify_shop_api_call_limit=bucket) == {}


def cost(requested: object, available: object, most: object = 2000, rate: object = 100) -> dict[str, object]:
    status = {"maximumAvailable": most, "currentlyAvailable": available, "restoreRate": rate}
    return {"cost": {"requestedQueryCost": requested, "actualQueryCost": None, "throttleStatus": status}}


@pytest.mark.parametrize(
    ("requested", "available", "wait"), [(101, 1990, 0.0), (752, 252, 5.0), (752, 0, 7.52), (5000, 0, 20.0)]
)
def test_a_graphql_query_waits_for_its_points(requested: int, available: int, wait: float) -> None:
    assert graphql_cost_wait(cost(requested, available)) == pytest.approx(wait)


@pytest.mark.parametrize(
    "extensions", [None, {}, [], {"cost": None}, cost("x", 0, rate=0), cost(1, None), cost(1, 0, most="many")]
)
def test_an_unreadable_cost_slows_nothing(extensions: object) -> None:
    assert graphql_cost_wait(extensions) == 0.0


def business(**accounts: dict[str, float]) -> str:
    full = {"call_count": 1, "total_cputime": 1, "total_time": 1, "estimated_time_to_regain_access": 0}
    return json.dumps({name[1:]: [{"type": "ads_management", **full, **usage}] for name, usage in accounts.items()})


def test_meta_slows_the_ad_account_that_it_names() -> None:
    header = business(_11={"total_time": 90}, _22={"call_count": 10})
    assert waits("act_11", x_business_use_case_usage=header) == {"act_11": PACE / 2}
    assert waits("22", x_business_use_case_usage=header) == {"11": PACE / 2}


def test_meta_says_in_minutes_when_access_comes_back() -> None:
    header = business(_11={"call_count": 100, "estimated_time_to_regain_access": 3})
    assert waits("11", x_business_use_case_usage=header) == {"11": 180.0}


def test_meta_without_a_time_is_waited_out() -> None:
    assert waits("11", x_business_use_case_usage=business(_11={"total_cputime": 100})) == {"11": BLOCKED}


def test_a_connection_that_is_no_ad_account_waits_for_the_worst_one() -> None:
    header = business(_11={"total_time": 85}, _22={"call_count": 95})
    assert waits("user-7", x_business_use_case_usage=header) == {
        "user-7": PACE * 0.75,
        "22": PACE * 0.75,
        "11": PACE * 0.25,
    }


def test_the_app_s_own_usage_slows_the_whole_service() -> None:
    usage = json.dumps({"call_count": 90, "total_time": 20, "total_cputime": 3})
    assert waits(x_app_usage=usage) == {None: PACE / 2}


def test_an_ad_account_s_utilisation_says_when_it_is_reset() -> None:
    usage = json.dumps({"acc_id_util_pct": 100, "reset_time_duration": 120, "ads_api_access_tier": "standard_access"})
    assert waits(x_ad_account_usage=usage) == {"1": 120.0}
    assert waits(x_ad_account_usage=json.dumps({"acc_id_util_pct": 9.67})) == {}


@pytest.mark.parametrize(("value", "wait"), [("5", 5.0), ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0), ("999999999", DAY)])
def test_retry_after_in_both_forms(value: str, wait: float) -> None:
    assert waits(retry_after=value) == {"1": wait}


@pytest.mark.parametrize(
    "reset",
    ["30", str(int(NOW.timestamp()) + 30), str((int(NOW.timestamp()) + 30) * 1000)],
    ids=["seconds", "moment", "moment in milliseconds"],
)
@pytest.mark.parametrize("prefix", ["ratelimit", "x_ratelimit"])
def test_nothing_left_waits_for_the_reset(prefix: str, reset: str) -> None:
    assert waits(**{f"{prefix}_remaining": "0", f"{prefix}_reset": reset}) == {"1": 30.0}
    assert waits(**{f"{prefix}_remaining": "1", f"{prefix}_reset": reset}) == {}


def test_a_reset_after_wins_over_a_reset() -> None:
    headers = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": "1893456000", "x_ratelimit_reset_after": "0.5"}
    assert waits(**headers) == {"1": 0.5}


def test_of_several_the_longest_counts() -> None:
    assert waits(retry_after="3", x_shopify_shop_api_call_limit="40/40") == {"1": 4.0}


HEADERS = st.sampled_from(
    [
        *("retry-after", "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining", "x-app-usage"),
        *("x-hubspot-ratelimit-interval-milliseconds", "x-shopify-shop-api-call-limit", "x-business-use-case-usage"),
        *("x-ad-account-usage", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-reset"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["call_count", "1", "x"]), inner),
)


@given(st.dictionaries(HEADERS, st.text() | JSON.map(json.dumps) | st.floats().map(str) | st.integers().map(str)))
def test_whatever_a_header_holds_it_breaks_nothing_and_waits_at_most_a_day(headers: dict[str, str]) -> None:
    assert all(0 < found.wait <= DAY for found in slowdowns(headers, account="1", now=NOW))


@given(JSON, JSON, JSON)
def test_whatever_an_extension_holds_it_breaks_nothing(one: object, two: object, three: object) -> None:
    assert 0 <= graphql_cost_wait(cost(one, two, three, 50)) <= DAY
    assert graphql_cost_wait({"cost": one}) == 0.0


def test_a_header_that_names_thousands_of_accounts_does_not_make_as_many_keys() -> None:
    header = json.dumps({str(number): [{"call_count": 99}] for number in range(400)})
    assert len(slowdowns({"x-business-use-case-usage": header}, account="a", now=NOW)) <= 51
    large = json.dumps({str(number): [{"call_count": 99}] for number in range(4_000)})
    assert slowdowns({"x-business-use-case-usage": large}, account="a", now=NOW) == ()
