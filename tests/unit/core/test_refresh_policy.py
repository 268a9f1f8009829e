"""When credentials are due."""

from datetime import timedelta
from random import Random

import pytest

from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.errors import (
    IntegrationError,
    InvalidClientError,
    InvalidGrantError,
    ProviderUnavailableError,
)
from supabase_integrations.core.refresh_policy import RefreshReason, decide, failure_of, refresh_due_at, renewed
from supabase_integrations.core.secret import SecretStr
from tests.unit.conftest import EXTRA_SERVICES, load
from tests.unit.fakes import START

CATALOGUE = load()


def tokens(lifetime: timedelta | None, *, refreshable: bool = True) -> OAuthCredentials:
    return OAuthCredentials(
        SecretStr("a"),
        issued_at=START,
        refresh_token=SecretStr("r") if refreshable else None,
        expires_at=START + lifetime if lifetime else None,
    )


@pytest.mark.parametrize(
    ("lifetime", "due"),
    [
        (timedelta(hours=1), timedelta(minutes=55)),
        (timedelta(minutes=10), timedelta(minutes=5)),
        (timedelta(minutes=4), timedelta(minutes=2)),
        (timedelta(seconds=10), timedelta(seconds=5)),
    ],
)
def test_the_margin_is_five_minutes_and_at_most_half(lifetime: timedelta, due: timedelta) -> None:
    assert refresh_due_at(tokens(lifetime), CATALOGUE.get("hubspot")) == START + due


def test_nothing_is_due_without_an_end_or_a_means() -> None:
    assert refresh_due_at(tokens(None), CATALOGUE.get("hubspot")) is None
    assert refresh_due_at(tokens(timedelta(hours=1), refreshable=False), CATALOGUE.get("hubspot")) is None


@pytest.mark.parametrize(
    ("lifetime", "due"),
    [(timedelta(days=60), timedelta(days=59)), (timedelta(hours=2), timedelta(hours=1))],
)
def test_a_token_that_is_traded_is_so_a_day_before_there_is_nothing_left_to_trade(
    lifetime: timedelta, due: timedelta
) -> None:
    """An outage of its service, or of this one, has to be over by then."""
    assert refresh_due_at(tokens(lifetime, refreshable=False), CATALOGUE.get("meta_ads")) == START + due


@pytest.mark.parametrize(
    "error", [InvalidGrantError("a", status=400), InvalidClientError("a", status=401), ProviderUnavailableError()]
)
def test_failures_are_counted_no_further_than_the_database_counts(error: IntegrationError) -> None:
    """A user may have set the number with curl; a failure that cannot be recorded orders no wait."""
    assert failure_of(error, failures=99_999, now=START, random=Random(1)).failures == 100_000
    assert failure_of(error, failures=100_000, now=START, random=Random(1)).failures == 100_000


@pytest.mark.parametrize(("service", "seconds"), [("hubspot", 1800), ("plain", 600)])
def test_a_lifetime_that_a_refresh_does_not_say_is_the_catalogues_or_the_one_before(service: str, seconds: int) -> None:
    """Taken for a token without an end, it would never be renewed again, and be served after its end."""
    definition = load(EXTRA_SERVICES).get(service)
    reply = OAuthCredentials(SecretStr("b"), issued_at=START + timedelta(hours=2))
    after = renewed(tokens(timedelta(minutes=10)), reply, definition)
    assert after.expires_at == START + timedelta(hours=2, seconds=seconds)


def test_a_token_that_never_ended_or_that_nothing_renews_gets_no_end() -> None:
    reply = OAuthCredentials(SecretStr("b"), issued_at=START)
    assert renewed(tokens(None), reply, CATALOGUE.get("hubspot")).expires_at is None
    traded = renewed(tokens(timedelta(days=60), refreshable=False), reply, CATALOGUE.get("meta_ads"))
    assert traded.expires_at is None


def test_the_end_of_a_refresh_token_that_is_kept_is_what_was_said_last() -> None:
    ends_at = START + timedelta(days=7)
    reply = OAuthCredentials(SecretStr("b"), issued_at=START, refresh_token_expires_at=ends_at)
    after = renewed(tokens(timedelta(hours=1)), reply, CATALOGUE.get("google_ads"))
    assert after.refresh_token_expires_at == ends_at
    unsaid = OAuthCredentials(SecretStr("c"), issued_at=START)
    assert renewed(after, unsaid, CATALOGUE.get("google_ads")).refresh_token_expires_at == ends_at


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (timedelta(seconds=4), RefreshReason.FRESH),
        (timedelta(seconds=5), RefreshReason.REQUESTED),
        (timedelta(minutes=-3), RefreshReason.REQUESTED),
    ],
)
def test_a_request_is_not_put_off_by_a_clock_that_was_ahead(age: timedelta, reason: RefreshReason) -> None:
    """What was issued in the future would otherwise be fresh for as long, however often a service refuses it."""
    decision = decide(tokens(timedelta(hours=1)), CATALOGUE.get("hubspot"), START + age, requested=True)
    assert decision.reason is reason
