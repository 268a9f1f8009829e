"""What an operator reads about refreshes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from supabase_integrations.adapters.refresh_log import ALARM_EVERY, RefreshLogger
from supabase_integrations.core.errors import InvalidClientError, ProviderUnavailableError, TokenEndpointError
from supabase_integrations.core.models import Integration, IntegrationStatus, RefreshFailure
from tests.unit.conftest import World
from tests.unit.use_cases.test_refresher import connected

REFUSED = TokenEndpointError("invalid_scope", status=400)
FAILURE = RefreshFailure(IntegrationStatus.ERROR, "invalid_client", None, 1)


async def row_of(world: World) -> Integration:
    return await connected(world, world.caller())


async def test_lines_name_the_row_and_nothing_else_of_it(world: World) -> None:
    row = replace(await row_of(world), display_name="canary-display", config={"shop": "canary-config"})
    log = RefreshLogger(world.clock)
    with capture_logs() as lines:
        log.refreshed(row, reason="expired", seconds=0.1234)
        log.failed(row, replace(FAILURE, status=None), REFUSED, seconds=1.0)
        log.replayed(row)
        log.kept(row)
        log.not_kept(row)
        log.refused(row, "permission_denied")
        log.skipped(row, "unknown_encryption_key")
    assert [line["event"] for line in lines] == [
        "credential.refreshed",
        "credential.refresh_failed",
        "credential.replayed",
        "credential.kept_in_journal",
        "credential.not_kept_in_journal",
        "credential.not_stored",
        "credential.refresh_skipped",
    ]
    assert {line["integration_id"] for line in lines} == {str(row.id)}
    assert "canary" not in str(lines)


async def test_an_alarm_is_raised_once_in_ten_minutes_and_counts(world: World) -> None:
    row, log = await row_of(world), RefreshLogger(world.clock)
    with capture_logs() as lines:
        for _ in range(100):
            log.failed(row, FAILURE, REFUSED, seconds=0.0)
        log.failed(row, replace(FAILURE, error_code="token_endpoint_error"), REFUSED, seconds=0.0)
        world.clock.moment += ALARM_EVERY + timedelta(seconds=1)
        log.failed(row, FAILURE, REFUSED, seconds=0.0)
    alarms = [(line["code"], line["connections"]) for line in lines if line.get("alarm")]
    assert alarms == [("invalid_client", 1), ("token_endpoint_error", 1), ("invalid_client", 100)]


@pytest.mark.parametrize(
    ("error", "mends"),
    [(InvalidClientError("unauthorized_client", status=400), "secret"), (REFUSED, "catalogue")],
)
async def test_an_alarm_says_what_mends_it(world: World, error: TokenEndpointError, mends: str) -> None:
    with capture_logs() as lines:
        RefreshLogger(world.clock).failed(
            await row_of(world), replace(FAILURE, error_code=error.code), error, seconds=0.0
        )
    failed, alarm = lines
    assert (failed["service_error"], failed["service_status"]) == (error.error, error.status)
    assert mends in alarm["advice"]


@pytest.mark.parametrize("error", ["canary-token-3f1", "1gqy7w", "ya29.a0afh6smb", "x" * 40, "a_" * 20 + "b"])
async def test_what_a_service_sends_in_place_of_a_word_is_not_logged(world: World, error: str) -> None:
    """It may be the token that it was shown."""
    with capture_logs() as lines:
        RefreshLogger(world.clock).failed(
            await row_of(world), FAILURE, TokenEndpointError(error, status=400), seconds=0.0
        )
    assert lines[0]["service_error"] == "unknown_error"
    assert error not in str(lines)


async def test_a_service_that_said_nothing_is_not_quoted(world: World) -> None:
    with capture_logs() as lines:
        RefreshLogger(world.clock).failed(await row_of(world), FAILURE, ProviderUnavailableError(), seconds=0.0)
    assert "service_error" not in lines[0]


async def test_what_is_missing_here_is_an_alarm_and_what_users_can_write_is_none(world: World) -> None:
    """Users write ciphertext that does not open as they please; that must not wake anybody at night."""
    row, log = await row_of(world), RefreshLogger(world.clock)
    with capture_logs() as lines:
        for code in ("service_not_configured", "journal_unavailable", "unknown_encryption_key", "unknown_service"):
            log.skipped(row, code)
            log.skipped(row, code)
    alarms = [(line["event"], line["code"]) for line in lines if line.get("alarm")]
    assert alarms == [
        ("service.cannot_be_asked_here", "service_not_configured"),
        ("service.cannot_be_asked_here", "journal_unavailable"),
    ]
