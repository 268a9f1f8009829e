"""The background worker as a child process: the same `integrations worker` that runs in production."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from supabase_integrations.core.secret import SecretStr

from .hosted import set_password
from .process import Child
from .processes import Processes

ROLE = "integrations_worker"
_PATIENCE = timedelta(seconds=40)
_POLL_SECONDS = 0.02
_STARTED = '"worker.started"'


async def admit_worker(superuser_url: str, password: SecretStr) -> None:
    """Give the worker's role a login, as sql/operations/worker_login.sql does."""
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
            await connection.execute(
                sql.SQL("alter role {} set {} = '30s'").format(sql.Identifier(ROLE), sql.Identifier(setting))
            )
        await set_password(connection, ROLE, password)
        await connection.execute(sql.SQL("alter role {} connection limit 20").format(sql.Identifier(ROLE)))


async def start_worker(
    processes: Processes, environment: Mapping[str, str], database_url: str, listen_url: str = ""
) -> Child:
    """Start it with the API's environment and its own door to the database, and wait until it works.

    Raises LocalStackError when the process ends or is late.
    """
    doors = {"WORKER_DATABASE_URL": database_url, "WORKER_LISTEN_URL": listen_url or database_url}
    child = await processes.spawn(
        "worker",
        [sys.executable, "-m", "supabase_integrations", "worker"],
        env={**environment, **doors},
        cwd=Path.cwd(),
    )
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while _STARTED not in child.log_tail(50):
                if not child.running:
                    raise child.failure("stopped while starting")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise child.failure(f"did not start within {round(_PATIENCE.total_seconds())} s") from None
    return child
