"""The background worker: renews what is due, and clears away what has expired, until it is told to stop."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from ..core.errors import IntegrationError, StoreUnavailableError
from ..port import Clock, WorkerDatabase
from ..uninterrupted import uninterrupted
from .claims import ClaimLog, Claims
from .due_bell import DueBell
from .refresher import Refresher

DRAIN_SECONDS: Final = 50.0
"""How long what is in flight may take after a stop: longer than a service may take to answer and its write to pass."""
_STATES_EVERY: Final = 60.0
_EVENTS_EVERY: Final = 3600.0
_REPORT_EVERY: Final = 60.0
_PURGE_ROWS: Final = 1000
_PURGE_ROUNDS: Final = 100
"""Bounds one turn of clearing away; what is left then has another turn."""

SideTask = Callable[[], Coroutine[Any, Any, None]]


class WorkerLog(ClaimLog, Protocol):
    """Is told what the worker does, for its operator."""

    def started(self, *, concurrency: int) -> None:
        """The worker works."""
        ...

    def stopping(self, *, in_flight: int) -> None:
        """Nothing more is claimed; what is in flight is finished."""
        ...

    def stopped(self, *, unfinished: int) -> None:
        """The worker has ended; so many renewals were given up, their leases end by themselves."""
        ...

    def purged(self, what: str, rows: int) -> None:
        """So many rows were cleared away."""
        ...

    def totals(self, *, in_flight: int) -> None:
        """A minute is over: what became of its renewals."""
        ...


class Announcements(Protocol):
    """Where the database says that something becomes due."""

    async def listen(self, announce: Callable[[datetime], None]) -> None:
        """Pass on every announced moment, forever; comes back by itself when the connection is lost."""
        ...


class SideTaskEndedError(IntegrationError):
    """A part of the worker has ended, and a worker without it would look alive and do half of its work."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What the operator decides. `events_kept` None keeps the audit trail for good."""

    concurrency: int
    poll: timedelta
    events_kept: timedelta | None = None


class Worker:
    """One process's work. `run` once."""

    def __init__(
        self,
        plan: WorkerPlan,
        database: WorkerDatabase,
        refresher: Refresher,
        clock: Clock,
        log: WorkerLog,
        *,
        announcements: Announcements | None = None,
        side_tasks: Mapping[str, SideTask] | None = None,
    ) -> None:
        self._plan = plan
        self._database = database
        self._refresher = refresher
        self._clock = clock
        self._log = log
        self._is_stopped = asyncio.Event()
        bell = DueBell(clock, plan.poll)
        self._claims = Claims(database, refresher, bell, clock, log, concurrency=plan.concurrency)
        self._side_tasks = {"purge states": self._purge_states, "report": self._report, **(side_tasks or {})}
        kept = plan.events_kept
        if kept is not None:
            self._side_tasks["purge events"] = lambda: self._purge_events(kept)
        if announcements is not None:
            self._side_tasks["listen"] = lambda: announcements.listen(bell.announce)

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is in flight is finished, or after 50 s."""
        self._claims.stop()
        self._is_stopped.set()

    async def run(self) -> bool:
        """Work until `stop`, or until cancelled; whether everything that was begun was finished then.

        Raises what ended the work otherwise, after what was in flight is finished; SideTaskEndedError where a part of
        it just ended.
        """
        self._log.started(concurrency=self._plan.concurrency)
        work = asyncio.create_task(self._claims.run(), name="claim")
        side = [asyncio.create_task(task(), name=name) for name, task in self._side_tasks.items()]
        stop = asyncio.create_task(self._is_stopped.wait())
        try:
            await asyncio.wait([work, stop, *side], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            # Whoever is cancelled finishes what was begun as well: a service may be rotating a token at this moment.
            finished = await uninterrupted(self._end(work, side))
        for task in [work, *side]:
            if not task.cancelled() and (error := task.exception()):
                raise error
        for task in side:
            if not task.cancelled():
                raise SideTaskEndedError(f"The worker's part {task.get_name()} has ended by itself.")
        return finished

    async def _end(self, work: "asyncio.Task[None]", side: list["asyncio.Task[None]"]) -> bool:
        try:
            return await self._drain(work)
        finally:
            await _cancel([work, *side])

    async def _drain(self, work: "asyncio.Task[None]") -> bool:
        self.stop()
        self._log.stopping(in_flight=self._claims.in_flight)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                # A claim that was under way may have leased rows: they belong to what is in flight.
                await asyncio.wait([work])
                await self._claims.drain()
                await self._refresher.drain()
        unfinished = self._claims.in_flight
        self._log.stopped(unfinished=unfinished)
        return unfinished == 0

    async def _purge_states(self) -> None:
        while True:
            with suppress(StoreUnavailableError):
                await self._purge_all("states", self._database.purge_expired_states)
            await self._clock.sleep(_STATES_EVERY)

    async def _purge_events(self, kept: timedelta) -> None:
        while True:
            with suppress(StoreUnavailableError):
                await self._purge_all("events", lambda limit: self._database.purge_old_events(kept, limit))
            await self._clock.sleep(_EVENTS_EVERY)

    async def _purge_all(self, what: str, purge: Callable[[int], Coroutine[Any, Any, int]]) -> None:
        total = 0
        for _ in range(_PURGE_ROUNDS):
            count = await purge(_PURGE_ROWS)
            total += count
            if count < _PURGE_ROWS:
                break
        if total:
            self._log.purged(what, total)

    async def _report(self) -> None:
        while True:
            await self._clock.sleep(_REPORT_EVERY)
            self._log.totals(in_flight=self._claims.in_flight)


async def _cancel(tasks: list["asyncio.Task[None]"]) -> None:
    """End them, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
