"""The state directory of one local system: its lock, its secrets, its logs and its description of itself.

Only one system runs per directory: the first holds a lock that the kernel releases however it dies. `dev.json`
describes the running system for tests and outside tools and is removed at the end; when a killed system left it behind,
the next start ends what is still running of it, recognising each process by its start time, never by its number alone.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .errors import LocalStackError

_OURS = ("postgres", "postgres.log", "logs", "lite.toml", "demo-crm.jsonl", "secrets.json", "dev.json", "journal")
"""What a reset removes; anything else in the directory is somebody else's."""

_REAP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Description:
    """What `dev.json` says. Connection data of a local system, so the file is readable by its owner only."""

    api_url: str
    supabase_url: str
    publishable_key: str = field(repr=False)
    database_url: str = field(repr=False)
    """As the migrating role; empty when the database is not ours and none was given."""
    jwt_secret: str = field(repr=False)
    """Empty when Supabase is not ours."""
    demo_url: str
    pids: Mapping[str, int]
    state_dir: str
    log_dir: str


class StateDirectory:
    """The files of one local system. Entering it takes the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.cluster = self.path / "postgres"
        self.logs = self.path / "logs"
        self.lite_config = self.path / "lite.toml"
        self.demo_store = self.path / "demo-crm.jsonl"
        self.secrets = self.path / "secrets.json"
        self.description = self.path / "dev.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process. Raises LocalStackError, naming the running system, when it is taken."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LocalStackError(self._who_holds_it()) from error
            yield

    def reset(self) -> None:
        """Remove everything a local system keeps, so that the next one starts over."""
        for name in _OURS:
            target = self.path / name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def describe(self, description: Description) -> None:
        """Write `dev.json` in one step, so that no reader sees half of it."""
        marks = {name: _start_mark(pid) for name, pid in description.pids.items()}
        write_private(self.description, json.dumps({**asdict(description), "start_marks": marks}, indent=2) + "\n")

    def forget(self) -> None:
        """Remove `dev.json`: nothing of this system runs any more."""
        self.description.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End what is still running of a system that was killed. Call it while holding the lock."""
        for pid in self._leftovers():
            _end(pid)
        self.forget()

    def _leftovers(self) -> list[int]:
        said = self._read_description()
        pids, marks = said.get("pids"), said.get("start_marks")
        if not isinstance(pids, dict) or not isinstance(marks, dict):
            return []
        return [pid for name, pid in pids.items() if marks.get(name) and _start_mark(pid) == marks[name]]

    def _read_description(self) -> dict[str, object]:
        try:
            said = json.loads(self.description.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def _who_holds_it(self) -> str:
        said = self._read_description()
        where = f", at {said['api_url']}" if "api_url" in said else ""
        return (
            f"A local system is already running in {self.path}{where}. "
            "Use it, stop it with Ctrl-C, or start another one with STATE_DIR and ports of its own "
            "(PORT, SUPABASE_PORT, DB_PORT, DEMO_PORT)."
        )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, replacing it in one step."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    draft.replace(path)


def _start_mark(pid: int) -> str | None:
    """When the process started, which together with its number names it for good; None when there is none."""
    if Path("/proc/self/stat").exists():
        try:
            # The name in parentheses may contain anything; field 3 (state) and 22 (start time) are counted after it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(["ps", "-p", str(pid), "-o", "lstart="], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return answer.stdout.strip() or None


def _end(pid: int) -> None:
    """Ask the process to end, as Postgres prefers it, and insist after a while."""
    mark = _start_mark(pid)
    for request in (signal.SIGINT, signal.SIGKILL):
        deadline = time.monotonic() + _REAP_SECONDS
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, request)
        while mark and _start_mark(pid) == mark:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
