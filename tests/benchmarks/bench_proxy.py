"""A service called through `/api/integrations/{id}/proxy`, against the same service called directly: same client, same
nginx, in turns. Then one answer of 1 GB, with the memory of the API process; and what `wrk` gets from that nginx.

Everything shares this machine's processors: client, API, Data API, Postgres and nginx.
"""

import asyncio
import re
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import httpx
import uvloop
from _load import Request, keep_in_flight, ratio_by_turns, take_turns, together
from _nginx import running_nginx
from _processes import cpu_seconds, peak_megabytes, resident_megabytes
from _system import LocalSystem, free_ports, sign_up
from _table import print_table, ratio

from tests.local_system import DevProcess

TURNS, SECONDS = 5, 2.0
LARGE_BYTES = 1_000_000_000
SERVICES = """
[service.nginx]
display_name = "nginx"
service_type = "crm"
auth = "api_key"
api_base_url = "{url}/api"
"""


def main() -> None:
    with TemporaryDirectory(prefix="integrations-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (port,) = free_ports(1)
        with running_nginx(folder, port, LARGE_BYTES) as url:
            services = folder / "services.toml"
            services.write_text(SERVICES.format(url=url))
            dev = DevProcess(folder / "state", {"PROVIDERS_FILE": str(services)})
            try:
                system = dev.start()
                uvloop.run(measure(system, url))
            finally:
                dev.stop()


async def measure(system: LocalSystem, url: str) -> None:
    user = await sign_up(system)
    async with httpx.AsyncClient(base_url=system.api_url, headers=user.authorization, trust_env=False) as api:
        body = {"service_name": "nginx", "credentials": {"api_key": "Zk3v9QpL7xT2-mW8sR4yBn6Hd1Jc"}}
        row = (await api.post("/api/integrations", json=body)).raise_for_status().json()
    proxied = f"{system.api_url}/api/integrations/{row['id']}/proxy"
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(connector=connector, headers=user.authorization) as client:
        await calls(client, f"{url}/api/small", f"{proxied}/small", url, system.pids["api"])
        await one_large_answer(client, f"{url}/api/large", f"{proxied}/large", system.pids["api"])


async def calls(client: aiohttp.ClientSession, direct: str, through: str, url: str, api_pid: int) -> None:
    candidates = {"directly": getting(client, direct), "through the proxy": getting(client, through)}
    rows, ours_at_ten = [], 0.0
    for in_flight in (1, 10, 20, 100):
        samples = await take_turns(candidates, in_flight=in_flight, turns=TURNS, seconds=SECONDS)
        theirs, ours = (together(samples[name]) for name in candidates)
        if in_flight == 10:
            ours_at_ten = ours.per_second
        slower = ratio_by_turns(samples["through the proxy"], samples["directly"], lambda sample: sample.per_second)
        rows.append(
            (
                str(in_flight),
                *(f"{sample.milliseconds(share):.2f}" for share in (0.5, 0.99) for sample in (theirs, ours)),
                f"{ours.milliseconds(0.5) - theirs.milliseconds(0.5):.2f}",
                f"{theirs.per_second:.0f}",
                f"{ours.per_second:.0f}",
                f"{slower:.3f}",
            )
        )
    columns = (
        "in flight",
        "p50 direct",
        "p50 ours",
        "p99 direct",
        "p99 ours",
        "added",
        "/s direct",
        "/s ours",
        "ratio",
    )
    print_table("A small answer, in ms", columns, rows, packages=("aiohttp", "uvicorn", "fastapi"))
    before = cpu_seconds(api_pid)
    sample = await keep_in_flight(candidates["through the proxy"], 20, 2 * SECONDS)
    used = (cpu_seconds(api_pid) - before) / len(sample.latencies) * 1000
    wrk = await asyncio.to_thread(requests_of_wrk, f"{url}/api/small")
    print(f"The API process uses {used:.2f} ms of processor time for a call.")
    print(
        f"wrk, 10 connections, directly: {wrk:.0f}/s; through the proxy, 10 in flight: 1/{wrk / ours_at_ten:.0f} of it"
    )


def requests_of_wrk(url: str) -> float:
    """What wrk gets from one thread and ten connections."""
    said = subprocess.run(["wrk", "-t1", "-c10", "-d4s", url], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return float(found[1])


def getting(client: aiohttp.ClientSession, url: str) -> Request:
    async def get() -> None:
        async with client.get(url) as reply:
            assert reply.status == 200, await reply.text()
            await reply.read()

    return get


async def one_large_answer(client: aiohttp.ClientSession, direct: str, through: str, api_pid: int) -> None:
    idle = resident_megabytes(api_pid)
    theirs, ours = await received(client, direct), await received(client, through)
    rows = [
        ("directly", f"{theirs:.1f}", f"{LARGE_BYTES / theirs / 1e6:.0f}", ""),
        ("through the proxy", f"{ours:.1f}", f"{LARGE_BYTES / ours / 1e6:.0f}", ratio(ours, theirs)),
    ]
    print_table("One answer of 1 GB", ("", "seconds", "MB/s", "ratio"), rows)
    print(f"Memory of the API process: {idle:.0f} MB before, {peak_megabytes(api_pid):.0f} MB at its highest")


async def received(client: aiohttp.ClientSession, url: str) -> float:
    """Seconds until all of it has come."""
    began, size = time.perf_counter(), 0
    async with client.get(url, timeout=aiohttp.ClientTimeout(total=600)) as reply:
        assert reply.status == 200, await reply.text()
        async for chunk in reply.content.iter_any():
            size += len(chunk)
    assert size > 0.99 * LARGE_BYTES, size
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
