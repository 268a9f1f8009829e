"""Real processes, one key, one real Redis: the limit holds in every window, and what it allows is used."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import uuid4

from supabase_integrations.core.start_log import MARGIN
from tests.redis.server import RedisServer
from tests.starts import hold

ROOT = Path(__file__).parents[2]
PROCESSES, REQUESTS, WINDOW, SECONDS = 4, 20, 0.5, 4.0


async def contender(url: str, service: str) -> asyncio.subprocess.Process:
    """A process that is ready to begin."""
    arguments = [url, service, str(REQUESTS), str(WINDOW), str(SECONDS)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.redis.contender", *arguments, cwd=ROOT, stdin=pipe, stdout=pipe
    )
    assert process.stdout
    assert await asyncio.wait_for(process.stdout.readline(), 90) == b"ready\n"
    return process


async def contend(process: asyncio.subprocess.Process) -> tuple[list[tuple[float, float]], float]:
    """The starts of its calls, and the most time that one of them was given to be late in."""
    printed, _ = await asyncio.wait_for(process.communicate(b"begin\n"), 90)
    assert process.returncode == 0
    said = json.loads(printed)
    return [(counted, called) for counted, called in said["starts"]], said["slack"]


async def test_four_processes_hold_the_limit_in_every_window(redis_server: RedisServer) -> None:
    service = uuid4().hex
    ready = await asyncio.gather(*(contender(redis_server.url, service) for _ in range(PROCESSES)))
    told = await asyncio.gather(*map(contend, ready))
    starts = sorted(start for process, _ in told for start in process)

    assert hold(starts, REQUESTS, WINDOW)
    # What the limit allows from the first start to the last, each window one margin for the way and one time to be late
    # in. On a busy machine calls come late, and whoever comes late is given more of it: that costs starts, no window.
    allowed = REQUESTS * (starts[-1][1] - starts[0][1]) / (WINDOW + MARGIN + max(slack for _, slack in told))
    print(f"{len(starts)} starts, {allowed:.0f} allowed, {[len(process) for process, _ in told]} by process")
    assert len(starts) >= 0.4 * allowed
    assert all(process for process, _ in told)
