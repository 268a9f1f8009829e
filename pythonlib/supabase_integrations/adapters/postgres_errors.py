"""What goes wrong on a connection to Postgres, as our errors. What the server said goes no further than this module:
its details and contexts may quote the values of a row.
"""

import psycopg

from ..core.errors import (
    ForbiddenError,
    IntegrationError,
    InvalidValueError,
    SchemaMissingError,
    StoreUnavailableError,
)
from .postgres_rules import error_of_code, error_of_rule, is_passing, names_rules


def error_of(error: psycopg.Error) -> IntegrationError:
    """The error that a failed statement, or a connection that was not to be had, stands for."""
    code = error.sqlstate or ""
    if names_rules(code) and error.diag.constraint_name:
        refusal = error_of_rule(error.diag.constraint_name)
        if refusal is not None:
            return refusal
    if code == "42501":
        return _not_permitted(error)
    if code == "23502" and error.diag.column_name:
        return InvalidValueError(error.diag.column_name, f"{error.diag.column_name} is required.")
    return error_of_code(code) or _error_of_state(error, code)


def is_lost_connection(error: psycopg.Error) -> bool:
    """Whether the connection is gone, and others opened with it probably are too."""
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    )


def _error_of_state(error: psycopg.Error, code: str) -> IntegrationError:
    if is_passing(code) or (not code and isinstance(error, psycopg.OperationalError)):
        return StoreUnavailableError()
    if not code and isinstance(error, psycopg.DataError):
        return InvalidValueError("body", "A value cannot be sent to the database.")
    return IntegrationError(
        f"The database refused the request ({code or type(error).__name__}). Run `integrations doctor`."
    )


def _not_permitted(error: psycopg.Error) -> IntegrationError:
    if "row-level security" in (error.diag.message_primary or ""):
        return ForbiddenError("row_level_security", "Row level security does not let the worker write this row.")
    if error.diag.message_primary and "for schema" in error.diag.message_primary:
        return SchemaMissingError()
    return ForbiddenError(
        "permission_denied", "The database does not let the worker do this. Run `integrations audit` to see why."
    )
