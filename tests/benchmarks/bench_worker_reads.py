"""`get_integration_credentials` through the worker's door, against pgbench's select of one row on the same Postgres.

Ten in flight on both sides, in turns. Everything runs on this machine: pgbench, or this process, shares its processors
with Postgres. The further rows say where a read's time goes.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import psycopg
import uvloop
from _table import print_table

sys.path.append(str(Path(__file__).parents[2]))

from supabase_integrations.adapters.integration_rows import SEALED_COLUMNS
from supabase_integrations.adapters.worker_pool import open_worker_pool
from supabase_integrations.adapters.worker_store import PostgresWorkerDatabase
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.hosted import set_password
from supabase_integrations.local.postgres_programs import PostgresPrograms
from supabase_integrations.worker_integrations import WorkerConfiguration, WorkerIntegrations, open_worker_integrations
from tests.database.cluster import Cluster, running_cluster
from tests.storms.rows import fate_at

IN_FLIGHT: Final = 10
TURNS: Final = 5
SECONDS: Final = 2
USERS: Final = 2000
SCALE: Final = 10
KEY: Final = "ab" * 32
SERVICE: Final = "demo_crm"
PGBENCH: Final = "pgbench --select-only"
SAME_ROWS: Final = "pgbench, our statement"
OURS: Final = "get_integration_credentials"

DECLARE: Final = "select set_config('integrations.acting_for', '{%s}', true)"
GET: Final = f"""\
select to_json(r) from (select {SEALED_COLUMNS} from public.integrations where user_id = '%s' and id = '%s') as r;
"""  # noqa: S608

Read = Callable[[IntegrationRef], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Reads in a second, and this process's processor time for each."""

    per_second: float
    microseconds: float


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="integrations-benchmark-") as folder:
        rates = uvloop.run(measure(Path(folder)))
    baselines = [rate.per_second for rate in rates[PGBENCH]]
    rows = []
    for name, turns in rates.items():
        ratios = [rate.per_second / baseline for rate, baseline in zip(turns, baselines, strict=True)]
        cpu = median(rate.microseconds for rate in turns)
        rows.append(
            (
                name,
                f"{median(rate.per_second for rate in turns):.0f}",
                f"1/{1 / median(ratios):.1f}",
                f"{cpu:.0f}" if cpu else "",
            )
        )
    print_table(
        f"Reading credentials as the worker, {IN_FLIGHT} in flight",
        ("", "reads/s", "of pgbench", "µs of this process"),
        rows,
        packages=("psycopg", "cryptography", "orjson", "uvloop"),
    )


async def measure(folder: Path) -> dict[str, list[Rate]]:
    """All candidates in turns."""
    async with running_cluster() as cluster, prepared(cluster, folder) as (url, worker_url, worker, refs):
        pgbench = PostgresPrograms.find().folder / "pgbench"
        script = folder / "ours.sql"
        script.write_text(f"{DECLARE} \\; {GET}" % (refs[0].user_id, refs[0].user_id, refs[0].id))
        async with open_worker_pool(DatabaseUrl.parse(worker_url)) as pool:
            store = PostgresWorkerDatabase(pool)
            reads: dict[str, Read] = {
                OURS: lambda ref: worker.get_integration_credentials(ref.id, ref.user_id),
                "  without opening the envelope": lambda ref: store.for_user(ref.user_id).get_sealed(ref.id),
                "  'select 1' over the same pool": lambda _: pool.values("{}", "select 1"),
            }
            rates: dict[str, list[Rate]] = {name: [] for name in (PGBENCH, SAME_ROWS, *reads)}
            for turn in range(TURNS + 1):
                measured = {
                    PGBENCH: await asyncio.to_thread(run_pgbench, pgbench, url, "--select-only"),
                    SAME_ROWS: await asyncio.to_thread(run_pgbench, pgbench, worker_url, f"--file={script}"),
                }
                measured |= {name: await keep_reading(read, refs) for name, read in reads.items()}
                for name, rate in measured.items():
                    # The first turn warms up.
                    rates[name] += [rate] if turn else []
        return rates


@asynccontextmanager
async def prepared(
    cluster: Cluster, folder: Path
) -> AsyncIterator[tuple[str, str, WorkerIntegrations, list[IntegrationRef]]]:
    """A database with pgbench's table and ours, and the worker's door to it."""
    name = await cluster.create_hosted("bench")
    await cluster.push(name)
    url, password = cluster.url(name), SecretStr(uuid4().hex)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await set_password(connection, "integrations_worker", password)
    worker_url = url.replace(url.split("//")[1].split("@")[0], f"integrations_worker:{password.get_secret_value()}")
    pgbench = PostgresPrograms.find().folder / "pgbench"
    command = [str(pgbench), "--initialize", "--quiet", f"--scale={SCALE}", url]
    await asyncio.to_thread(lambda: subprocess.run(command, check=True, capture_output=True))
    refs = await connections(url)
    environment = {
        "ENVIRONMENT": "development",
        "ENCRYPTION_KEY": KEY,
        "STATE_DIR": str(folder / "state"),
        "WORKER_DATABASE_URL": worker_url,
        "DEMO_URL": "http://127.0.0.1:1",
    }
    async with open_worker_integrations(WorkerConfiguration.from_environment(environment)) as worker:
        yield url, worker_url, worker, refs


async def connections(url: str) -> list[IntegrationRef]:
    """Users with one connection each, whose access token holds."""
    users = [uuid4() for _ in range(USERS)]
    async with fate_at(url, Encryption(Keyring.from_hex(SecretStr(KEY)))) as fate:
        await fate.sign_up(users)
        grants = [(user, SecretStr("r" * 200)) for user in users]
        refs = await fate.connect(SERVICE, grants, expired_since=-timedelta(hours=1), due=False)
        await fate.database.execute("vacuum (analyze) public.integrations")
    return refs


async def keep_reading(read: Read, refs: list[IntegrationRef]) -> Rate:
    """The next read as soon as one is done."""
    start, cpu, rows, count = time.perf_counter(), time.process_time(), cycle(refs), 0

    async def one_after_another() -> None:
        nonlocal count
        while time.perf_counter() < start + SECONDS:
            await read(next(rows))
            count += 1

    async with asyncio.TaskGroup() as together:
        for _ in range(IN_FLIGHT):
            together.create_task(one_after_another())
    return Rate(count / (time.perf_counter() - start), (time.process_time() - cpu) / count * 1e6)


def run_pgbench(program: Path, url: str, what: str) -> Rate:
    """Transactions a second that pgbench reports."""
    command = [str(program), what, "--no-vacuum", f"--client={IN_FLIGHT}", "--jobs=2", f"--time={SECONDS}", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Rate(float(said.split("tps = ")[1].split()[0]), 0)


if __name__ == "__main__":
    main()
