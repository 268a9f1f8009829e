"""Everything that goes wrong in one test: faults of the service, outages of the database, deaths of workers."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from supabase_integrations.core.models import IntegrationRef
from tests.storms.database import Database
from tests.storms.faults import FaultyService
from tests.storms.fleet import Fleet, WorkerProcess
from tests.storms.passing_time import PassingTime
from tests.storms.token_proxy import TokenProxy

REFRESHES: Final = 1000
OUTAGES: Final = ((3.0, signal.SIGINT), (12.0, signal.SIGQUIT), (28.0, signal.SIGINT))
"""When the database stops, and how: politely, or as in a crash."""
OUTAGE_SECONDS: Final = 5.0
MACHINES: Final = ("one", "one", "two")
"""Where the first workers run; those of one machine share a journal."""
_LIMIT_SECONDS: Final = 900.0
"""Against hanging only."""
_A_WHILE: Final = 2.0


@dataclass(slots=True)
class Turmoil:
    """What goes on during the test, and what is known of it from outside."""

    database: Database
    fleet: Fleet
    time: PassingTime
    proxy: TokenProxy
    service: FaultyService
    burials: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def rage(self) -> None:
        """Let everything happen until there were enough refreshes and every journal is empty; then stop the workers."""
        background = {self._outages(), self.time.pass_by(self.kept)}
        async with _beside(background):
            began = time.monotonic()
            while not self._is_over(time.monotonic() - began):
                while self.service.killed:
                    self.burials.add(asyncio.create_task(self._bury(self.service.killed.pop())))
                await asyncio.sleep(0.2)
            await asyncio.gather(*self.burials)
            assert self.fleet.ended_by_themselves() == []
            assert {await worker.drain() for worker in self.fleet.living} == {0}
            assert self.kept() == set()

    def _is_over(self, elapsed: float) -> bool:
        requests, kept = len(self.proxy.exchanges), len(self.left_behind())
        assert elapsed < _LIMIT_SECONDS, f"only {requests} requests in {elapsed:.0f} s, and {kept} replies in journals"
        calm = elapsed > OUTAGES[-1][0] + OUTAGE_SECONDS and not self.service.deaths and not self.service.killed
        return calm and not kept and requests >= REFRESHES and all(burial.done() for burial in self.burials)

    async def _outages(self) -> None:
        """Stop the database now and then."""
        began = time.monotonic()
        for at, request in OUTAGES:
            await asyncio.sleep(began + at - time.monotonic())
            await self.database.outage(OUTAGE_SECONDS, request)

    def kept(self) -> set[IntegrationRef]:
        """The rows for which the journal of a machine has a reply."""
        return set().union(*(kept_in(self.fleet.folder / machine) for machine in MACHINES))

    def left_behind(self) -> list[Path]:
        """The replies in journals that nobody is just writing to the database."""
        replies = [path for machine in MACHINES for path in (self.fleet.folder / machine / "journal").glob("*.reply")]
        return [path for path in replies if age_of(path) > _A_WHILE]

    async def _bury(self, worker: WorkerProcess) -> None:
        """Start another one in its place, and let its leases end, as they would 75 s later.

        By then the journal of its machine has been replayed. A reply is not replayed before it is 20 s old, and that
        much of the time is real: its row keeps its lease until then.
        """
        await worker.child.wait()
        await self.fleet.start(worker.state_dir)
        held = await self.time.leased_by(worker.name)
        while held & kept_in(worker.state_dir):
            await self.time.end_leases(worker.name, held - kept_in(worker.state_dir))
            await asyncio.sleep(0.2)
        await self.time.end_leases(worker.name, held)


@asynccontextmanager
async def _beside(background: Iterable[Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run these beside the block and cancel them at its end; what one of them raises ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in background]
        yield
        for task in tasks:
            task.cancel()


def age_of(path: Path) -> float:
    """How many seconds ago a file was written; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def kept_in(state_dir: Path) -> set[IntegrationRef]:
    """The rows that a journal has a reply for: the names of its files say which."""
    names = [path.name.split(".") for path in (state_dir / "journal").glob("*.reply")]
    return {IntegrationRef(UUID(name[0]), UUID(name[1])) for name in names}
