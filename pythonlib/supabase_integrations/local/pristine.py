"""What the migrations alone make of a hosted-like database: the yardstick for the running one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from supabase_integrations.core.secret import SecretStr

from .catalog import Connection
from .errors import LocalStackError
from .hosted import MIGRATING_ROLE, DefaultPrivileges, prepare_hosted
from .migrations import migrations_in
from .postgres import RunningPostgres

_DATABASE = "integrations_pristine"


@asynccontextmanager
async def pristine_database(
    postgres: RunningPostgres,
    migrations: Path,
    *,
    migrating_password: SecretStr,
    default_privileges: DefaultPrivileges = "permissive",
) -> AsyncIterator[Connection]:
    """A scratch database of the same server with the migrations applied and nothing else, dropped at the end.

    The migrations run as the migrating role, in a plain session: this tells what they say, not whether the real tool
    applies them, which the running database has shown.
    """
    await _recreate(postgres)
    try:
        await prepare_hosted(
            postgres.url(_DATABASE),
            migrating_password=migrating_password,
            default_privileges=default_privileges,
            auth_schema=True,
        )
        await _apply(postgres.url(_DATABASE, user=MIGRATING_ROLE, password=migrating_password), migrations)
        async with await psycopg.AsyncConnection.connect(postgres.url(_DATABASE), autocommit=True) as connection:
            yield connection
    finally:
        await _drop(postgres)


async def _recreate(postgres: RunningPostgres) -> None:
    await _drop(postgres)
    async with await psycopg.AsyncConnection.connect(postgres.url(), autocommit=True) as connection:
        await connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(_DATABASE)))


async def _drop(postgres: RunningPostgres) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.url(), autocommit=True) as connection:
        await connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(_DATABASE)))


async def _apply(url: str, migrations: Path) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for migration in migrations_in(migrations):
            try:
                await connection.execute(migration.path.read_bytes())
            except psycopg.Error as error:
                raise LocalStackError(f"{migration.path.name} does not apply to an empty project: {error}") from error
