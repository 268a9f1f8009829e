"""What `integrations rotate-key` says: a bar on a terminal, a line now and then elsewhere, and what is left to do."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..core.key_use import KeyUse
from ..core.plurals import counted
from ..use_cases.key_rotation import RotationReport

_LINE_EVERY: Final = 5.0
"""Seconds between two lines where there is no terminal."""
_OTHERS: Final = "Other machines have journals of their own, which cannot be seen from here."
_KEEP: Final = (
    "Cookies and handles of authorizations live ten minutes: keep it that long after the last server and worker was"
    " started with the new ENCRYPTION_KEY."
)


@dataclass(frozen=True, slots=True)
class JournalLook:
    """The journal that was looked into, of all that there may be."""

    directory: Path
    is_there: bool

    def __str__(self) -> str:
        if self.is_there:
            return f"Looked into the database and the journal in {self.directory}."
        return f"Looked into the database; there is no journal in {self.directory}."


class RotationOutput:
    """Writes to standard output. Names come from the database: nothing is read as markup."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False)
        self._began = time.monotonic()

    def uses(self, uses: Sequence[KeyUse], looked: JournalLook) -> None:
        """What is sealed under which key."""
        table = Table("Key", "", "Connections", "Authorizations", "Journal", box=box.SIMPLE)
        for column in table.columns[2:]:
            column.justify = "right"
        for use in uses:
            counts = (use.connections, use.authorizations, use.replies)
            table.add_row(use.key_id, use.role, *(f"{count:,}" for count in counts))
        self._console.print(table)
        self._say(f"{looked} {_OTHERS}")

    def drop(self, key_id: str, uses: Sequence[KeyUse], looked: JournalLook) -> bool:
        """Whether a retired key may be dropped, and how; or what still needs it."""
        use = next((use for use in uses if use.key_id == key_id), None)
        if use is None or not (use.is_known or use.is_used):
            known = ", ".join(use.key_id for use in uses if use.is_known)
            self._say(f"There is no key {key_id} here, and nothing is sealed under it. The keys here: {known}.")
            return False
        if use.is_primary:
            self._say(f"{key_id} is the primary key: put another one into ENCRYPTION_KEY first, and rotate.")
            return False
        if use.is_used:
            self._say(
                f"{key_id} is in use, by {counted(use.connections, 'connection')},"
                f" {counted(use.authorizations, 'authorization')} under way and"
                f" {counted(use.replies, 'reply', 'replies')} in the journal."
            )
            self._say(f"{looked} {_OTHERS}")
            if not use.is_known:
                self._say("It is not in this environment: add it to ENCRYPTION_KEYS_RETIRED, then rotate.")
            elif use.connections:
                self._say("Run `integrations rotate-key` first.")
            else:
                self._say("They end by themselves: run this again in ten minutes, with a worker on this machine.")
            return False
        self._say(f"Nothing is sealed under {key_id} here. {looked}")
        self._say(f"{_OTHERS} Run this on each of them, and with each STATE_DIR, first.")
        self._say(f"Then remove {key_id} from ENCRYPTION_KEYS_RETIRED and restart. {_KEEP}")
        return True

    @contextmanager
    def progress(self, uses: Sequence[KeyUse]) -> Iterator[Callable[[int], None]]:
        """Show how far it is; the callable is told how many more rows were re-sealed."""
        former = [use for use in uses if use.connections and not use.is_primary]
        total = sum(use.connections for use in former if use.is_known)
        names = ", ".join(f"{use.key_id} ({use.role}, {use.connections:,})" for use in former)
        primary = next(use.key_id for use in uses if use.is_primary)
        self._say(f"Sealing under key {primary}. Connections under other keys: {names or 'none'}.")
        self._began = time.monotonic()
        if not self._console.is_terminal:
            yield _Lines(self._console, total)
            return
        columns = (TextColumn("re-sealed"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task("", total=total)
            yield lambda count: bar.advance(task, count)

    def finished(self, report: RotationReport, uses: Sequence[KeyUse]) -> bool:
        """What was done and what is left; whether nothing is."""
        seconds = time.monotonic() - self._began
        self._say(f"Re-sealed {counted(report.resealed, 'connection')} in {seconds:.1f} s.")
        self._unreadable(report)
        if report.held:
            self._say(
                f"Left out {counted(report.held, 'connection')}: being refreshed, or with a new token in this machine's"
                " journal, for two minutes. Run this again; a worker on this machine stores what its journal keeps."
            )
        former = [use for use in uses if not use.is_primary]
        left = sum(use.connections for use in former)
        written_since = left - report.unreadable - report.held
        if written_since > 0:
            self._say(
                f"Found {counted(written_since, 'connection')} sealed under a former key meanwhile. Start every server"
                " and worker with the new ENCRYPTION_KEY, then run this again."
            )
        for use in former:
            if use.is_known and not use.is_used:
                self._say(
                    f"Nothing stored needs key {use.key_id} any more. `integrations rotate-key --drop {use.key_id}`"
                    f" says when it may go. {_KEEP}"
                )
        return left == 0

    def interrupted(self, report: RotationReport) -> None:
        """It was asked to stop."""
        resealed = counted(report.resealed, "connection")
        self._say(f"Stopped after {resealed}. What was re-sealed stays so: run it again to go on.")

    def _unreadable(self, report: RotationReport) -> None:
        if not report.unreadable:
            return
        self._say(f"Unreadable, and left alone: {counted(report.unreadable, 'connection')}.")
        for row in report.unreadable_rows:
            self._say(f"  user_id={row.ref.user_id} id={row.ref.id} {row.reason}")
        if report.unreadable > len(report.unreadable_rows):
            self._say(f"  and {report.unreadable - len(report.unreadable_rows):,} more.")
        self._say(
            "docs/encryption.md says what each reason means. `unknown_encryption_key`: add that key to"
            " ENCRYPTION_KEYS_RETIRED and run this again. `unknown_service`: put the service back into the catalogue."
            " Others: their users connect again, or the rows are deleted."
        )

    def _say(self, line: str) -> None:
        self._console.print(line)


class _Lines:
    """Progress where nobody watches: a line every few seconds."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._next = time.monotonic() + _LINE_EVERY

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_EVERY
            self._console.print(f"{self._done:,} of {self._total:,}")
