"""What a refusal of the database means, as our errors, whichever door it comes through.

Our migrations name the rule that refused, as Postgres names a constraint; a rule says more than a code.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from ..core.errors import (
    DuplicateIntegrationError,
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    InvalidStateError,
    InvalidValueError,
    QuotaExceededError,
    SchemaMissingError,
)
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
    "sync_cursors_integration_id_fkey": IntegrationNotFoundError,
    "sync_cursors_quota": _quota("A user may have at most 1,000 resources synced. Delete one first."),
    "synced_records_integration_id_fkey": IntegrationNotFoundError,
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
    "42883": SchemaMissingError,
    "42P01": SchemaMissingError,
    "53400": QuotaExceededError,
    "54": QuotaExceededError,
    "55000": IntegrationBusyError,
    "55P03": IntegrationBusyError,
}

_RULE_CLASSES: Final = ("23", "54", "55")
_UNAVAILABLE: Final = ("08", "25006", "40", "53", "57")
"""Class 08 is the connection, 25006 a server that only reads (after a failover), 40 a rollback that may succeed next
time, 53 and 57 the server's state.
"""
_COLUMN_RULE: Final = re.compile(
    r"(?:integrations|oauth_states|seen_states|sync_cursors|synced_records)_([a-z_]+)_check"
)


def names_rules(code: str) -> bool:
    """Whether refusals of this code come from a constraint or from one of our guards."""
    return code.startswith(_RULE_CLASSES)


def error_of_rule(rule: str) -> IntegrationError | None:
    """The error that a refusal by this rule stands for; None for a rule that is not ours."""
    if rule in _RULES:
        return _RULES[rule]()
    column = _COLUMN_RULE.fullmatch(rule)
    return _invalid(column[1])() if column else None


def error_of_code(code: str) -> IntegrationError | None:
    """The error that one of Postgres' codes stands for, where the code alone says it."""
    meaning = _CODES.get(code) or _CODES.get(code[:2])
    return meaning() if meaning else None


def is_passing(code: str) -> bool:
    """Whether the same statement may succeed later, because the server or the way to it was the matter."""
    return code.startswith(_UNAVAILABLE)
