"""Copying one resource of one connection into synced_records: in batches, from where the last attempt stood.

A run is everything that a list has, or what changed since the last run. It may take many attempts: a batch and where
the list goes on after it are written together, so that whoever goes on, after a kill or a pause, neither misses a
record nor stores one twice.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from ..core.cursor_watch import CursorWatch
from ..core.errors import (
    EndlessListError,
    IntegrationError,
    ProviderUnavailableError,
    RateLimitedError,
    ServiceError,
    ServiceRateLimitedError,
    SyncTakenOverError,
    TooManyRecordsError,
)
from ..core.http_messages import LONGEST_WAIT
from ..core.models import IntegrationRef
from ..core.sync import SyncPlan, SyncRef, SyncState, changes_since, resumes, wait_after_failure
from ..port import Clock
from ..port_sync import SyncLog, SyncStore
from .integration_client import IntegrationClient
from .sync_batches import SyncBatches
from .sync_resources import SyncResource, SyncResources, find_resource

_KEEP_EVERY: Final = 40.0
"""Seconds between two looks after the lease: it holds for 120."""
_LONGEST_PAGE: Final = 300.0
"""Seconds after the end of an attempt's turn: as long as a call with all its waits and repetitions takes."""
_REMOVE_ROWS: Final = 5000
_UNKNOWN_WAIT: Final = timedelta(minutes=1)
"""Where a service wants calls to wait and does not say how long."""
_CURSOR_REFUSED: Final = frozenset({400, 404, 409, 410, 422})

Progress = Callable[[int], None]
"""Told how many records the run has stored."""


@dataclass(slots=True)
class SyncOutcome:
    """What an attempt came to. `goes_on_in` None: the run is at its end.

    `complete`: it asked for everything. `is_partial`: the service refused a part of that.
    """

    records: int = 0
    skipped: int = 0
    removed: int = 0
    complete: bool = True
    is_partial: bool = False
    goes_on_in: timedelta | None = field(default=None)


class ResourceSync:
    """Makes attempts at runs. A process has one."""

    def __init__(
        self,
        store: SyncStore,
        open_client: Callable[[IntegrationRef], IntegrationClient],
        resources: SyncResources,
        plan: SyncPlan,
        clock: Clock,
        log: SyncLog,
    ) -> None:
        self._store = store
        self._open_client = open_client
        self._resources = resources
        self._plan = plan
        self._clock = clock
        self._log = log

    async def attempt(
        self,
        ref: SyncRef,
        owner: UUID,
        *,
        until: datetime | None = None,
        everything: bool = False,
        progress: Progress | None = None,
    ) -> SyncOutcome:
        """Sync until the run is at its end, the service wants calls to wait, or `until` has come.

        `everything` begins a run anew that asks for everything. Raises SyncBusyError, SyncTakenOverError,
        UnknownResourceError, TooManyRecordsError, EndlessListError, and what calls and the database raise; when the run
        is tried again is written down by then.
        """
        try:
            return await self._attempt(ref, owner, until=until, everything=everything, progress=progress)
        except asyncio.CancelledError:
            # Whoever goes on need not wait for the lease to end, which may have been taken by whoever claimed the sync.
            with suppress(IntegrationError):
                await self._store.pause(ref, owner, next_run=timedelta(0), error_code=None)
            raise

    async def _attempt(
        self, ref: SyncRef, owner: UUID, *, until: datetime | None, everything: bool, progress: Progress | None
    ) -> SyncOutcome:
        state = await self._store.begin(ref, owner)
        outcome = SyncOutcome()
        try:
            async with self._kept(ref, owner), self._in_time(until):
                await self._run(ref, owner, state, outcome, until=until, everything=everything, progress=progress)
        except SyncTakenOverError:
            raise
        except (RateLimitedError, ServiceRateLimitedError) as error:
            outcome.goes_on_in = min(error.retry_after or _UNKNOWN_WAIT, LONGEST_WAIT)
            await self._pause(ref, owner, outcome)
        except IntegrationError as error:
            await self._fail(ref, owner, state, error.code)
            raise
        except Exception as error:
            await self._fail(ref, owner, state, "internal_error", told=type(error).__name__)
            raise
        return outcome

    async def _run(
        self,
        ref: SyncRef,
        owner: UUID,
        state: SyncState,
        outcome: SyncOutcome,
        *,
        until: datetime | None,
        everything: bool,
        progress: Progress | None,
    ) -> None:
        async with self._open_client(ref.integration) as api:
            resource = find_resource(self._resources, api.service, ref.resource)
            since, cursor, stored = state.changes_since, state.cursor, state.records
            if everything or not resumes(state):
                since, cursor, stored = await self._start(ref, owner, state, resource, everything=everything)
            batches = SyncBatches(self._store, ref, owner, self._log, outcome, cursor=cursor, stored=stored)
            try:
                ended = await self._copy(api, resource, since, batches, until, progress)
            except ServiceError as error:
                if cursor is None or batches.has_begun or error.status not in _CURSOR_REFUSED:
                    raise
                # The service has forgotten where the list stood.
                await self._store.start_run(ref, owner, since)
                batches.restart()
                ended = await self._copy(api, resource, since, batches, until, progress)
            except EndlessListError:
                # Gone on with from inside the circle, the next attempt would not end either.
                await self._store.start_run(ref, owner, since)
                raise
        outcome.complete = since is None
        if not ended:
            outcome.goes_on_in = timedelta(0)
            await self._pause(ref, owner, outcome)
            return
        # What is in a part that could not be read is not gone.
        has_all = outcome.complete and not outcome.is_partial
        if has_all and resource.is_whole:
            await self._remove(ref, owner, outcome)
        await self._store.finish(ref, owner, next_run=self._plan.every, complete=has_all)
        self._log.finished(
            ref, records=outcome.records, skipped=outcome.skipped, removed=outcome.removed, complete=has_all
        )

    async def _start(
        self, ref: SyncRef, owner: UUID, state: SyncState, resource: SyncResource, *, everything: bool
    ) -> tuple[datetime | None, None, int]:
        since = changes_since(state, self._plan.complete_every, lists_changes=resource.lists_changes)
        since = None if everything else since
        await self._store.start_run(ref, owner, since)
        return since, None, 0

    async def _copy(
        self,
        api: IntegrationClient,
        resource: SyncResource,
        since: datetime | None,
        batches: SyncBatches,
        until: datetime | None,
        progress: Progress | None,
    ) -> bool:
        """Store what is left of the list; whether that was all."""
        watch = CursorWatch(batches.cursor)
        try:
            async for page in resource.open(api, since).pages(batches.cursor):
                for record in page.records:
                    await batches.add(record, resource.id_of)
                await batches.end_page(page.cursor, is_partial=page.is_partial)
                if page.cursor is not None:
                    watch.see(page.cursor)
                if progress is not None:
                    progress(batches.stored)
                if batches.stored > self._plan.max_records:
                    await batches.flush()
                    raise TooManyRecordsError
                if page.cursor is not None and until is not None and self._clock.now() >= until:
                    await batches.flush()
                    return False
            await batches.flush()
        except IntegrationError:
            # So that each attempt brings the run further, however few calls a service allows. After a failed write
            # there is nothing to flush.
            with suppress(IntegrationError):
                await batches.flush()
            raise
        return True

    async def _remove(self, ref: SyncRef, owner: UUID, outcome: SyncOutcome) -> None:
        """What the service no longer has: everything it has was given since the run began."""
        while removed := await self._store.remove_unseen(ref, owner, _REMOVE_ROWS):
            outcome.removed += removed

    async def _pause(self, ref: SyncRef, owner: UUID, outcome: SyncOutcome) -> None:
        wait = outcome.goes_on_in or timedelta(0)
        await self._store.pause(ref, owner, next_run=wait, error_code=None)
        self._log.paused(ref, records=outcome.records, wait=wait)

    async def _fail(self, ref: SyncRef, owner: UUID, state: SyncState, code: str, *, told: str = "") -> None:
        wait = wait_after_failure(state.failures)
        # Where the database is away, the lease ends by itself and the sync is due then.
        with suppress(IntegrationError):
            await self._store.pause(ref, owner, next_run=wait, error_code=code)
        self._log.failed(ref, told or code, retry_in=wait)

    @asynccontextmanager
    async def _in_time(self, until: datetime | None) -> AsyncIterator[None]:
        """The page that is being read at the end of a turn may be read to its end, and not for good: a service that
        sends a byte now and then would keep everybody's syncs waiting.
        """
        left = None if until is None else (until - self._clock.now()).total_seconds() + _LONGEST_PAGE
        try:
            async with asyncio.timeout(left) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise ProviderUnavailableError("The service took too long over one page.") from None

    @asynccontextmanager
    async def _kept(self, ref: SyncRef, owner: UUID) -> AsyncIterator[None]:
        """Keep the lease while calls take their time; what is written proves it anyway."""

        async def keep() -> None:
            while True:
                await self._clock.sleep(_KEEP_EVERY)
                with suppress(IntegrationError):
                    await self._store.keep(ref, owner)

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
