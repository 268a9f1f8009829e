"""The state directory of one local system: its lock, its secrets, its logs and its description of itself.

Only one system runs per directory: the first holds a lock that the kernel releases however it dies. `dev.json`
describes a system that is ready, for tests and outside tools, and `dev.env` has its settings, for commands beside it;
both are removed at the end. `processes.json` lists its processes from their start on; when a killed system left it
behind, the next start ends what still runs of it, recognising each process by its start time, never by its number
alone.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .errors import LocalStackError
from .pids import start_mark

_OURS = (
    "postgres",
    ".postgres.draft",
    ".postgres.password",
    ".lite",
    "lite.toml",
    "demo-crm.jsonl",
    "demo-crm.jsonl.draft",
    "logs",
    "journal",
    "secrets.json",
    "dev.json",
    "dev.env",
    "processes.json",
)
"""What a reset removes; anything else in the directory is somebody else's."""

_REAP_SECONDS = 10.0

_T = TypeVar("_T", list[dict[str, Any]], dict[str, Any])


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
    worker_database_url: str = field(repr=False)
    """As the worker's role; empty when the database is not ours and none was given."""
    demo_url: str
    pids: Mapping[str, int]
    """By name: `dev` is the supervisor itself."""
    state_dir: str
    log_dir: str


class StateDirectory:
    """The files of one local system. `locked` holds it for one process; the rest expects to be called by that one."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.cluster = self.path / "postgres"
        self.logs = self.path / "logs"
        self.lite_config = self.path / "lite.toml"
        self.demo_store = self.path / "demo-crm.jsonl"
        self.secrets = self.path / "secrets.json"
        self.description = self.path / "dev.json"
        self.settings = self.path / "dev.env"
        self._processes = self.path / "processes.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process, and make it where there is none.

        Raises LocalStackError when it is taken, naming the running system, or cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.path / "lock").open("a")
        except OSError as error:
            raise LocalStackError(
                f"STATE_DIR: {self.path} cannot be used ({error.strerror}). Set STATE_DIR to a directory on a local "
                "disk that this user can write to."
            ) from None
        with lock:
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

    def describe(self, description: Description, settings: Mapping[str, str]) -> None:
        """Write `dev.env` and then `dev.json`, each in one step, so that no reader sees half of it."""
        write_private(self.settings, "".join(f"{name}={_quoted(value)}\n" for name, value in settings.items()))
        write_private(self.description, json.dumps(asdict(description), indent=2) + "\n")

    def withdraw(self) -> None:
        """Remove both again: the system is no longer ready."""
        self.description.unlink(missing_ok=True)
        self.settings.unlink(missing_ok=True)

    def record_processes(self, pids: Mapping[str, int]) -> None:
        """Note which processes a killed system would leave."""
        marks = [{"name": name, "pid": pid, "started": start_mark(pid)} for name, pid in pids.items()]
        write_private(self._processes, json.dumps(marks, indent=2) + "\n")

    def forget(self) -> None:
        """Remove what says that something runs: nothing of this system does any more."""
        self.withdraw()
        self._processes.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End what still runs of a system that was killed. Call it while holding the lock."""
        for entry in _read_json(self._processes, list):
            if entry["started"] and start_mark(entry["pid"]) == entry["started"]:
                _end(entry["pid"], entry["started"])
        self.forget()

    def _who_holds_it(self) -> str:
        said = _read_json(self.description, dict)
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


def _quoted(value: str) -> str:
    """As a .env file has it, and a shell as well, but for an apostrophe."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _end(pid: int, mark: str) -> None:
    """Ask the process to end, as Postgres prefers it, and insist after a while."""
    for request in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, request)
        deadline = time.monotonic() + _REAP_SECONDS
        while start_mark(pid) == mark and time.monotonic() < deadline:
            time.sleep(0.05)


def _read_json(path: Path, kind: type[_T]) -> _T:
    """What a file of ours says, or nothing when it is missing or was half written."""
    try:
        said = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return kind()
    return said if isinstance(said, kind) else kind()
