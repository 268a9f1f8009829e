"""Connections as the role integrations_worker, and the one way statements are sent over them: each under the users it
declares, in one round trip, with nothing left on the connection.

Works through a pooler that gives every transaction another server session: there are no prepared statements, no
session settings and no locks that outlive a transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg.types.json import set_json_loads

from ..core.errors import ConfigurationError, SchemaMissingError, StoreUnavailableError
from ..database_url import DatabaseUrl
from .postgres_errors import error_of, is_lost_connection
from .worker_connections import Connection, WorkerConnections

CONNECTIONS: Final = 5
"""What one process holds at most, beside the one it listens on: three such processes fit into the 20 that
sql/operations/worker_login.sql grants, and 5 send more statements than one process can make use of.
"""
ROLE: Final = "integrations_worker"

_STATEMENT_SECONDS: Final = 40.0
"""For a connection and the statement together: longer than the role's statement_timeout, for servers that do not answer
at all.
"""
_START_PAUSE: Final = 2.0
_NO_ANSWER: Final = "The database does not answer. Try again."
_LOGIN: Final = f"Compare address and password; sql/operations/worker_login.sql gives {ROLE} its login."
_DECLARE: Final = "select set_config('integrations.acting_for', %s, true)"
_ROLE_OF_THIS_LOGIN: Final = """
    select
        current_user::text,
        r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
            or exists (select from pg_catalog.pg_auth_members as m where m.member = r.oid),
        to_regclass('public.integrations') is not null
            and has_column_privilege(current_user, 'public.integrations', 'service_type', 'select'),
        to_regprocedure('integrations_private.claim_due_refreshes(integer, uuid, uuid[])') is not null
    from pg_catalog.pg_roles as r
    where r.rolname = current_user
"""


class DeclaredTransaction:
    """A transaction that has declared its users. Every statement's rows are one JSON value each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def values(self, statement: str, *parameters: object) -> list[Any]:
        """Send a statement and return its first column."""
        cursor = await self._connection.execute(statement, parameters or None)
        return [row[0] for row in await cursor.fetchall()] if cursor.description else []


class WorkerPool:
    """A few connections of one process. Open it with `open_worker_pool`."""

    def __init__(self, connections: WorkerConnections) -> None:
        self._connections = connections

    async def values(self, users: str, statement: str, *parameters: object, repeatable: bool = False) -> list[Any]:
        """Send statements as one transaction under the declared users, in one round trip; the last one's first column.

        `users` is what `declaration` makes of them. Statements are separated by semicolons. One that is `repeatable` is
        sent once more where the connection turns out to be gone. Raises what `postgres_errors` makes of a refusal.
        """
        try:
            return await self._send(users, statement, parameters)
        except psycopg.Error as error:
            if not (repeatable and is_lost_connection(error)):
                raise error_of(error) from None
        try:
            return await self._send(users, statement, parameters)
        except psycopg.Error as error:
            raise error_of(error) from None

    @asynccontextmanager
    async def transaction(self, users: str) -> AsyncIterator[DeclaredTransaction]:
        """A transaction of several round trips under the declared users, for who must compute between statements."""
        line = None
        try:
            async with asyncio.timeout(_STATEMENT_SECONDS):
                line = await self._connections.take()
                async with line.connection.transaction():
                    declared = DeclaredTransaction(line.connection)
                    await declared.values(_DECLARE, users)
                    yield declared
        except TimeoutError:
            raise StoreUnavailableError(_NO_ANSWER) from None
        except psycopg.Error as error:
            await self._note(error)
            raise error_of(error) from None
        finally:
            if line is not None:
                await self._connections.give_back(line)

    async def _send(self, users: str, statement: str, parameters: Sequence[object]) -> list[Any]:
        line = None
        try:
            async with asyncio.timeout(_STATEMENT_SECONDS):
                line = await self._connections.take()
                # A simple query of several statements is one transaction to Postgres: the declaration holds for the
                # others and ends with them.
                cursor = await line.connection.execute(f"{_DECLARE}; {statement}", [users, *parameters])
                while cursor.nextset():
                    pass
                return [row[0] for row in await cursor.fetchall()] if cursor.description else []
        except TimeoutError:
            raise StoreUnavailableError(_NO_ANSWER) from None
        except psycopg.Error as error:
            await self._note(error)
            raise
        finally:
            if line is not None:
                await self._connections.give_back(line)

    async def _note(self, error: psycopg.Error) -> None:
        """A server that restarts ends all connections, and each would fail a caller."""
        if is_lost_connection(error):
            await self._connections.close_idle()


def declaration(users: Iterable[UUID]) -> str:
    """How a transaction declares these users; the database refuses more than 500."""
    return array_of(users)


def array_of(values: Iterable[object]) -> str:
    """Values that need no quotes, as Postgres writes an array: the driver takes ten times as long for a list."""
    return "{" + ",".join(map(str, values)) + "}"


NOBODY: Final = "{}"
"""The declaration of a transaction that needs no users."""


@asynccontextmanager
async def open_worker_pool(
    database: DatabaseUrl,
    *,
    connections: int = CONNECTIONS,
    patience: timedelta = timedelta(0),
    on_wait: Callable[[str], None] | None = None,
) -> AsyncIterator[WorkerPool]:
    """Connect as the worker, for as long as the block lasts. A database that cannot be reached at the start, or that
    refuses the password, is asked again for as long as `patience`; `on_wait` is told why.

    Raises StoreUnavailableError, ConfigurationError for a role that may do more or less than the worker must, and
    SchemaMissingError.
    """
    await _check(database, patience, on_wait or _say_nothing)
    lines = WorkerConnections(lambda: connect_worker(database), connections)
    try:
        yield WorkerPool(lines)
    finally:
        await lines.close()


# A connection whose other end vanished is noticed in half a minute, whether something is under way on it or not.
_OPTIONS: Final = {
    "autocommit": True,
    "prepare_threshold": None,
    "cursor_factory": psycopg.AsyncClientCursor,
    "application_name": "supabase-integrations worker",
    "client_encoding": "utf8",
    "connect_timeout": 15,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


async def connect_worker(database: DatabaseUrl) -> Connection:
    """One connection outside the pool. Raises StoreUnavailableError, which names the database without the password."""
    try:
        connection = await psycopg.AsyncConnection.connect(database.url.get_secret_value(), **_OPTIONS)  # type: ignore[arg-type]
    except (psycopg.Error, ValueError) as error:
        raise StoreUnavailableError(database.unreachable(str(error), _LOGIN)) from None
    set_json_loads(orjson.loads, connection)
    return connection


async def require_worker_role(connection: Connection, setting: str) -> None:
    """Refuse a login that opens more than the worker must see, or that finds no tables."""
    try:
        cursor = await connection.execute(_ROLE_OF_THIS_LOGIN)
        row = await cursor.fetchone()
    except psycopg.Error as error:
        raise error_of(error) from None
    name, may_do_more, has_table, has_functions = row or ("", True, False, False)
    if name != ROLE:
        raise ConfigurationError(
            f"{setting} must log in as {ROLE}, and this is {name}: sql/operations/worker_login.sql gives that role a"
            f" login. Through Supabase's pooler its name is {ROLE}.PROJECT_REF."
        )
    if may_do_more:
        raise ConfigurationError(
            f"The role {ROLE} may do more than the worker must: it is a superuser, bypasses row level security, may"
            " make roles or databases, or is a member of another role. Take that away; `integrations audit` names it."
        )
    if not (has_table and has_functions):
        raise SchemaMissingError


async def _check(database: DatabaseUrl, patience: timedelta, on_wait: Callable[[str], None]) -> None:
    """Connect once, as often as it takes: a pooler accepts a new password up to a minute later, and a supervisor starts
    the worker when the database may still be starting.
    """
    end = asyncio.get_running_loop().time() + patience.total_seconds()
    while True:
        try:
            connection = await connect_worker(database)
        except StoreUnavailableError as error:
            if asyncio.get_running_loop().time() + _START_PAUSE > end:
                raise
            on_wait(str(error))
            await asyncio.sleep(_START_PAUSE)
            continue
        async with connection:
            await require_worker_role(connection, "WORKER_DATABASE_URL")
        return


def _say_nothing(_reason: str) -> None:
    pass
