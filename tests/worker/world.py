"""What the worker's tests are about: one database, its users' connections, and worker processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from tests import canaries
from tests.database.cluster import Cluster
from tests.storms.rows import Fate, OpenRow

ROLE: Final = "integrations_worker"
SERVICES: Final = Path(__file__).parents[1] / "services.toml"
ROOT: Final = Path(__file__).parents[2]
_INHERITED: Final = ("PATH", "HOME", "LANG")
_WAIT_SECONDS: Final = 120.0
"""Against hanging only: longer than a lease that nobody gave back, and than a worker may take to finish."""


def environment_of_a_worker(database_url: str, service_url: str, state_dir: Path) -> dict[str, str]:
    """What a worker's environment has."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "ENVIRONMENT": "development",
        "ENCRYPTION_KEY": canaries.ENCRYPTION_KEY,
        "STATE_DIR": str(state_dir),
        "PROVIDERS_FILE": str(SERVICES),
        "SCRIPTED_URL": service_url,
        "SCRIPTED_CLIENT_ID": "canary-scripted-id",
        "SCRIPTED_CLIENT_SECRET": canaries.CLIENT_SECRET,
        "WORKER_DATABASE_URL": database_url,
        "WORKER_POLL_SECONDS": "1",
    }


@dataclass(frozen=True)
class World:
    """One database and the superuser in it."""

    cluster: Cluster
    database: str
    worker_password: SecretStr = field(repr=False)
    fate: Fate
    catalogue: Catalogue

    def url(self, *, user: str = ROLE, password: SecretStr | None = None, port: int | None = None) -> str:
        """The database as the worker, or as somebody else; perhaps through a pooler."""
        parts = urlsplit(self.cluster.url(self.database))
        secret = quote((password or self.worker_password).get_secret_value(), safe="")
        return parts._replace(netloc=f"{user}:{secret}@{parts.hostname}:{port or parts.port}").geturl()

    @property
    def worker_database(self) -> DatabaseUrl:
        """The database as the worker."""
        return DatabaseUrl.parse(self.url())

    def environment(self, service_url: str, state_dir: Path) -> dict[str, str]:
        """What the environment of a worker in this world has."""
        return environment_of_a_worker(self.url(), service_url, state_dir)

    async def connect(self, users: int, *, each: int = 1, due: bool = True) -> list[IntegrationRef]:
        """So many new users with connections whose access tokens have expired."""
        ids = [uuid4() for _ in range(users)]
        await self.fate.sign_up(ids)
        token = SecretStr(canaries.REFRESH_TOKEN)
        return await self.fate.connect("scripted", [(user, token) for user in ids for _ in range(each)], due=due)

    async def read(self, refs: list[IntegrationRef]) -> list[OpenRow]:
        """The rows as they are now, opened."""
        found = await self.fate.read(refs, self.catalogue)
        return [found[ref] for ref in refs if ref in found]

    async def until_quiet(self, seconds: float = 5.0) -> None:
        """Wait until no worker has asked the database anything for so long: the looks at its start are over."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            cursor = await self.fate.database.execute(
                "select extract(epoch from clock_timestamp() - max(query_start)) as seconds from pg_stat_activity"
                " where usename = %s and datname = current_database()",
                [ROLE],
            )
            (row,) = await cursor.fetchall()
            if row["seconds"] is not None and row["seconds"] >= seconds:
                return
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.1)

    async def until_renewed(self, refs: list[IntegrationRef], version: int = 2) -> list[OpenRow]:
        """Wait until every row has this version."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            rows = await self.read(refs)
            if all(row.integration.credential_version >= version for row in rows):
                return rows
            assert time.monotonic() < deadline, [row.integration for row in rows]
            await asyncio.sleep(0.05)


class Workers:
    """Processes of `integrations worker` with one environment."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = dict(environment)
        self._folder = folder
        self._started: list[WorkerProcess] = []

    async def start(self, **settings: str) -> "WorkerProcess":
        """Start one and wait until it works."""
        process = self.launch(**settings)
        await process.until_logged("worker.started")
        return process

    def launch(self, **settings: str) -> "WorkerProcess":
        """Start one."""
        log = self._folder / f"worker-{len(self._started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supabase_integrations", "worker"],
                env={**self.environment, **settings},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._started.append(WorkerProcess(process, log))
        return self._started[-1]

    def end(self) -> None:
        """Kill what still runs."""
        for worker in self._started:
            worker.process.kill()
            worker.process.wait()

    @property
    def logged(self) -> str:
        """Everything that any of them wrote."""
        return "".join(worker.log.read_text() for worker in self._started)


@dataclass(frozen=True)
class WorkerProcess:
    """One of them."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """What it logged, perhaps of one event only."""
        whole_lines, _, _ = self.log.read_text().rpartition("\n")
        said = [json.loads(line) for line in whole_lines.splitlines() if line.startswith("{")]
        return [line for line in said if event in (None, line.get("event"))]

    async def until_logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until it has logged an event so many times."""
        await self.until(lambda: len(self.lines(event)) >= count)
        return self.lines(event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something, as long as it runs."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            has_ended = self.process.poll() is not None
            if condition():
                return
            assert not has_ended, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, seconds: float = _WAIT_SECONDS) -> int:
        """Its exit status; it must end within so many seconds."""
        return await asyncio.to_thread(self.process.wait, seconds)
