"""The children of one local system: known from their first moment, stopped in reverse order, watched while they run."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LocalStackError
from .process import Child, spawn
from .state import StateDirectory


class Processes:
    """Every child that was started, so that none is forgotten however the start ended."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._children: list[tuple[Child, signal.Signals]] = []

    async def spawn(self, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> Child:
        """Start a child whose log is `logs/NAME.log`."""
        return self.adopt(await spawn(name, argv, log_path=self._state.logs / f"{name}.log", env=env, cwd=cwd))

    def adopt(self, child: Child, *, stop_with: signal.Signals = signal.SIGTERM) -> Child:
        """Take responsibility for a child that runs already."""
        self._children.append((child, stop_with))
        self._state.record_processes(self.pids)
        return child

    async def stop(self, child: Child) -> None:
        """Stop one child before the others."""
        kept = [entry for entry in self._children if entry[0] is not child]
        for _, request in (entry for entry in self._children if entry[0] is child):
            await child.stop(request)
        self._children = kept
        self._state.record_processes(self.pids)

    async def stop_all(self) -> None:
        """Stop everything, the last one started first: nobody loses what it depends on before it has ended."""
        while self._children:
            await self.stop(self._children[-1][0])

    async def wait_for_a_loss(self) -> LocalStackError:
        """Wait until a child ends by itself, and return what to tell about it."""
        waiting = {asyncio.create_task(child.wait()): child for child, _ in self._children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        task = next(iter(done))
        return waiting[task].failure(f"ended by itself with status {task.result()}, so everything was stopped")

    @property
    def pids(self) -> dict[str, int]:
        """The process ids by name."""
        return {child.name: child.pid for child, _ in self._children}
