"""`GET /api/integrations` against the same Data API request sent directly: same user, same query, same HTTP client.

Everything runs on this machine and shares its processors: this client, the API, the Data API and Postgres. The second
table says how much processor time each of them took for a request.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import uvloop
from _load import Request, Sample, keep_in_flight, ratio_by_turns, take_turns, together
from _processes import cpu_seconds
from _system import LocalSystem, User, add_connections, running_system, sign_up
from _table import print_table

from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.data_api import DataApi
from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.adapters.integration_list import list_address
from supabase_integrations.core.models import ListQuery
from supabase_integrations.core.secret import SecretStr

CONNECTIONS = (10, 50)
IN_FLIGHT = (1, 20, 100)
TURNS, SECONDS = 6, 0.5
FIGURES: dict[str, tuple[Callable[[Sample], float], int]] = {
    "p50 ms": (lambda sample: sample.milliseconds(0.5), 2),
    "p99 ms": (lambda sample: sample.milliseconds(0.99), 2),
    "requests/s": (lambda sample: sample.per_second, 0),
}
"""What is measured, and with how many digits it is printed."""

DIRECT, OURS = "Data API", "/api/integrations"
SENDER, SERVICES = "this client", {"API": "api", "Data API": "supabase", "Postgres": "postgres"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """Both candidates' turns under one load."""

    connections: int
    in_flight: int
    direct: list[Sample]
    ours: list[Sample]

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The lines of the table: each candidate, then what one is of the other."""
        what = f"{self.connections} connections, {self.in_flight} in flight"
        for name, turns in ((DIRECT, self.direct), (OURS, self.ours)):
            yield f"{what}: {name}", *(f"{figure(together(turns)):.{digits}f}" for figure, digits in FIGURES.values())
        yield "  ratio", *(f"{ratio_by_turns(self.ours, self.direct, figure):.2f}" for figure, _ in FIGURES.values())


def main() -> None:
    """Measure and print."""
    with running_system() as system:
        measurements, processor_time = uvloop.run(measure(system))
    print_table(
        "GET /api/integrations, against the same request to the Data API",
        ("", *FIGURES),
        [row for measurement in measurements for row in measurement.rows()],
        packages=("fastapi", "uvicorn", "httpx", "aiohttp", "postgrest"),
    )
    print_table(
        "Processor time a request, 10 connections, 20 in flight", ("", "ms", "of all"), list(shares(processor_time))
    )


async def measure(system: LocalSystem) -> tuple[list[Measurement], dict[str, dict[str, float]]]:
    """Every load in turn, then the processor time under one of them."""
    measurements = []
    async with open_http_pool() as http:
        users = {count: await sign_up(system) for count in CONNECTIONS}
        for count, user in users.items():
            await add_connections(system, user, count)
        for count, user in users.items():
            requests = candidates(system, user, http, count)
            for in_flight in IN_FLIGHT:
                samples = await take_turns(requests, in_flight=in_flight, turns=TURNS, seconds=SECONDS)
                measurements.append(Measurement(count, in_flight, samples[DIRECT], samples[OURS]))
        requests = candidates(system, users[10], http, 10)
        return measurements, {name: await processor_time(system, request) for name, request in requests.items()}


def candidates(system: LocalSystem, user: User, http: httpx.AsyncClient, connections: int) -> dict[str, Request]:
    """The two requests. What the direct one asks for is what the API would ask for."""
    api = DataApi(http, system.supabase_url, system.publishable_key, SecretStr(user.access_token), SystemClock())
    address = list_address(api.table("integrations"), ListQuery())
    headers = {"apikey": system.publishable_key, **user.authorization}

    async def direct() -> None:
        require(await http.get(address, headers=headers), b'"credential_version"')

    async def ours() -> None:
        require(await http.get(f"{system.api_url}/api/integrations", headers=user.authorization), b'"display_name"')

    def require(reply: httpx.Response, field: bytes) -> None:
        if reply.status_code != 200 or reply.content.count(field) != connections:
            raise AssertionError(f"{reply.request.url} answered {reply.status_code}: {reply.text[:200]}")

    return {DIRECT: direct, OURS: ours}


async def processor_time(system: LocalSystem, request: Request) -> dict[str, float]:
    """Milliseconds of processor time that each process spends on one request."""
    pids = {name: system.pids[child] for name, child in SERVICES.items()}

    def used() -> dict[str, float]:
        here = {SENDER: sum(os.times()[:2])}
        return here | {name: cpu_seconds(pid) for name, pid in pids.items()}

    before = used()
    sample = await keep_in_flight(request, 20, 4 * SECONDS)
    return {name: (after - before[name]) / len(sample.latencies) * 1000 for name, after in used().items()}


def shares(processor_time: dict[str, dict[str, float]]) -> Iterator[tuple[str, ...]]:
    """The lines of the second table."""
    for candidate, by_process in processor_time.items():
        whole = sum(by_process.values())
        yield candidate, f"{whole:.2f}", ""
        for process, milliseconds in by_process.items():
            yield f"  {process}", f"{milliseconds:.2f}", f"{milliseconds / whole:.0%}"


if __name__ == "__main__":
    main()
