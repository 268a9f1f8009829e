"""A database of a test's own, which it may stop and start, with a login for the worker."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.hosted import MIGRATING_ROLE, prepare_hosted, set_password
from supabase_integrations.local.postgres import PostgresServer, RunningPostgres
from supabase_integrations.local.supabase_cli import push_migrations
from tests.local_system import free_ports

WORKER_ROLE = "integrations_worker"


@dataclass(slots=True)
class Database:
    """A server with one hosted-like database and our migrations in it."""

    server: PostgresServer
    running: RunningPostgres
    worker_password: SecretStr = field(repr=False)

    @property
    def superuser_url(self) -> str:
        """As somebody who may do everything."""
        return self.running.url()

    def worker_url(self, name: str) -> str:
        """As the worker; the sessions of this login carry a name, by which triggers of a test tell them apart."""
        plain = self.running.url(user=WORKER_ROLE, password=self.worker_password)
        return f"{plain}&options={quote(f'-c storms.worker={name}')}"

    async def outage(self, seconds: float, request: signal.Signals = signal.SIGINT) -> None:
        """Stop the server, and start it again after some seconds. SIGINT ends sessions, SIGQUIT drops everything."""
        await self.running.child.stop(request)
        await asyncio.sleep(seconds)
        self.running = await self.server.start()

    async def end(self) -> None:
        """Stop it for good."""
        await self.running.child.stop(signal.SIGINT)


@asynccontextmanager
async def running_database(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Database]:
    """Start a server with its data in `folder` and push the migrations with the real tool."""
    server = PostgresServer(
        data_dir=folder / "postgres",
        port=free_ports(1)[0],
        superuser_password=SecretStr(secrets.token_urlsafe(16)),
        settings=settings,
    )
    database = Database(server, await server.start(), SecretStr(secrets.token_urlsafe(16)))
    try:
        migrating_password = SecretStr(secrets.token_urlsafe(16))
        await prepare_hosted(database.superuser_url, migrating_password=migrating_password, auth_schema=True)
        migrating_url = database.running.url(user=MIGRATING_ROLE, password=migrating_password)
        await push_migrations(DatabaseUrl.parse(migrating_url))
        async with await psycopg.AsyncConnection.connect(database.superuser_url) as connection:
            await set_password(connection, WORKER_ROLE, database.worker_password)
        yield database
    finally:
        await database.end()
