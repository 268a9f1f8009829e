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
from supabase_integrations.core.refresh_policy import failure_of, refresh_due_at
from supabase_integrations.core.secret import SecretStr
from tests.unit.conftest import load
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


def test_a_token_that_is_traded_needs_no_refresh_token() -> None:
    assert refresh_due_at(tokens(timedelta(days=60), refreshable=False), CATALOGUE.get("meta_ads")) is not None


@pytest.mark.parametrize(
    "error", [InvalidGrantError("a", status=400), InvalidClientError("a", status=401), ProviderUnavailableError()]
)
def test_failures_are_counted_no_further_than_the_database_counts(error: IntegrationError) -> None:
    """A user may have set the number with curl; a failure that cannot be recorded orders no wait."""
    assert failure_of(error, failures=99_999, now=START, random=Random(1)).failures == 100_000
    assert failure_of(error, failures=100_000, now=START, random=Random(1)).failures == 100_000
