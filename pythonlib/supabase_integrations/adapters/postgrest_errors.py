"""What a refusal of Supabase's Data API means, as our errors. Nothing of its body goes further than this module.

PostgREST answers with Postgres' own code and message. Our migrations end every message of theirs with the rule that
refused, in double quotes, as Postgres does for constraints; the rule decides first, because Supabase Lite answers many
refusals with status 500, the code `SUP` and that message alone.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import httpx
import orjson

from ..core.errors import (
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
)
from ..core.http_messages import retry_after
from ..core.token_refusal import TokenRefusal

Meaning = Callable[[], IntegrationError]


def _quota(message: str) -> Meaning:
    return lambda: QuotaExceededError(message)


def _invalid(field: str) -> Meaning:
    return lambda: InvalidValueError(field, f"{field} holds a value that is not allowed.")


_RULES: Final[Mapping[str, Meaning]] = {
    "integrations_pkey": DuplicateIntegrationError,
    "integrations_account_key": DuplicateIntegrationError,
    "integrations_id_used_once": DuplicateIntegrationError,
    "integrations_user_id_fkey": TokenRefusal.SESSION_ENDED.error,
    "integrations_lease_is_exclusive": IntegrationBusyError,
    "integrations_credentials_need_a_lease": IntegrationBusyError,
    "integrations_identity_is_fixed": _invalid("service_name"),
    "integrations_quota": _quota("A user may have at most 200 connections. Delete one first."),
    "integration_events_flood": _quota("A user may change connections about 1,000 times an hour. Try again later."),
    "oauth_states_pkey": InvalidStateError,
    "oauth_states_used_once": InvalidStateError,
    "oauth_states_user_id_fkey": TokenRefusal.SESSION_ENDED.error,
    "oauth_states_integration_id_fkey": IntegrationNotFoundError,
    "oauth_states_quota": _quota("A user may start at most 200 authorizations in 15 minutes. Try again later."),
    "seen_states_user_id_fkey": TokenRefusal.SESSION_ENDED.error,
}

# By Postgres' code, or by its class: the first two characters (PostgreSQL documentation, appendix A).
_CODES: Final[Mapping[str, Meaning]] = {
    "22": _invalid("body"),
    "23502": _invalid("body"),
    "23503": IntegrationNotFoundError,
    "23505": DuplicateIntegrationError,
    "23514": _invalid("body"),
    "3F000": SchemaMissingError,
    "42703": SchemaMissingError,
    "42P01": SchemaMissingError,
    "53400": QuotaExceededError,
    "54": QuotaExceededError,
    "55000": IntegrationBusyError,
    "55P03": IntegrationBusyError,
    "PGRST106": SchemaMissingError,
    "PGRST204": SchemaMissingError,
    "PGRST205": SchemaMissingError,
}

# Postgres' own: class 08 is the connection, 40 a rollback that may succeed next time, 53 and 57 the server's state.
_UNAVAILABLE: Final = ("08", "40", "53", "57")
_TOKEN_CODES: Final = frozenset({"PGRST301", "PGRST302", "PGRST303"})
# Only these classes, and Lite, speak of rules: in other messages the quoted text may be what the client sent.
_RULE_CODES: Final = ("23", "54", "55", "SUP")
_LAST_QUOTED: Final = re.compile(r'"([a-z0-9_]+)"[^"]*\Z')
_FIRST_QUOTED: Final = re.compile(r'"([a-z0-9_]+)"')
_COLUMN_RULE: Final = re.compile(r"(?:integrations|oauth_states|seen_states)_([a-z_]+)_check")
_PRINTABLE_CODE: Final = re.compile(r"[A-Z0-9]{1,10}")


def error_of(reply: httpx.Response, now: datetime) -> IntegrationError:
    """The error that a reply outside 200 to 299 stands for."""
    code, message = _code_and_message(reply.content)
    if code.startswith(_RULE_CODES):
        rule = _LAST_QUOTED.search(message)
        error = _error_of_rule(rule[1]) if rule else None
        if error is not None:
            return error
    if code in _TOKEN_CODES:
        return (TokenRefusal.EXPIRED if message == "JWT expired" else TokenRefusal.REFUSED_BY_DATA_API).error()
    if code == "42501":
        return _not_permitted(reply.status_code, message)
    if code == "23502" and (column := _FIRST_QUOTED.search(message)):
        return InvalidValueError(column[1], f"{column[1]} is required.")
    meaning = _CODES.get(code) or _CODES.get(code[:2])
    return meaning() if meaning else _error_of_status(reply, code, now)


def _code_and_message(body: bytes) -> tuple[str, str]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    code, message = document.get("code"), document.get("message")
    return code if isinstance(code, str) else "", message if isinstance(message, str) else ""


def _error_of_rule(rule: str) -> IntegrationError | None:
    if rule in _RULES:
        return _RULES[rule]()
    column = _COLUMN_RULE.fullmatch(rule)
    return _invalid(column[1])() if column else None


def _not_permitted(status: int, message: str) -> IntegrationError:
    # PostgREST says 401 where it took the request for a stranger's.
    if status == 401:
        return TokenRefusal.REFUSED_BY_DATA_API.error()
    if "row-level security" in message:
        return ForbiddenError("row_level_security", "Row level security does not allow this with this access token.")
    return ForbiddenError(
        "permission_denied", "The database does not let signed-in users do this. Run `integrations audit` to see why."
    )


def _error_of_status(reply: httpx.Response, code: str, now: datetime) -> IntegrationError:
    status = reply.status_code
    if status in (408, 429) or status >= 500 or code.startswith(_UNAVAILABLE):
        wait = retry_after(reply.headers, now)
        what = "receives too many requests" if status == 429 else f"is not working (HTTP {status})"
        return StoreUnavailableError(f"Supabase's Data API {what}. Try again.", retry_after=wait)
    if status == 413:
        return InvalidValueError("body", "The request is larger than Supabase's Data API accepts.")
    if not code and status in (401, 403):
        return ConfigurationError("Supabase's Data API refuses the publishable key: check SUPABASE_PUBLISHABLE_KEY.")
    if not code and (status < 400 or status == 404):
        return ConfigurationError(f"Supabase's Data API is not there (HTTP {status}): check SUPABASE_URL.")
    named = code if _PRINTABLE_CODE.fullmatch(code) else f"HTTP {status}"
    return IntegrationError(f"The database refused the request ({named}). Run `integrations doctor`.")
