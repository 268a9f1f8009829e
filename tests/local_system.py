"""Starts and describes a local system for tests: the same `integrations dev` that a developer runs, as a process."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from supabase_integrations.local.pids import start_mark

START_SECONDS = 240
STOP_SECONDS = 60

_given: set[int] = set()
_PORT_NAMES = ("PORT", "SUPABASE_PORT", "DB_PORT", "DEMO_PORT")
_NOT_FOR_TESTS = (
    *("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "DATABASE_URL", "APP_URL", "RESET"),
    *("WORKER", "WORKER_DATABASE_URL", "WORKER_LISTEN_URL"),
)


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """What a running system's dev.json says."""

    api_url: str
    supabase_url: str
    publishable_key: str
    database_url: str
    """As the migrating role."""
    jwt_secret: str
    worker_database_url: str
    """As the worker's role."""
    demo_url: str
    pids: dict[str, int]
    state_dir: Path
    log_dir: Path
    """The logs of every child, and `dev.log` with what the supervisor itself printed."""

    @classmethod
    def read(cls, description: Path) -> Self:
        said = json.loads(description.read_text("utf-8"))
        said["state_dir"], said["log_dir"] = Path(said["state_dir"]), Path(said["log_dir"])
        return cls(**said)


class DevProcess:
    """One `integrations dev` with a state directory of its own; started, stopped and started again."""

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.ports = dict(zip(_PORT_NAMES, free_ports(len(_PORT_NAMES)), strict=True))
        self._environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def dev_json(self) -> Path:
        return self.state_dir / "dev.json"

    @property
    def log(self) -> Path:
        return self.state_dir / "logs" / "dev.log"

    def start(self, **environment: str) -> LocalSystem:
        """Start it and wait until it is ready; what it printed is in the failure when it does not get there."""
        self.process = self.launch(**environment)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.dev_json.exists():
                return LocalSystem.read(self.dev_json)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise AssertionError(f"The local system did not start:\n{self.log.read_text()}")

    def launch(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start the process and return at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "supabase_integrations", "dev", "--parent", str(os.getpid())],
                env=self.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run_to_its_end(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        """For starts that must fail: wait and return what was printed."""
        return subprocess.run(
            [sys.executable, "-m", "supabase_integrations", "dev", "--parent", str(os.getpid())],
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def environment(self, **more: str) -> dict[str, str]:
        own = {name: str(port) for name, port in self.ports.items()} | {"STATE_DIR": str(self.state_dir)}
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_TESTS}
        return {**inherited, **own, **self._environment, **more}

    def stop(self) -> int | None:
        """Stop it as Ctrl-C or a service manager would, and return its exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        return stop_process(process, STOP_SECONDS)


def stop_process(process: "subprocess.Popen[bytes]", seconds: float) -> int:
    """End a process and return its exit status. One that does not end within so many seconds is killed, and raises."""
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below the range from which the system picks ports for outgoing connections.

    None is given twice: who was given it may not listen yet, or have stopped for a moment.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randint(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        found.add(port)
    return list(found)


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be collected by its parent does not."""
    return start_mark(pid) is not None
