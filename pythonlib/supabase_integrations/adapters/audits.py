"""The audits of `sql/audits/`, run by psycopg: each file is one query with the same columns, and no row is a pass.

The files are also meant for the dashboard's SQL editor, so everything they decide, they decide in SQL. They are run in
one read-only transaction: an audit that would write fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import psycopg

from ..core.errors import IntegrationError, SchemaMissingError
from ..database_url import DatabaseUrl
from .database_connection import CONNECT_AS_OWNER, Connection, connect

COLUMNS: Final = ("audit", "level", "object", "detail", "remediation")
"""What every audit returns, in this order."""

_SCHEMA_IS_MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedObject)


class AuditError(IntegrationError):
    """An audit could not be run."""

    code = "audit_error"


class AuditLevel(StrEnum):
    """How bad a finding is."""

    ERROR = "ERROR"
    """Somebody may see or change what they must not."""
    WARN = "WARN"
    """A protection is weaker than the migrations made it, or something is slow."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One row of one audit: what is wrong with which object, and what to do."""

    audit: str
    level: AuditLevel
    object: str
    detail: str
    remediation: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One check: a query that returns what is wrong."""

    name: str
    query: bytes


def load_audits(folder: Path) -> tuple[Audit, ...]:
    """The audits of a folder in the order of their names."""
    return tuple(Audit(file.stem, file.read_bytes()) for file in sorted(folder.glob("*.sql")))


async def run_audits(database: DatabaseUrl, audits: Sequence[Audit]) -> tuple[AuditFinding, ...]:
    """Run the audits and return their findings; the empty tuple is a pass.

    Raises:
        StoreUnavailableError: the database cannot be reached or refuses the login.
        SchemaMissingError: the tables are not there. AuditError: an audit failed, or is no audit.
    """
    async with await connect(database) as connection:
        await connection.set_read_only(True)
        found: list[AuditFinding] = []
        for audit in audits:
            found += await _run(connection, audit)
        return tuple(found)


async def _run(connection: Connection, audit: Audit) -> list[AuditFinding]:
    try:
        cursor = await connection.execute(audit.query)
    except _SCHEMA_IS_MISSING as error:
        raise SchemaMissingError from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise AuditError(f"The audit {audit.name} could not be run ({error}): {CONNECT_AS_OWNER}") from error
    except psycopg.Error as error:
        raise AuditError(f"The audit {audit.name} could not be run: {error}") from error
    if tuple(column.name for column in cursor.description or ()) != COLUMNS:
        raise AuditError(f"{audit.name} is no audit: it must be one query with the columns {', '.join(COLUMNS)}.")
    rows = await cursor.fetchall()
    if cursor.nextset():
        raise AuditError(f"{audit.name} is no audit: it must be one query, and it is several.")
    return [_parse(audit, row) for row in rows]


def _parse(audit: Audit, row: tuple[object, ...]) -> AuditFinding:
    name, level, about, detail, remediation = (str(value) for value in row)
    try:
        return AuditFinding(name, AuditLevel(level), about, detail, remediation)
    except ValueError as error:
        raise AuditError(f"{audit.name} is no audit: its levels must be ERROR or WARN.") from error
