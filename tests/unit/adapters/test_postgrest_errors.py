"""Refusals of the Data API, as PostgREST documents them and as Supabase Lite was seen to send them, as our errors."""

import re
from typing import Any

import httpx
import pytest

from supabase_integrations.adapters.postgrest_errors import error_of
from supabase_integrations.core.errors import (
    ConfigurationError,
    DuplicateIntegrationError,
    ForbiddenError,
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    InvalidStateError,
    InvalidValueError,
    QuotaExceededError,
    SchemaMissingError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from supabase_integrations.resources import migrations_dir
from tests.unit.adapters.conftest import reply
from tests.unit.fakes import START

NOT_FOR_USERS = {"integrations_acting_for_limit", "seen_states_pkey"}
CHECK = 'new row for relation "integrations" violates check constraint "{}"'
UNIQUE = 'duplicate key value violates unique constraint "{}"'
FOREIGN = 'insert or update on table "oauth_states" violates foreign key constraint "{}"'
ROW_SECURITY = 'new row violates row-level security policy "Tokens of apps" for table "integrations"'


def refused(status: int, code: str, message: str, **more: Any) -> httpx.Response:
    return reply(status, {"code": code, "message": message, "details": "canary-details", "hint": None} | more)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refused(409, "23505", UNIQUE.format("integrations_account_key")), DuplicateIntegrationError),
        (refused(409, "23505", UNIQUE.format("integrations_pkey")), DuplicateIntegrationError),
        (
            refused(409, "23505", 'this id was used before: refused by "integrations_id_used_once"'),
            DuplicateIntegrationError,
        ),
        (refused(409, "23505", UNIQUE.format("oauth_states_pkey")), InvalidStateError),
        (refused(409, "23505", 'this state was used before: refused by "oauth_states_used_once"'), InvalidStateError),
        (refused(409, "23503", FOREIGN.format("oauth_states_integration_id_fkey")), IntegrationNotFoundError),
        (refused(500, "54000", 'too many connections: refused by "integrations_quota"'), QuotaExceededError),
        (refused(500, "54000", "a limit of Postgres itself"), QuotaExceededError),
        (
            refused(500, "SUP", 'PostgresError: too many changes: refused by "integration_events_flood"'),
            QuotaExceededError,
        ),
        (
            refused(500, "SUP", 'PostgresError: too many authorizations: refused by "oauth_states_quota"'),
            QuotaExceededError,
        ),
        (refused(500, "55P03", 'refused by "integrations_lease_is_exclusive"'), IntegrationBusyError),
        (refused(500, "55000", 'refused by "integrations_credentials_need_a_lease"'), IntegrationBusyError),
        (refused(500, "55P03", "canceling statement due to lock timeout"), IntegrationBusyError),
        (refused(404, "PGRST205", "Could not find the table 'public.integrations'"), SchemaMissingError),
        (refused(404, "42P01", 'relation "public.integrations" does not exist'), SchemaMissingError),
        (refused(400, "42703", "column integrations.display_name does not exist"), SchemaMissingError),
        (refused(400, "PGRST204", "Could not find the 'scopes' column"), SchemaMissingError),
        (refused(406, "PGRST106", "Invalid schema: public"), SchemaMissingError),
        (refused(500, "57014", "canceling statement due to statement timeout"), StoreUnavailableError),
        (refused(500, "SUP", "PostgresError: canceling statement due to statement timeout"), StoreUnavailableError),
        (refused(500, "40001", "could not serialize access"), StoreUnavailableError),
        (refused(503, "PGRST002", "Could not query the database for the schema cache"), StoreUnavailableError),
        (refused(504, "PGRST003", "Timed out acquiring connection"), StoreUnavailableError),
        (refused(503, "53300", "too many connections for role"), StoreUnavailableError),
        (refused(400, "57P03", "the database system is starting up"), StoreUnavailableError),
        (reply(502, b"<html>bad gateway canary-details</html>"), StoreUnavailableError),
        (reply(520, b""), StoreUnavailableError),
        (reply(408, b""), StoreUnavailableError),
        (reply(429, {"message": "API rate limit exceeded"}), StoreUnavailableError),
        (reply(401, {"message": "Invalid API key", "hint": "canary-details"}), ConfigurationError),
        (reply(403, b"<html>"), ConfigurationError),
        (reply(404, {"message": "no Route matched with those values"}), ConfigurationError),
        (reply(301, b"", location="https://elsewhere.test"), ConfigurationError),
        (refused(400, "PGRST100", '"failed to parse filter (canary-details)"'), IntegrationError),
        (refused(400, "P0001", "canary-details"), IntegrationError),
        (refused(400, "canary-details", ""), IntegrationError),
        (reply(418, b"canary-details"), IntegrationError),
    ],
)
def test_a_refusal_becomes_the_error_it_means_and_repeats_nothing(
    answer: httpx.Response, expected: type[IntegrationError]
) -> None:
    error = error_of(answer, START)
    assert type(error) is expected
    assert "canary" not in str(error)
    assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (refused(400, "23514", CHECK.format("integrations_config_check")), "config"),
        (refused(500, "SUP", "PostgresError: " + CHECK.format("integrations_config_check")), "config"),
        (refused(400, "23514", CHECK.format("integrations_external_account_id_check")), "external_account_id"),
        (refused(400, "23514", CHECK.format("oauth_states_flow_check")), "flow"),
        (refused(400, "23514", 'refused by "integrations_identity_is_fixed"'), "service_name"),
        (refused(400, "23514", CHECK.format("somebody_elses_rule")), "body"),
        (
            refused(400, "23502", 'null value in column "service_type" of relation "integrations" violates'),
            "service_type",
        ),
        (refused(400, "22P02", 'invalid input syntax for type uuid: "canary-details"'), "body"),
        (refused(400, "22021", 'invalid byte sequence for encoding "UTF8": 0x00'), "body"),
        (refused(400, "22P05", "unsupported Unicode escape sequence"), "body"),
        (refused(400, "22008", 'date/time field value out of range: "canary-details"'), "body"),
        (refused(413, "", ""), "body"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_by_its_field(answer: httpx.Response, field: str) -> None:
    error = error_of(answer, START)
    assert isinstance(error, InvalidValueError)
    assert error.field == field
    assert "canary" not in str(error)


def test_text_that_a_client_sent_is_not_taken_for_a_rule() -> None:
    error = error_of(refused(400, "22P02", 'invalid input syntax for type uuid: "integrations_quota"'), START)
    assert isinstance(error, InvalidValueError)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused(401, "PGRST303", "JWT expired"), "token_expired"),
        (refused(401, "PGRST301", "JWT expired"), "token_expired"),
        (refused(401, "PGRST301", "No suitable key or wrong key type"), "token_refused"),
        (refused(401, "PGRST302", "Anonymous access is disabled"), "token_refused"),
        (refused(401, "PGRST303", "JWT issued at future"), "token_refused"),
        (refused(401, "42501", "permission denied for table integrations"), "token_refused"),
        (refused(409, "23503", FOREIGN.format("integrations_user_id_fkey")), "session_ended"),
        (refused(409, "23503", FOREIGN.format("oauth_states_user_id_fkey")), "session_ended"),
        (refused(409, "23503", FOREIGN.format("seen_states_user_id_fkey")), "session_ended"),
    ],
)
def test_a_token_that_the_data_api_refuses_is_told_like_one_we_refuse(answer: httpx.Response, code: str) -> None:
    error = error_of(answer, START)
    assert isinstance(error, UnauthenticatedError)
    assert error.code == code


@pytest.mark.parametrize(
    ("message", "code"),
    [(ROW_SECURITY, "row_level_security"), ("permission denied for table integrations", "permission_denied")],
)
def test_what_the_database_does_not_permit_is_forbidden(message: str, code: str) -> None:
    error = error_of(refused(403, "42501", message), START)
    assert isinstance(error, ForbiddenError)
    assert error.code == code


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("Fri, 02 Jan 2026 03:04:35 GMT", 30), ("soon", None), (None, None)]
)
def test_the_wait_that_the_data_api_asks_for_is_kept(status: int, header: str | None, seconds: int | None) -> None:
    headers = {} if header is None else {"retry_after": header}
    error = error_of(reply(status, {"message": "busy"}, **headers), START)
    assert isinstance(error, StoreUnavailableError)
    assert (error.retry_after and error.retry_after.total_seconds()) == seconds


def rules_of_the_migrations() -> set[str]:
    """The name of every rule of ours that may refuse what a signed-in user sends."""
    text = "".join(file.read_text("utf-8") for file in sorted(migrations_dir().glob("*.sql")))
    guards = re.findall(r'refused by "(\w+)"', text)
    constraints = re.findall(r"\bconstraint ((?:integrations|oauth_states|seen_states)_\w+)", text)
    return {*guards, *constraints} - NOT_FOR_USERS


@pytest.mark.parametrize("rule", sorted(rules_of_the_migrations()))
def test_every_rule_of_the_migrations_has_a_meaning_even_without_its_code(rule: str) -> None:
    error = error_of(refused(500, "SUP", f'PostgresError: refused by "{rule}"'), START)
    assert not isinstance(error, StoreUnavailableError)
