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
from dataclasses import dataclass
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
SERVICES = Path(__file__).with_name("refresh_services.toml")
RENEWED = "select count(*) as rows from public.integrations where credential_version > 1 and status = 'active'"
LEFT = "select count(*) as rows from public.integrations where credential_version = 1"


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's way through all rows."""

    service: str
    concurrency: int
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
            f"{self.service}, {self.concurrency} at once",
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
        packages=("psycopg", "psycopg-pool", "httpx", "aiohttp"),
    )


async def measure(folder: Path, port: int, endpoint_pid: int) -> list[Run]:
    """Each service in turn, the rows made anew."""
    key = token_hex(32)
    encryption = Encryption(Keyring.from_hex(key))
    async with running_database(folder, {}) as database, fate_at(database.superuser_url, encryption) as fate:
        return [
            await run(database, fate, folder, service, concurrency, key, port, endpoint_pid)
            for service, concurrency in (("rotating", 50), ("stable", 50))
        ]


async def run(
    database: Database, fate: Fate, folder: Path, service: str, concurrency: int, key: str, port: int, endpoint_pid: int
) -> Run:
    """Make the rows, start the worker, and wait until none is left."""
    await fate.database.execute("truncate public.integrations, auth.users cascade")
    users = [uuid4() for _ in range(USERS)]
    await fate.sign_up(users)
    await fate.connect(service, [(users[number % USERS], SecretStr(token_urlsafe(32))) for number in range(ROWS)])
    await fate.database.execute("vacuum (analyze) public.integrations")
    await fate.database.execute("checkpoint")

    def environment_of(name: str, state_dir: Path) -> dict[str, str]:
        url = database.worker_url(name)
        return {
            "PATH": os.environ["PATH"],
            "ENVIRONMENT": "development",
            "ENCRYPTION_KEY": key,
            "STATE_DIR": str(state_dir),
            "PROVIDERS_FILE": str(SERVICES),
            "TOKEN_URL": f"http://127.0.0.1:{port}/token",
            f"{service.upper()}_CLIENT_ID": "benchmark",
            f"{service.upper()}_CLIENT_SECRET": "benchmark",
            "WORKER_DATABASE_URL": url,
            "WORKER_LISTEN_URL": url,
            "WORKER_CONCURRENCY": str(concurrency),
        }

    async with a_fleet(folder, environment_of) as fleet:
        worker = await fleet.start(folder / "state")
        pids = {"worker": worker.child.pid, "Postgres": database.running.child.pid, "service": endpoint_pid}
        await until(fate, RENEWED, lambda rows: rows > 0)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        began, first = time.monotonic(), await count(fate, RENEWED)
        megabytes: list[float] = []

        def is_done(rows: int) -> bool:
            megabytes.append(resident_megabytes(worker.child.pid))
            return rows == 0

        await until(fate, LEFT, is_done)
        seconds = time.monotonic() - began
        cpu = {name: (cpu_seconds(pid) - before[name]) / (ROWS - first) for name, pid in pids.items()}
        peak = peak_megabytes(worker.child.pid)
        assert await count(fate, RENEWED) == ROWS
        await worker.drain()
    return Run(service, concurrency, (ROWS - first) / seconds, cpu, megabytes, peak)


async def until(fate: Fate, query: LiteralString, is_so: Callable[[int], bool]) -> None:
    """Look at a count a few times a second, for no longer than a while."""
    for _ in range(LIMIT_SECONDS * LOOKS_PER_SECOND):
        if is_so(await count(fate, query)):
            return
        await asyncio.sleep(1 / LOOKS_PER_SECOND)
    raise SystemExit(f"Only {await count(fate, RENEWED)} rows after {LIMIT_SECONDS} s.")


async def count(fate: Fate, query: LiteralString) -> int:
    """How many rows there are of a kind."""
    found = await (await fate.database.execute(query)).fetchone()
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
