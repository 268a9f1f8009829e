"""A database with our migrations, one user with a connection to the demo CRM, and what syncs it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.sync import SyncRef
from supabase_integrations.use_cases.sync import SyncOutcome
from supabase_integrations.worker_integrations import WorkerConfiguration, WorkerIntegrations, open_worker_integrations
from tests import canaries
from tests.scripted_service import ScriptedService
from tests.sync.contacts import ContactBook, people
from tests.worker.conftest import (
    catalogue,
    cluster,
    database,
    encryption,
    service,
    template,
    worker_password,
    workers,
    world,
)
from tests.worker.world import World

__all__ = [
    "catalogue",
    "cluster",
    "database",
    "encryption",
    "service",
    "template",
    "worker_password",
    "workers",
    "world",
]


_WAIT_SECONDS: Final = 120.0
"""Against hanging only."""


@dataclass(frozen=True)
class Syncing:
    """One database, whose users have contacts at the scripted service."""

    world: World
    environment: Mapping[str, str] = field(repr=False)

    async def connect(self, count: int = 1) -> list[SyncRef]:
        """So many new users, each with a connection whose contacts are to be synced."""
        ids = [uuid4() for _ in range(count)]
        await self.world.fate.sign_up(ids)
        grants = [(user, SecretStr(canaries.REFRESH_TOKEN)) for user in ids]
        return [SyncRef(ref, "contacts") for ref in await self.world.fate.connect("demo_crm", grants, due=False)]

    async def want(self, *refs: SyncRef) -> None:
        """Have them synced, as their owners do."""
        for ref in refs:
            await self.execute(
                "insert into public.sync_cursors (user_id, integration_id, resource) values (%s, %s, %s)",
                ref.user_id,
                ref.integration.id,
                ref.resource,
            )

    async def records(self, ref: SyncRef | IntegrationRef) -> dict[str, Any]:
        """What is stored of a connection, by external id."""
        integration = ref.integration if isinstance(ref, SyncRef) else ref
        rows = await self.execute(
            "select external_id, data from public.synced_records where (user_id, integration_id) = (%s, %s)",
            integration.user_id,
            integration.id,
        )
        return {row["external_id"]: row["data"] for row in rows}

    async def until_stored(self, ref: SyncRef, count: int) -> None:
        """Wait until at least so many of its records are stored."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            if len(await self.records(ref)) >= count:
                return
            assert time.monotonic() < deadline, await self.cursor(ref)
            await asyncio.sleep(0.02)

    async def cursor(self, ref: SyncRef) -> dict[str, Any]:
        """How far it is."""
        (row,) = await self.execute(
            "select * from public.sync_cursors where (user_id, integration_id, resource) = (%s, %s, %s)",
            ref.user_id,
            ref.integration.id,
            ref.resource,
        )
        return row

    async def execute(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Past every policy and guard."""
        cursor = await self.world.fate.database.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


@pytest.fixture
def syncing(world: World, service: ScriptedService, tmp_path: Path) -> Syncing:
    """The database and what every process of these tests has in its environment."""
    environment = {
        **world.environment(service.url, tmp_path / "state"),
        "DEMO_URL": service.url,
        "DEMO_CRM_CLIENT_ID": "canary-demo-id",
        "DEMO_CRM_CLIENT_SECRET": canaries.CLIENT_SECRET,
    }
    return Syncing(world, environment)


@dataclass(frozen=True)
class Door:
    """The system as a process opens it."""

    system: WorkerIntegrations

    async def sync(self, ref: SyncRef, *, owner: UUID | None = None, everything: bool = False) -> SyncOutcome:
        """One attempt."""
        await self.system.sync_store.add(ref)
        return await self.system.sync.attempt(ref, owner or uuid4(), everything=everything)


@pytest.fixture
async def door(syncing: Syncing) -> AsyncIterator[Door]:
    """Opened in this process."""
    async with open_worker_integrations(WorkerConfiguration.from_environment(syncing.environment)) as system:
        yield Door(system)


@pytest.fixture
def book(service: ScriptedService) -> ContactBook:
    """1,203 contacts in pages of 50."""
    book = ContactBook(people(1203))
    service.scripts["/api/contacts"] = book
    return book
