"""A rotation of the tests' key: the rows it is about, running it here or as a process, and what the rows hold after."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.journal_listing import JournalListing
from supabase_integrations.adapters.key_rotation_store import PostgresKeyRotationDatabase
from supabase_integrations.adapters.worker_pool import open_worker_pool
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.port import Clock, KeyRotationDatabase
from supabase_integrations.use_cases.key_rotation import KeyRotation, RotationReport
from tests import canaries
from tests.storms.rows import Fate, OpenRow
from tests.worker.world import World

NEW_KEY: Final = "0ddba11" * 9 + "0"
KEYRING: Final = Keyring.from_hex(NEW_KEY, [canaries.ENCRYPTION_KEY])
NEW_ID, OLD_ID = KEYRING.key_ids
_LANES: Final = 2
_COMMAND_SECONDS: Final = 240
"""Against hanging only: the command itself comes back to rows that others hold for two minutes."""


@dataclass(frozen=True)
class Rotating:
    """A world whose rows are sealed under the key that is to be retired."""

    world: World
    state_dir: Path
    service_url: str
    both: Encryption = field(default_factory=lambda: Encryption(KEYRING))
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)
    """Every process of the command."""

    async def connect(self, count: int, *, each: int = 1, due: bool = False) -> dict[IntegrationRef, str]:
        """So many users with connections, and each row's refresh token, no two of which are the same."""
        users = [uuid4() for _ in range(count)]
        await self.world.fate.sign_up(users)
        grants = [(user, SecretStr(secrets.token_urlsafe(12))) for user in users for _ in range(each)]
        refs = await self.world.fate.connect("scripted", grants, due=due)
        return {ref: token.get_secret_value() for ref, (_, token) in zip(refs, grants, strict=True)}

    async def read(self, refs: Sequence[IntegrationRef]) -> dict[IntegrationRef, OpenRow]:
        """The rows as they are now, opened with both keys."""
        return await Fate(self.world.fate.database, self.both).read(refs, self.world.catalogue)

    async def rows(self) -> list[dict[str, Any]]:
        """All rows as the table has them."""
        cursor = await self.world.fate.database.execute(
            "select *, split_part(credentials, '.', 2) as key_id from public.integrations order by user_id, id"
        )
        return await cursor.fetchall()

    async def counts(self) -> dict[str, int]:
        """Rows by key id."""
        found: dict[str, int] = {}
        for row in await self.rows():
            found[row["key_id"]] = found.get(row["key_id"], 0) + 1
        return found

    @asynccontextmanager
    async def database(self) -> AsyncIterator[PostgresKeyRotationDatabase]:
        """The tables as a rotation reaches them."""
        async with open_worker_pool(self.world.worker_database, connections=_LANES) as pool:
            yield PostgresKeyRotationDatabase(pool)

    async def run(self, database: KeyRotationDatabase, *, clock: Clock | None = None) -> RotationReport:
        """Rotate in this process."""
        report = RotationReport()
        services = {service.name: service for service in self.world.catalogue}
        journal = JournalListing(self.state_dir)
        rotation = KeyRotation(database, journal, KEYRING, services, clock or SystemClock(), lanes=_LANES)
        await rotation.run(report, lambda _: None)
        return report

    @property
    def environment(self) -> Mapping[str, str]:
        """What the command's environment has."""
        keys = {"ENCRYPTION_KEY": NEW_KEY, "ENCRYPTION_KEYS_RETIRED": canaries.ENCRYPTION_KEY}
        return {**self.world.environment(self.service_url, self.state_dir), **keys}

    def start(self, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
        """Start the command; it ends with the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "supabase_integrations", "rotate-key", *arguments],
            env={**self.environment, **settings},
            cwd=self.world_folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.kill()
            process.communicate()

    @property
    def world_folder(self) -> Path:
        """Where no `.env` is."""
        self.state_dir.mkdir(exist_ok=True)
        return self.state_dir

    async def command(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """Run the command; its exit status and what it said, in which there is no secret."""
        process = self.start(*arguments, **settings)
        said, _ = await asyncio.to_thread(process.communicate, timeout=_COMMAND_SECONDS)
        for secret in (*canaries.SECRETS, NEW_KEY, self.world.worker_password.get_secret_value()):
            assert secret not in said
        return process.returncode, said
