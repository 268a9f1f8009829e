"""From `integrations serve` to the first 200, and the memory it takes, against FastAPI that only says hello.

Supabase is up already. Both are started in turns, each as a process of its own, with the same interpreter and server.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import httpx
import uvloop
from _load import Request, keep_in_flight
from _processes import cpu_seconds, peak_megabytes, resident_megabytes
from _system import LocalSystem, User, add_connections, free_ports, running_system, sign_up
from _table import print_table, ratio

from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.core.encryption import Encryption

HOST = "127.0.0.1"
STARTS = 7
START_LIMIT_SECONDS = 30
IN_FLIGHT, LOAD_SECONDS = 100, 6

OURS, HELLO = "integrations serve", "FastAPI saying hello"
COMMANDS = {
    OURS: [sys.executable, "-m", "supabase_integrations", "serve"],
    HELLO: [sys.executable, str(Path(__file__).with_name("_hello.py"))],
}


@dataclass(frozen=True, slots=True)
class Started:
    """A server that has answered, and what it took until then."""

    url: str
    pid: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MB."""

    idle: float
    loaded: float
    peak: float


def main() -> None:
    """Measure and print."""
    with running_system() as system:
        starts = measure_starts(system)
        memory = measure_memory(system)
    print_table("Start to the first 200 of /healthz", ("", "median s", "fastest s", "processor s"), start_rows(starts))
    print_table(
        f"Resident memory in MB: idle, and with {IN_FLIGHT} requests in flight for {LOAD_SECONDS} s",
        ("", "idle", "after", "peak"),
        memory_rows(memory),
        packages=("fastapi", "uvicorn", "pydantic"),
    )


def measure_starts(system: LocalSystem) -> dict[str, list[Started]]:
    """Each started again and again, in turns; the first time, which may compile modules, is not counted."""
    starts: dict[str, list[Started]] = {name: [] for name in COMMANDS}
    for _ in range(1 + STARTS):
        for name, found in starts.items():
            with started(name, system) as server:
                found.append(server)
    return {name: found[1:] for name, found in starts.items()}


def measure_memory(system: LocalSystem) -> dict[str, Memory]:
    """Each started once and loaded: one with lists of 50 connections, the other with hellos."""
    found = {}
    for name in COMMANDS:
        with started(name, system) as server:
            found[name] = uvloop.run(memory_of(name, server, system))
    return found


async def memory_of(name: str, server: Started, system: LocalSystem) -> Memory:
    """The memory of a server before and after load."""
    async with open_http_pool() as http:
        request = hello(http, server)
        if name == OURS:
            user = await sign_up(system)
            await add_connections(system, user, 50)
            request = lists(http, server, user)
        await request()
        idle = resident_megabytes(server.pid)
        await keep_in_flight(request, IN_FLIGHT, LOAD_SECONDS)
    return Memory(idle, resident_megabytes(server.pid), peak_megabytes(server.pid))


def hello(http: httpx.AsyncClient, server: Started) -> Request:
    """A request that needs nobody else."""

    async def send() -> None:
        (await http.get(f"{server.url}/healthz")).raise_for_status()

    return send


def lists(http: httpx.AsyncClient, server: Started, user: User) -> Request:
    """A user's list."""

    async def send() -> None:
        (await http.get(f"{server.url}/api/integrations", headers=user.authorization)).raise_for_status()

    return send


@contextmanager
def started(name: str, system: LocalSystem) -> Iterator[Started]:
    """Start a server on a free port, wait for its first 200, and stop it when the block ends."""
    (port,) = free_ports(1)
    arguments = [str(port)] if name == HELLO else []
    begin = time.perf_counter()
    process = subprocess.Popen(
        COMMANDS[name] + arguments,
        env=environment(system, port),
        cwd=system.state_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_a_200(port, process)
        yield Started(f"http://{HOST}:{port}", process.pid, time.perf_counter() - begin, cpu_seconds(process.pid))
    finally:
        process.terminate()
        process.wait(START_LIMIT_SECONDS)


def wait_for_a_200(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Ask every few milliseconds, over a new connection each time, as a load balancer would."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers(port):
            return
        time.sleep(0.005)
    raise AssertionError(f"Nothing answered with 200 on port {port}; the process ended with {process.poll()}.")


def answers(port: int) -> bool:
    """Whether /healthz is answered with 200."""
    # The standard library's client, because making an httpx client takes longer than the pause between two questions.
    connection = HTTPConnection(HOST, port, timeout=START_LIMIT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def environment(system: LocalSystem, port: int) -> Mapping[str, str]:
    """What `integrations serve` is told of the running system."""
    settings = {
        "ENVIRONMENT": "development",
        "HOST": HOST,
        "PORT": str(port),
        "APP_URL": f"http://{HOST}:{port}",
        "SUPABASE_URL": system.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": system.publishable_key,
        "SUPABASE_JWT_SECRET": system.jwt_secret,
        "ENCRYPTION_KEY": Encryption.generate_key(),
        "STATE_DIR": str(system.state_dir),
    }
    # Where the environment forbids to keep compiled modules, every start would compile them again.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **settings}


def start_rows(starts: Mapping[str, list[Started]]) -> list[tuple[str, ...]]:
    """The lines of the first table, the last one the ratio."""
    measured = {
        name: (
            median(start.seconds for start in found),
            min(start.seconds for start in found),
            median(start.cpu_seconds for start in found),
        )
        for name, found in starts.items()
    }
    return with_ratio(measured, digits=2)


def memory_rows(memory: Mapping[str, Memory]) -> list[tuple[str, ...]]:
    """The lines of the second table, the last one the ratio."""
    return with_ratio({name: (each.idle, each.loaded, each.peak) for name, each in memory.items()}, digits=0)


def with_ratio(measured: Mapping[str, tuple[float, ...]], digits: int) -> list[tuple[str, ...]]:
    """A line for each, and one for what the first is of the second."""
    ours, hello = measured.values()
    lines = [(name, *(f"{figure:.{digits}f}" for figure in figures)) for name, figures in measured.items()]
    return [*lines, ("  ratio", *map(ratio, ours, hello))]


if __name__ == "__main__":
    main()
