"""Worker processes on a few machines; the killed ones are replaced, as by a supervisor."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from supabase_integrations.local.process import Child, spawn

_STOP_SECONDS = 90
"""Longer than a worker takes at most to finish what it has begun."""


class EnvironmentOf(Protocol):
    """Makes the settings of a worker called `name` on a machine whose state directory is `state_dir`."""

    def __call__(self, name: str, state_dir: Path) -> Mapping[str, str]:
        """The whole environment of its process."""
        ...


@dataclass(slots=True)
class WorkerProcess:
    """One `integrations worker`. Times are of the monotonic clock."""

    name: str
    state_dir: Path
    child: Child
    killed_at: float | None = None

    def kill(self) -> None:
        """SIGKILL, as a machine does that runs out of memory."""
        self.killed_at = time.monotonic()
        os.kill(self.child.pid, signal.SIGKILL)

    async def drain(self) -> int:
        """Ask it to finish what it does, as a deployment does; its exit status."""
        os.kill(self.child.pid, signal.SIGTERM)
        return await asyncio.wait_for(self.child.wait(), _STOP_SECONDS)


@dataclass(slots=True)
class Fleet:
    """All workers that ever were, by name; names are never used again."""

    folder: Path
    environment_of: EnvironmentOf
    workers: dict[str, WorkerProcess] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def start(self, state_dir: Path) -> WorkerProcess:
        """One more worker on a machine."""
        name = f"worker-{next(self._numbers)}"
        child = await spawn(
            name,
            [sys.executable, "-m", "supabase_integrations", "worker"],
            log_path=self.folder / f"{name}.log",
            env=self.environment_of(name, state_dir),
            cwd=self.folder,
        )
        self.workers[name] = WorkerProcess(name, state_dir, child)
        return self.workers[name]

    @property
    def living(self) -> Sequence[WorkerProcess]:
        """Those that run and were not killed."""
        return [worker for worker in self.workers.values() if worker.killed_at is None and worker.child.running]

    def logged(self, event: str) -> int:
        """How often an event stands in the logs of all."""
        line = f'"event":"{event}"'
        return sum(worker.child.log_path.read_text("utf-8", "replace").count(line) for worker in self.workers.values())

    def ended_by_themselves(self) -> list[str]:
        """The ends of the logs of workers that nobody ended."""
        return [
            worker.child.log_tail()
            for worker in self.workers.values()
            if worker.killed_at is None and not worker.child.running
        ]


@asynccontextmanager
async def a_fleet(folder: Path, environment_of: EnvironmentOf) -> AsyncIterator[Fleet]:
    """No workers yet; none is left when the block ends."""
    fleet = Fleet(folder, environment_of)
    try:
        yield fleet
    finally:
        for worker in fleet.workers.values():
            await worker.child.stop(signal.SIGKILL)
