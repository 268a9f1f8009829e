"""What `integrations sync` says: a count that moves on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ..core.plurals import counted
from ..use_cases.sync import SyncOutcome

_LINE_EVERY: Final = 5.0
"""Seconds between two lines where there is no terminal."""


class SyncProgress(Protocol):
    """Is told how far a run is. Services do not say how many records there will be."""

    def stored(self, records: int) -> None:
        """So many records of this run are stored."""
        ...

    def waits(self, wait: timedelta) -> None:
        """The service wants calls to wait."""
        ...


class SyncOutput:
    """Writes to standard output. Names are the caller's: nothing is read as markup."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False)
        self._began = time.monotonic()
        self._waited = False

    @contextmanager
    def progress(self, resource: str) -> Iterator[SyncProgress]:
        """Show how far it is, for as long as the block lasts."""
        self._began = time.monotonic()
        if not self._console.is_terminal:
            yield _Lines(self._console, resource)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("records: {task.completed:,.0f}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as bar:
            yield _Bar(bar, bar.add_task(resource, total=None), resource)

    def finished(self, total: SyncOutcome) -> None:
        """What the run came to."""
        seconds = time.monotonic() - self._began
        what = "everything" if total.complete else "what changed since the last run"
        self._say(f"Asked for {what}: stored {counted(total.records, 'record')} in {seconds:.1f} s.")
        if total.removed:
            self._say(f"Removed {counted(total.removed, 'record')} that the service no longer has.")
        if total.is_partial:
            self._say("The service refused a part of it. What was stored of that part stays, and nothing was removed.")
        if total.skipped:
            self._say(
                f"{counted(total.skipped, 'record')} could not be stored: the lines `sync.records_skipped` say why."
            )

    def waits_for_the_database(self, reason: str) -> None:
        """It cannot be reached yet; said once, however often it is tried."""
        if not self._waited:
            self._say(f"{reason}\nTrying for half a minute.")
        self._waited = True

    def interrupted(self) -> None:
        """It was asked to stop."""
        self._say("Stopped. What is stored stays: run it again to go on from there.")

    def _say(self, line: str) -> None:
        self._console.print(line)


class _Bar:
    def __init__(self, bar: Progress, task: TaskID, resource: str) -> None:
        self._bar = bar
        self._task = task
        self._resource = resource

    def stored(self, records: int) -> None:
        self._bar.update(self._task, completed=records, description=self._resource)

    def waits(self, wait: timedelta) -> None:
        seconds = wait.total_seconds()
        self._bar.update(self._task, description=f"{self._resource}, waiting {seconds:.0f} s for the service")


class _Lines:
    def __init__(self, console: Console, resource: str) -> None:
        self._console = console
        self._resource = resource
        self._next = time.monotonic() + _LINE_EVERY

    def stored(self, records: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_EVERY
            self._console.print(f"{self._resource}: {counted(records, 'record')}")

    def waits(self, wait: timedelta) -> None:
        self._console.print(f"{self._resource}: waiting {wait.total_seconds():.0f} s for the service")
