"""The worker's syncs: takes what is due, a few at a time, and makes one attempt at each."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from ..core.errors import IntegrationError, StoreUnavailableError
from ..core.sync import SyncRef
from ..port import Clock
from ..port_sync import SyncLog, SyncStore
from .sync import ResourceSync
from .turns import Turns

TURN: Final = timedelta(minutes=2)
"""How long one attempt goes on: then it is others' turn, and the run goes on at its next one."""


@dataclass(frozen=True, slots=True)
class SyncJobPlan:
    """How many attempts are under way at once, and how often due ones are looked for."""

    concurrency: int
    poll: timedelta


class SyncJob:
    """Runs beside the refreshes of one worker."""

    def __init__(self, plan: SyncJobPlan, store: SyncStore, sync: ResourceSync, clock: Clock, log: SyncLog) -> None:
        self._plan = plan
        self._store = store
        self._sync = sync
        self._clock = clock
        self._log = log
        self._turns = Turns()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until cancelled; what is under way then goes on elsewhere from where it stands."""
        try:
            while True:
                free = self._plan.concurrency - len(self._running)
                for ref, owner in await self._claim(free) if free else ():
                    self._start(ref, owner)
                await self._until_something_ends()
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    async def _claim(self, limit: int) -> tuple[tuple[SyncRef, UUID], ...]:
        owner = uuid4()
        claim = asyncio.create_task(self._store.claim_due(limit, owner, self._turns.served))
        try:
            refs = await asyncio.shield(claim)
        except StoreUnavailableError as error:
            self._log.database_away(error.code)
            return ()
        except asyncio.CancelledError:
            # What it has leased nobody else could take up for two minutes.
            with suppress(IntegrationError):
                for ref in await claim:
                    await self._store.pause(ref, owner, next_run=timedelta(0), error_code=None)
            raise
        self._turns.add(ref.user_id for ref in refs)
        return tuple((ref, owner) for ref in refs)

    def _start(self, ref: SyncRef, owner: UUID) -> None:
        task = asyncio.create_task(self._attempt(ref, owner))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _attempt(self, ref: SyncRef, owner: UUID) -> None:
        # Told and written down already; and whatever a service sends, it must not end everybody else's worker.
        with suppress(Exception):
            await self._sync.attempt(ref, owner, until=self._clock.now() + TURN)

    async def _until_something_ends(self) -> None:
        poll = asyncio.ensure_future(self._clock.sleep(self._plan.poll.total_seconds()))
        try:
            await asyncio.wait([poll, *self._running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            poll.cancel()
