"""A sync's store in memory, a service whose pages take their time, and a clock that jumps."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

from supabase_integrations.clients.paging import Listing, Page
from supabase_integrations.core.errors import StoreUnavailableError, SyncTakenOverError
from supabase_integrations.core.json_types import JsonObject
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.sync import SkipReason, SyncPlan, SyncRecord, SyncRef, SyncState
from supabase_integrations.use_cases.integration_client import IntegrationClient
from supabase_integrations.use_cases.sync import ResourceSync
from supabase_integrations.use_cases.sync_resources import SyncResource
from tests.unit.virtual_time import LoopClock


@dataclass
class MemoryStore:
    """Implements `SyncStore`: no leases are refused, and everything is remembered."""

    due: deque[SyncRef] = field(default_factory=deque)
    is_away: bool = False
    claims: int = 0
    served: list[Sequence[UUID]] = field(default_factory=list)
    kept: int = 0
    stored: dict[SyncRef, set[str]] = field(default_factory=dict)
    pauses: list[tuple[SyncRef, timedelta, str | None]] = field(default_factory=list)
    finished: list[SyncRef] = field(default_factory=list)
    lost: set[SyncRef] = field(default_factory=set)

    async def claim_due(self, limit: int, owner: UUID, served: Sequence[UUID]) -> tuple[SyncRef, ...]:
        self.claims += 1
        self.served.append(served)
        if self.is_away:
            raise StoreUnavailableError
        return tuple(self.due.popleft() for _ in range(min(limit, len(self.due))))

    async def add(self, ref: SyncRef) -> None:
        self.due.append(ref)

    async def begin(self, ref: SyncRef, owner: UUID) -> SyncState:
        return SyncState(LoopClock().now(), None, None, None, 0, 3, None, None)

    async def keep(self, ref: SyncRef, owner: UUID) -> None:
        self.kept += 1

    async def start_run(self, ref: SyncRef, owner: UUID, changes_since: datetime | None) -> None:
        self.stored[ref] = set()

    async def write(
        self, ref: SyncRef, owner: UUID, records: Sequence[SyncRecord], *, cursor: str | None, skipped: int
    ) -> None:
        if ref in self.lost:
            raise SyncTakenOverError
        self.stored[ref] |= {record.external_id for record in records}

    async def remove_unseen(self, ref: SyncRef, owner: UUID, limit: int) -> int:
        return 0

    async def finish(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, complete: bool) -> None:
        self.finished.append(ref)

    async def pause(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, error_code: str | None) -> None:
        self.pauses.append((ref, next_run, error_code))


@dataclass
class Told:
    """Implements `SyncLog`."""

    failures: list[str] = field(default_factory=list)
    away: int = 0

    def finished(self, ref: SyncRef, *, records: int, skipped: int, removed: int, complete: bool) -> None:
        pass

    def skipped(self, ref: SyncRef, reason: SkipReason, count: int) -> None:
        pass

    def paused(self, ref: SyncRef, *, records: int, wait: timedelta) -> None:
        pass

    def failed(self, ref: SyncRef, code: str, *, retry_in: timedelta) -> None:
        self.failures.append(code)

    def database_away(self, code: str) -> None:
        self.away += 1


@dataclass
class Service:
    """Gives one record after so many seconds, and counts who asks at once."""

    seconds: float = 0
    id_of: Callable[[JsonObject], object] = lambda record: record["id"]
    error: Exception | None = None
    at_once: int = 0
    most_at_once: int = 0

    def resource(self) -> SyncResource:
        """Its one list."""

        async def fetch(_: str | None) -> Page:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(self.seconds)
            finally:
                self.at_once -= 1
            if self.error is not None:
                raise self.error
            return Page(({"id": "1"},), None)

        return SyncResource(lambda _api, _since: Listing(fetch), self.id_of)


@asynccontextmanager
async def _opened() -> AsyncIterator[SimpleNamespace]:
    yield SimpleNamespace(service=SimpleNamespace(name="service", lineage=("service",)))


def sync_of(service: Service, store: MemoryStore, log: Told) -> ResourceSync:
    """What is tested, over all these."""
    return ResourceSync(
        store,
        lambda _: cast("IntegrationClient", _opened()),
        {"service": {"things": service.resource()}},
        SyncPlan(timedelta(hours=1)),
        LoopClock(),
        log,
    )


def a_ref() -> SyncRef:
    """Somebody's things."""
    return SyncRef(IntegrationRef(uuid4(), uuid4()), "things")
