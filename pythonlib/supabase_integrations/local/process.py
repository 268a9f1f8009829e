"""Child processes of the local system: own session, own log file, gone when their parent is gone."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .errors import LocalStackError

_LAUNCHER = Path(__file__).with_name("child.py")
_LOG_LIMIT = 8 * 1024 * 1024
"""Bytes after which the next start puts a log aside as `NAME.log.1`."""

_LINE_LIMIT = 500


@dataclass(frozen=True, slots=True)
class User:
    """An operating-system user to run a child as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and where its output goes."""

    name: str
    process: asyncio.subprocess.Process
    log_path: Path
    log_start: int = 0
    """Where in the log this run begins; what is before it was written by earlier runs."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def wait(self) -> int:
        """Wait for the end and return the exit status (minus the signal's number when a signal ended it)."""
        return await self.process.wait()

    async def stop(
        self, request: signal.Signals = signal.SIGTERM, *, patience: timedelta = timedelta(seconds=5)
    ) -> None:
        """Ask the process to end; after `patience`, end its whole session."""
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(request)
        try:
            await asyncio.wait_for(self.process.wait(), patience.total_seconds())
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.process.wait()

    def failure(self, what: str, *, hint: str = "") -> LocalStackError:
        """An error that says what happened to this process and shows the end of its log."""
        return LocalStackError(f"{self.name} {what}. The end of {self.log_path}:\n{self.log_tail()}{hint}")

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that this run logged, each cut to a readable length."""
        with self.log_path.open("rb") as log:
            log.seek(self.log_start)
            text = log.read().decode("utf-8", "replace")
        return "\n".join(line[:_LINE_LIMIT] for line in text.splitlines()[-lines:])


async def spawn(
    name: str,
    argv: Sequence[str | Path],
    *,
    log_path: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> Child:
    """Start `argv` (its first entry an absolute path) with both output streams appended to `log_path`.

    The child leads a session of its own, so that Ctrl-C reaches only the supervisor, which stops its children in order.
    On Linux the kernel sends it `death_signal` if this process dies without doing so.
    """
    log_start = _prepare_log(log_path)
    owner = f"{user.uid}:{user.gid}" if user else "-"
    launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(death_signal)), owner]
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *launch,
            *(str(part) for part in argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    return Child(name, process, log_path, log_start)


def _prepare_log(path: Path) -> int:
    """Make the log, readable by its owner only, and return its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))
    path.touch(mode=0o600)
    return path.stat().st_size
