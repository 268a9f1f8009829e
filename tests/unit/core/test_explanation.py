"""A connection told as sentences: every state, every recorded code, and nothing that a terminal would obey."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

import pytest

from supabase_integrations.adapters.egress_sockets import ForbiddenAddressError
from supabase_integrations.core.errors import (
    EndlessListError,
    IntegrationError,
    InvalidClientError,
    InvalidGrantError,
    MalformedTokenResponseError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    TokenEndpointError,
)
from supabase_integrations.core.explanation import Explanation, Record, explain, printable
from supabase_integrations.core.explanation_words import BY_STATUS, REASONS
from supabase_integrations.core.models import Integration, IntegrationEvent, IntegrationStatus, ServiceType
from supabase_integrations.core.refresh_policy import failure_of
from supabase_integrations.core.revocation import RevocationOutcome

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
USER, ROW = UUID(int=1), UUID(int=2)
RECORDED_BY_A_REFRESH = (
    InvalidGrantError("invalid_grant", status=400),
    InvalidClientError("invalid_client", status=401),
    TokenEndpointError("invalid_scope", status=400),
    TokenEndpointError("unknown_error", status=400),
    MalformedTokenResponseError(),
    ProviderUnavailableError(),
    ForbiddenAddressError(),
)
INTEGRATION = Integration(
    id=ROW,
    user_id=USER,
    service_name="hubspot",
    service_type=ServiceType.CRM,
    external_account_id="4711",
    display_name="Canary Ltd",
    status=IntegrationStatus.ACTIVE,
    credential_version=3,
    config={"secret_setting": "canary-config"},
    scopes=(),
    expires_at=NOW + timedelta(minutes=43),
    last_refreshed_at=NOW - timedelta(hours=2),
    last_sync_at=None,
    last_error_code=None,
    last_error_at=None,
    refresh_lease_owner=None,
    refresh_lease_until=None,
    next_refresh_at=NOW + timedelta(minutes=38),
    refresh_failures=0,
    created_at=NOW - timedelta(days=9),
    updated_at=NOW - timedelta(hours=2),
)


def subclasses(kind: type[IntegrationError]) -> Iterator[type[IntegrationError]]:
    """A kind of error and every kind of it there is."""
    yield kind
    for one in kind.__subclasses__():
        yield from subclasses(one)


def told(
    row: Integration | None = INTEGRATION, *events: IntegrationEvent, key_id: str | None = "5ea1ed00"
) -> Explanation:
    """The explanation of a row, or of what is left of it."""
    return explain(Record(USER, ROW, row, key_id, events), NOW)


def everything(explanation: Explanation) -> str:
    """All its sentences."""
    parts = (explanation.identity, explanation.state, explanation.history, explanation.next_steps)
    return "\n".join(line for part in parts for line in part)


def happened(event: str, role: str, *columns: str, actor: UUID | None = None, **more: object) -> IntegrationEvent:
    """An entry of the trail."""
    entry = IntegrationEvent(1, ROW, "hubspot", event, role, actor, columns, None, None, NOW)
    return replace(entry, **more)  # type: ignore[arg-type]


def test_a_good_connection_says_what_it_is_and_that_nothing_is_to_do() -> None:
    explanation = told()
    identity, state = "\n".join(explanation.identity), "\n".join(explanation.state)
    for word in ("hubspot", "crm", "account 4711", "Canary Ltd", str(USER), "key 5ea1ed00", "version 3"):
        assert word in identity
    assert "ends in 43 minutes, at 2026-03-04 05:49:07 UTC" in state
    assert "last renewed 2 hours ago" in state
    assert "looks at it in 38 minutes" in state
    assert explanation.next_steps == ("Nothing.",)


def test_settings_are_not_told() -> None:
    assert "canary-config" not in everything(told())
    assert "secret_setting" not in everything(told())


@pytest.mark.parametrize("error", RECORDED_BY_A_REFRESH, ids=lambda error: f"{error.code}-{error}")
def test_every_code_that_a_refresh_records_has_sentences_of_its_own(error: IntegrationError) -> None:
    failure = failure_of(error, failures=2, now=NOW, random=Random(1))
    status = failure.status or IntegrationStatus.ACTIVE
    row = replace(INTEGRATION, status=status, last_error_code=failure.error_code, last_error_at=NOW, refresh_failures=3)
    explanation = told(row)
    reason = REASONS[failure.error_code]
    assert reason.why in explanation.state[0]
    assert explanation.next_steps == (reason.next_step,)
    assert "3 attempts to renew it failed in a row." in explanation.state


def test_no_kind_of_a_services_error_is_without_sentences() -> None:
    """A code that is added to those a refresh may record is noticed here."""
    kinds = (ProviderUnavailableError, TokenEndpointError, MalformedTokenResponseError, ReauthorizationRequiredError)
    codes = {one.code for kind in kinds for one in subclasses(kind) if one.__module__.startswith("supabase_")}
    outcomes = {outcome.value for outcome in RevocationOutcome if outcome is not RevocationOutcome.REVOKED}
    of_lists = {EndlessListError.code}  # comes of records that are read, of which no connection keeps a code
    assert (codes - of_lists) | outcomes == set(REASONS)


@pytest.mark.parametrize("outcome", [one for one in RevocationOutcome if one is not RevocationOutcome.REVOKED])
def test_what_became_of_a_revocation_is_told(outcome: RevocationOutcome) -> None:
    row = replace(INTEGRATION, status=IntegrationStatus.REVOKED, last_error_code=outcome.value)
    explanation = told(row, key_id=None)
    assert REASONS[outcome].why in explanation.state[0]
    assert "none: they were removed" in explanation.identity[2]


@pytest.mark.parametrize("status", IntegrationStatus)
def test_every_status_has_a_reason_and_a_next_step(status: IntegrationStatus) -> None:
    explanation = told(replace(INTEGRATION, status=status))
    assert BY_STATUS[status].why in explanation.state[0]
    assert explanation.next_steps == (BY_STATUS[status].next_step,)


def test_a_pause_is_the_reason_whatever_failed_before() -> None:
    row = replace(INTEGRATION, status=IntegrationStatus.INACTIVE, last_error_code="provider_unavailable")
    assert "paused" in told(row).state[0]


def test_a_code_of_somebody_elses_is_told_as_such() -> None:
    row = replace(INTEGRATION, status=IntegrationStatus.ERROR, last_error_code="made_up")
    assert "made_up was recorded, which is none of this service's" in told(row).state[0]


def test_a_row_that_no_worker_comes_to_says_so() -> None:
    row = replace(INTEGRATION, next_refresh_at=NOW - timedelta(minutes=6), expires_at=NOW - timedelta(minutes=1))
    explanation = told(row)
    assert "no worker has come to it" in explanation.state[0]
    assert "integrations worker" in explanation.next_steps[0]
    assert "ended 1 minute ago" in "\n".join(explanation.state)


def test_an_ended_token_that_nothing_renews_says_so() -> None:
    row = replace(INTEGRATION, next_refresh_at=None, expires_at=NOW - timedelta(days=1))
    assert "nothing renews it in the background" in told(row).state[0]


def test_an_ended_token_that_the_worker_could_not_renew_does_not_count_as_working() -> None:
    """A key or a client that the worker lacks leaves no trace in the row: it is looked at again and again."""
    row = replace(INTEGRATION, next_refresh_at=NOW + timedelta(minutes=40), expires_at=NOW - timedelta(hours=2))
    explanation = told(row)
    assert "left it as it is" in explanation.state[0]
    assert "credential.refresh_skipped" in explanation.next_steps[0]


def test_one_failure_is_not_told_as_several() -> None:
    assert "The last attempt to renew it failed." in told(replace(INTEGRATION, refresh_failures=1)).state


def test_a_lease_is_told_while_it_lives_and_after() -> None:
    leased = replace(INTEGRATION, refresh_lease_owner=uuid4(), refresh_lease_until=NOW + timedelta(seconds=30))
    assert "at this moment, until 2026-03-04 05:06:37 UTC" in everything(told(leased))
    lapsed = replace(leased, refresh_lease_until=NOW - timedelta(seconds=90))
    assert "did not finish: their lease ended 1 minute ago" in everything(told(lapsed))


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (happened("integration.created", "authenticated", actor=USER), "the user connected it."),
        (
            happened("credentials.replaced", "integrations_worker", "credentials", "expires_at"),
            "the worker renewed its credentials.",
        ),
        (
            happened("credentials.replaced", "integrations_worker", "credentials"),
            "the worker sealed its credentials anew (a key rotation, or a renewal that changed nothing else).",
        ),
        (
            happened("credentials.replaced", "authenticated", "credentials", "scopes", actor=USER),
            "the user replaced or renewed its credentials (credentials, scopes).",
        ),
        (
            happened(
                "credentials.discarded",
                "authenticated",
                "credentials",
                "status",
                actor=USER,
                status=IntegrationStatus.REVOKED,
            ),
            "the user removed its credentials; then it was revoked.",
        ),
        (
            happened(
                "status.changed",
                "integrations_worker",
                "status",
                status=IntegrationStatus.NEEDS_REAUTHORIZATION,
                error_code="invalid_grant",
            ),
            "the worker changed its status (status); then it was needs_reauthorization (invalid_grant).",
        ),
        (
            happened("integration.updated", "postgres", "display_name"),
            "an operator (role postgres) changed display_name.",
        ),
        (
            happened("integration.deleted", "service_role"),
            "a holder of the project's secret key (service_role) deleted it.",
        ),
        (happened("integration.deleted", "supabase_auth_admin"), "Supabase Auth deleted the user, and it with them."),
        (happened("integration.deleted", "authenticated", actor=uuid4()), "another user's token deleted it."),
    ],
)
def test_history_says_when_who_and_what(event: IntegrationEvent, sentence: str) -> None:
    assert told(INTEGRATION, event).history == (f"2026-03-04 05:06:07 UTC: {sentence}",)


@pytest.mark.parametrize(("older", "said"), [(1, "1 older event is not shown."), (7, "7 older events are not shown.")])
def test_history_says_how_much_is_left_out(older: int, said: str) -> None:
    events = (happened("integration.created", "authenticated"),)
    assert explain(Record(USER, ROW, INTEGRATION, None, events, older_events=older), NOW).history[0] == said


def test_a_deleted_connection_is_told_from_its_history() -> None:
    gone = happened(
        "integration.deleted",
        "authenticated",
        actor=USER,
        status=IntegrationStatus.REVOKED,
        error_code="revocation_unsupported",
    )
    explanation = told(None, gone, key_id=None)
    assert "hubspot" in explanation.identity[0]
    assert explanation.state[0] == "The connection is deleted; only its history is left."
    assert REASONS["revocation_unsupported"].why in explanation.state[1]
    assert "connects the account anew" in explanation.next_steps[0]


def test_no_character_that_a_terminal_obeys_is_left() -> None:
    """The checks of the tables refuse most of them; a row of before, or past the checks, is not trusted either."""
    hostile = "\x1b[2J\x1b]0;owned\x07 \u202etxt.exe \x9b31m [red]\r\n"
    row = replace(INTEGRATION, display_name=hostile, external_account_id=hostile, last_error_code=hostile)
    event = happened(hostile, hostile, hostile, error_code=hostile)
    text = everything(told(row, event)) + everything(told(None, event))
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "[red]" in text
    assert printable("a\u202eb\x1b") == "a\\u202eb\\u001b"
