"""Real processes, one key, one real Redis: the limit holds in every window, and what it allows is used."""

import asyncio
import json
import sys
from pathlib import Path
from uuid import uuid4

from supabase_integrations.core.start_log import MARGIN
from tests.redis.server import RedisServer

ROOT = Path(__file__).parents[2]
PROCESSES, REQUESTS, WINDOW, SECONDS = 4, 20, 0.5, 4.0


async def contend(url: str, service: str) -> list[float]:
    """The starts of one process's calls."""
    arguments = [url, service, str(REQUESTS), str(WINDOW), str(SECONDS)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.redis.contender", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0
    starts: list[float] = json.loads(printed)
    return starts


async def test_four_processes_hold_the_limit_in_every_window(redis_server: RedisServer) -> None:
    service = uuid4().hex
    by_process = await asyncio.gather(*(contend(redis_server.url, service) for _ in range(PROCESSES)))
    starts = sorted(start for process in by_process for start in process)

    assert all(later - first >= WINDOW for first, later in zip(starts, starts[REQUESTS:], strict=False))
    # What the limit allows from the first start to the last, each window one margin for the way and one to be late in.
    allowed = REQUESTS * (starts[-1] - starts[0]) / (WINDOW + 2 * MARGIN)
    print(f"{len(starts)} starts, {allowed:.0f} allowed, {[len(process) for process in by_process]} by process")
    # On a busy machine calls come late, and whoever comes late is given more time: that costs starts, and no window.
    assert len(starts) >= 0.4 * allowed
    assert all(process for process in by_process)
