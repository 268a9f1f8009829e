"""`integrations rotate-key` on 100,000 connections, alone and while a worker renews others beside it.

Postgres writes to a disk, with fsync. Tokens are checked afterwards: the rows must hold what was handed out last.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex, token_urlsafe
from tempfile import TemporaryDirectory
from uuid import uuid4

import uvloop
from _processes import cpu_seconds, peak_megabytes
from _system import free_ports
from _table import print_table

from supabase_integrations.configuration import load_catalogue
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.settings import CatalogueSettings
from tests.scripted_service import Answer, Asked, ScriptedService, running_service
from tests.storms.database import Database, running_database
from tests.storms.rows import Fate, fate_at

ROWS, USERS = 100_000, 10_000
BESIDE_PER_SECOND = 20
BESIDE_SECONDS = 60
SERVICES = Path(__file__).parents[1] / "services.toml"
_SHOWN = re.compile(r"Re-sealed ([\d,]+) connections in ([\d.]+) s")
_TRIGGERS = """
    select funcname as name, calls, self_time from pg_stat_user_functions
    where schemaname = 'integrations_private' and calls > 1000 order by self_time desc
"""
_BARE = """
    update public.integrations set credentials = overlay(credentials placing '00000000' from 4)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One rotation."""

    name: str
    rows: int
    seconds: float
    command_cpu: float
    postgres_cpu: float
    peak: float
    renewed: int
    lost: int

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        return (
            self.name,
            f"{self.rows / self.seconds:.0f}",
            f"{self.command_cpu / self.rows * 1e6:.0f}",
            f"{self.postgres_cpu / self.rows * 1e6:.0f}",
            f"{self.peak:.0f}",
            str(self.renewed),
            str(self.lost),
        )


class Rotation:
    """A database full of connections and the keys that change."""

    def __init__(self, database: Database, fate: Fate, folder: Path, service: ScriptedService, old_key: str) -> None:
        self.database = database
        self.fate = fate
        self.folder = folder
        self.service = service
        self.old_key, self.new_key = old_key, token_hex(32)
        self.handed: dict[str, str] = {}
        self.catalogue = load_catalogue(CatalogueSettings.from_environment(self.environment), self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What command and worker have."""
        return {
            "PATH": os.environ["PATH"],
            "ENVIRONMENT": "development",
            "ENCRYPTION_KEY": self.new_key,
            "ENCRYPTION_KEYS_RETIRED": self.old_key,
            "STATE_DIR": str(self.folder / "state"),
            "PROVIDERS_FILE": str(SERVICES),
            "SCRIPTED_URL": self.service.url,
            "SCRIPTED_CLIENT_ID": "benchmark",
            "SCRIPTED_CLIENT_SECRET": "benchmark",
            "WORKER_DATABASE_URL": self.database.worker_url("worker"),
            "WORKER_POLL_SECONDS": "1",
        }

    async def fill(self, *, beside: int) -> dict[IntegrationRef, str]:
        """Rows that nothing touches but the rotation, and some that become due one after the other."""
        await self.fate.database.execute("truncate public.integrations, public.integration_events, auth.users cascade")
        users = [uuid4() for _ in range(USERS)]
        await self.fate.sign_up(users)
        tokens = [token_urlsafe(32) for _ in range(ROWS + beside)]
        grants = [(users[number % USERS], SecretStr(token)) for number, token in enumerate(tokens)]
        refs = await self.fate.connect("scripted", grants, due=False)
        due = [ref.id for ref in refs[ROWS:]]
        await self.fate.database.execute(
            "update public.integrations as i set next_refresh_at = now() + d.place * %s::interval"
            " from unnest(%s::uuid[]) with ordinality as d (id, place) where i.id = d.id",
            [timedelta(seconds=1 / BESIDE_PER_SECOND), due],
        )
        await self.fate.database.execute("vacuum (analyze) public.integrations")
        await self.fate.database.execute("checkpoint")
        return dict(zip(refs, tokens, strict=True))

    def answer(self, asked: Asked) -> Answer:
        """A token endpoint that hands out another refresh token each time, and accepts each once."""
        spent, new = asked.form["refresh_token"], token_urlsafe(32)
        if spent in self.handed:
            return Answer.json({"error": "invalid_grant"}, status=400)
        self.handed[spent] = new
        return Answer.json(
            {"access_token": token_urlsafe(32), "refresh_token": new, "token_type": "Bearer", "expires_in": 3600}
        )

    async def run(self, name: str, *, beside: int = 0) -> Run:
        """Fill, rotate, and compare every token."""
        tokens = await self.fill(beside=beside)
        self.handed.clear()
        self.service.scripts["/token"] = self.answer
        postgres = self.database.running.child.pid
        async with self._worker() if beside else _nobody():
            shown, command_cpu, used, peak = await self._rotate(postgres)
            renewed = len(self.handed)
        lost = await self._lost(tokens)
        return Run(name, int(shown[1].replace(",", "")), float(shown[2]), command_cpu, used, peak, renewed, lost)

    async def _rotate(self, postgres: int) -> tuple[re.Match[str], float, float, float]:
        """Run the command: what it said, its processor time and that of Postgres, and its peak memory."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "supabase_integrations", "rotate-key"),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        talk = asyncio.create_task(process.communicate())
        # Of sessions that have ended nothing can be read, so it is read while they are there.
        before = server = cpu_seconds(postgres)
        used = peak = 0.0
        while not talk.done():
            try:
                used, peak = cpu_seconds(process.pid), max(peak, peak_megabytes(process.pid))
                server = max(server, cpu_seconds(postgres))
            except (OSError, KeyError):
                break  # It is ending: what was read a moment ago stands.
            await asyncio.sleep(0.1)
        said = (await talk)[0].decode()
        shown = _SHOWN.search(said)
        if process.returncode or not shown:
            raise SystemExit(said)
        return shown, used, server - before, peak

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[None]:
        log = (self.folder / "worker.log").open("wb")
        worker = subprocess.Popen(  # noqa: ASYNC220 - returns as soon as it has started
            [sys.executable, "-m", "supabase_integrations", "worker"],
            env=self.environment,
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while not self.handed:
                if time.monotonic() > deadline:
                    raise SystemExit((self.folder / "worker.log").read_text())
                await asyncio.sleep(0.1)
            yield
        finally:
            worker.terminate()
            await asyncio.to_thread(worker.wait, 60)
            log.close()

    async def _lost(self, tokens: dict[IntegrationRef, str]) -> int:
        """Rows that do not open, or hold another token than the last one that was handed out for them."""
        both = Fate(self.fate.database, Encryption(Keyring.from_hex(self.new_key, [self.old_key])))
        found = await both.read(list(tokens), self.catalogue)
        expected = {ref: self.handed.get(token, token) for ref, token in tokens.items()}
        return sum(ref not in found or found[ref].refresh_token.get_secret_value() != expected[ref] for ref in tokens)


@asynccontextmanager
async def _nobody() -> AsyncIterator[None]:
    yield


def main() -> None:
    """Measure and print."""
    (port,) = free_ports(1)
    with TemporaryDirectory(prefix="integrations-benchmark-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # Postgres' own user has to enter it.
        folder.chmod(0o755)
        with running_service(port) as service:
            runs, bare, triggers = uvloop.run(measure(folder, service))
    title = f"Re-sealing {ROWS:,} connections of {USERS:,} users; µs are processor time for each"
    columns = ("", "rows/s", "command µs", "Postgres µs", "peak MB", "renewed", "lost")
    print_table(title, columns, [*(run.row() for run in runs), bare], packages=("psycopg", "cryptography"))
    print_table("Of Postgres' time, in our triggers", ("", "µs a call", "calls a row"), triggers)


async def measure(folder: Path, service: ScriptedService) -> tuple[list[Run], tuple[str, ...], list[tuple[str, ...]]]:
    """The runs, what Postgres takes to rewrite the rows without any of ours, and where its time goes."""
    old_key = token_hex(32)
    async with (
        running_database(folder, {"track_functions": "all"}) as database,
        fate_at(database.superuser_url, Encryption(Keyring.from_hex(old_key))) as fate,
    ):
        rotation = Rotation(database, fate, folder, service, old_key)
        runs = [await rotation.run("alone")]
        found = await (await fate.database.execute(_TRIGGERS)).fetchall()
        calls: list[tuple[str, ...]] = [
            (str(row["name"]), f"{row['self_time'] / row['calls'] * 1000:.1f}", f"{row['calls'] / ROWS:.1f}")
            for row in found
        ]
        runs.append(
            await rotation.run(
                f"{BESIDE_PER_SECOND} renewals a second beside", beside=BESIDE_PER_SECOND * BESIDE_SECONDS
            )
        )
        return runs, await bare_rewrite(rotation), calls


async def bare_rewrite(rotation: Rotation) -> tuple[str, ...]:
    """One statement that rewrites every row's credentials, without triggers, leases or round trips."""
    await rotation.fill(beside=0)
    postgres = rotation.database.running.child.pid
    before, began = cpu_seconds(postgres), datetime.now(UTC)
    await rotation.fate.database.execute(_BARE)
    seconds = (datetime.now(UTC) - began).total_seconds()
    used = (cpu_seconds(postgres) - before) / ROWS * 1e6
    return "one bare update", f"{ROWS / seconds:.0f}", "", f"{used:.0f}", "", "", ""


if __name__ == "__main__":
    main()
