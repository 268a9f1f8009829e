"""`integrations sync` of 1,000, 10,000 and 100,000 contacts of 1 kB: records a second and memory, first and again.

Postgres writes to a disk, with fsync. The service answers pages of 100 at once; both share this machine's processors
with the command. At the end one user deletes a connection with 100,000 records.
"""

import asyncio
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

from _processes import peak_megabytes
from _system import free_ports
from _table import print_table

from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from tests.scripted_service import ScriptedService, running_service
from tests.storms.database import Database, running_database
from tests.storms.rows import Fate, fate_at
from tests.sync.contacts import ContactBook

SIZES: Final = (1_000, 10_000, 100_000)
PAGE: Final = 100
_NOTES: Final = "n" * 850
_LOOK_EVERY: Final = 0.1


@dataclass(frozen=True, slots=True)
class Run:
    """One command from its start to its end."""

    name: str
    records: int
    seconds: float
    peak: float

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        return self.name, f"{self.records / self.seconds:,.0f}", f"{self.seconds:.1f}", f"{self.peak:.0f}"


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="integrations-benchmark-", ignore_cleanup_errors=True) as folder:
        # Postgres' own user has to enter it.
        Path(folder).chmod(0o755)
        with running_service(*free_ports(1)) as service:
            runs, deletion = asyncio.run(measure(Path(folder), service))
    print_table(
        "integrations sync, contacts of 1 kB",
        ("", "records/s", "seconds", "peak MB"),
        [run.row() for run in runs],
        packages=("psycopg", "aiohttp", "orjson"),
    )
    print(f"Deleting the connection with {SIZES[-1]:,} records: {deletion:.2f} s")


async def measure(folder: Path, service: ScriptedService) -> tuple[list[Run], float]:
    """Each size twice: into an empty table, and over what is there."""
    key = token_hex(32)
    encryption = Encryption(Keyring.from_hex(key))
    runs: list[Run] = []
    async with running_database(folder, {}) as database, fate_at(database.superuser_url, encryption) as fate:
        for size in SIZES:
            service.scripts["/api/contacts"] = ContactBook([contact(number) for number in range(size)], page=PAGE)
            user = uuid4()
            await fate.sign_up([user])
            (ref,) = await fate.connect("demo_crm", [(user, SecretStr("benchmark"))], due=False)
            for kind in ("first", "again"):
                runs.append(await run(database, folder, service, key, ref, f"{size:,}, {kind}", size))
                await expect(fate, ref, size)
        return runs, await delete(fate, ref)


def contact(number: int) -> dict[str, Any]:
    """Of about 1 kB."""
    return {"id": f"{number:09}", "name": f"Person {number}", "email": f"p{number}@example.com", "notes": _NOTES}


async def run(
    database: Database, folder: Path, service: ScriptedService, key: str, ref: IntegrationRef, name: str, size: int
) -> Run:
    """Start the command and look at its memory until it has ended."""
    environment = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "development",
        "ENCRYPTION_KEY": key,
        "STATE_DIR": str(folder / "state"),
        "DEMO_URL": service.url,
        "DEMO_CRM_CLIENT_ID": "benchmark",
        "DEMO_CRM_CLIENT_SECRET": "benchmark",
        "WORKER_DATABASE_URL": database.worker_url("benchmark"),
    }
    arguments = ("sync", str(ref.id), "contacts", "--user", str(ref.user_id))
    began, peak = time.monotonic(), 0.0
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supabase_integrations", *arguments), env=environment, cwd=folder
    )
    ended = asyncio.create_task(process.wait())
    while not ended.done():
        # It may have just ended.
        with suppress(KeyError, OSError):
            peak = max(peak, peak_megabytes(process.pid))
        await asyncio.wait([ended], timeout=_LOOK_EVERY)
    if ended.result() != 0:
        raise SystemExit(f"integrations sync ended with {ended.result()}.")
    return Run(name, size, time.monotonic() - began, peak)


async def expect(fate: Fate, ref: IntegrationRef, size: int) -> None:
    """All of them are there."""
    found = await fate.database.execute(
        "select count(*) as rows from public.synced_records where integration_id = %s", [ref.id]
    )
    row = await found.fetchone()
    if row is None or row["rows"] != size:
        raise SystemExit(f"{row} instead of {size} records.")


async def delete(fate: Fate, ref: IntegrationRef) -> float:
    """How long it takes to delete a connection with its records, as its owner does."""
    await fate.database.execute("set session_replication_role = origin")
    began = time.monotonic()
    await fate.database.execute("delete from public.integrations where id = %s", [ref.id])
    return time.monotonic() - began


if __name__ == "__main__":
    main()
