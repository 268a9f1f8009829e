"""One worker process and 10,000 due connections of 2,000 users: how many it renews in a second, and what that takes.

Postgres writes to a disk, with fsync. The token endpoint is as light as it can be; with `rotating` each reply also goes
through the journal on the disk. Everything shares this machine's processors.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex, token_urlsafe
from tempfile import TemporaryDirectory
from typing import LiteralString
from uuid import uuid4

import uvloop
from _processes import cpu_seconds, peak_megabytes, resident_megabytes
from _system import free_ports
from _table import print_table

from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.secret import SecretStr
from tests.storms.database import Database, running_database
from tests.storms.fleet import a_fleet
from tests.storms.rows import Fate, fate_at

ROWS, USERS = 10_000, 2_000
LIMIT_SECONDS = 120
LOOKS_PER_SECOND = 4
SERVICES = ("rotating", "stable")
CATALOGUE = Path(__file__).with_name("refresh_services.toml")
EMPTY = "truncate public.integrations, public.integration_events, auth.users cascade"
RENEWED = "select count(*) as rows from public.integrations where credential_version > 1 and status = 'active'"
LEFT = "select count(*) as rows from public.integrations where credential_version = 1"


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's way through all rows."""

    service: str
    per_second: float
    cpu: dict[str, float]
    """Seconds of processor time for each row, by process."""
    megabytes: list[float]
    """Resident memory, at equal intervals."""
    peak: float

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        quarters = [self.megabytes[len(self.megabytes) * quarter // 4] for quarter in range(1, 4)]
        return (
            self.service,
            f"{self.per_second:.0f}",
            *(f"{seconds * 1000:.2f}" for seconds in self.cpu.values()),
            " ".join(f"{megabytes:.0f}" for megabytes in quarters),
            f"{self.peak:.0f}",
        )


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="integrations-benchmark-", ignore_cleanup_errors=True) as folder, endpoint() as port:
        # Postgres' own user has to enter it.
        Path(folder).chmod(0o755)
        runs = uvloop.run(measure(Path(folder), *port))
    print_table(
        f"One worker renewing {ROWS:,} due connections of {USERS:,} users",
        ("", "rows/s", "worker ms", "Postgres ms", "service ms", "MB by quarter", "peak MB"),
        [run.row() for run in runs],
        packages=("psycopg", "httpx", "aiohttp", "httpx-aiohttp"),
    )


async def measure(folder: Path, port: int, endpoint_pid: int) -> list[Run]:
    """Each service in turn, the rows made anew."""
    key = token_hex(32)
    async with (
        running_database(folder, {}) as database,
        fate_at(database.superuser_url, Encryption(Keyring.from_hex(key))) as fate,
    ):
        bench = Bench(database, fate, folder, key, port, endpoint_pid)
        return [await bench.run(service) for service in SERVICES]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share."""

    database: Database
    fate: Fate
    folder: Path
    key: str = field(repr=False)
    port: int
    endpoint_pid: int

    async def run(self, service: str) -> Run:
        """Make the rows, start the worker, and wait until none is left."""
        await self._fill(service)
        async with a_fleet(self.folder, lambda name, state_dir: self._environment(service, name, state_dir)) as fleet:
            worker = await fleet.start(self.folder / "state")
            pids = {
                "worker": worker.child.pid,
                "Postgres": self.database.running.child.pid,
                "service": self.endpoint_pid,
            }
            await self._until(RENEWED, lambda rows: rows > 0)
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            began, first = time.monotonic(), await self._count(RENEWED)
            megabytes: list[float] = []

            def is_done(rows: int) -> bool:
                megabytes.append(resident_megabytes(worker.child.pid))
                return rows == 0

            await self._until(LEFT, is_done)
            rows, seconds = ROWS - first, time.monotonic() - began
            cpu = {name: (cpu_seconds(pid) - before[name]) / rows for name, pid in pids.items()}
            peak = peak_megabytes(worker.child.pid)
            assert await self._count(RENEWED) == ROWS
            await worker.drain()
        return Run(service, rows / seconds, cpu, megabytes, peak)

    async def _fill(self, service: str) -> None:
        await self.fate.database.execute(EMPTY)
        users = [uuid4() for _ in range(USERS)]
        await self.fate.sign_up(users)
        grants = [(users[number % USERS], SecretStr(token_urlsafe(32))) for number in range(ROWS)]
        await self.fate.connect(service, grants)
        await self.fate.database.execute("vacuum (analyze) public.integrations")
        await self.fate.database.execute("checkpoint")

    def _environment(self, service: str, name: str, state_dir: Path) -> dict[str, str]:
        url = self.database.worker_url(name)
        return {
            "PATH": os.environ["PATH"],
            "ENVIRONMENT": "development",
            "ENCRYPTION_KEY": self.key,
            "STATE_DIR": str(state_dir),
            "PROVIDERS_FILE": str(CATALOGUE),
            "TOKEN_URL": f"http://127.0.0.1:{self.port}",
            f"{service.upper()}_CLIENT_ID": "benchmark",
            f"{service.upper()}_CLIENT_SECRET": "benchmark",
            "WORKER_DATABASE_URL": url,
            "WORKER_LISTEN_URL": url,
        }

    async def _until(self, query: LiteralString, is_so: Callable[[int], bool]) -> None:
        """Look at a count a few times a second, for no longer than a while."""
        for _ in range(LIMIT_SECONDS * LOOKS_PER_SECOND):
            if is_so(await self._count(query)):
                return
            await asyncio.sleep(1 / LOOKS_PER_SECOND)
        raise SystemExit(f"Only {await self._count(RENEWED)} rows after {LIMIT_SECONDS} s.")

    async def _count(self, query: LiteralString) -> int:
        found = await (await self.fate.database.execute(query)).fetchone()
        assert found
        return int(found["rows"])


@contextmanager
def endpoint() -> Iterator[tuple[int, int]]:
    """The token endpoint's port and process id."""
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("_token_endpoint.py")), str(port)])
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
