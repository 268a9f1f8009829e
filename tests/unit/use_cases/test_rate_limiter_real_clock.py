"""The limiter on real event loops and the machine's own clock, with a loop that is sometimes busy."""

import asyncio
import time
from collections.abc import Callable
from random import Random

import pytest
import uvloop

from supabase_integrations.use_cases.rate_limiter import RateLimiter
from tests.starts import Starts, Watch

REQUESTS, WINDOW, CALLS = 10, 0.25, 60


async def load() -> tuple[Starts, list[int]]:
    """When calls started, and which, by the order they were made in."""
    random, watch, order = Random(3), Watch(), list[int]()
    starts, limiter = Starts(watch), RateLimiter([], clock=watch)
    limiter.set_config("crm", max_requests=REQUESTS, window=WINDOW)

    async def call(number: int) -> None:
        async def fn() -> None:
            starts.note()
            order.append(number)

        await limiter.throttle("crm", fn)

    async def busy() -> None:
        while True:
            await asyncio.sleep(random.uniform(0, 0.1))
            time.sleep(random.uniform(0, 0.06))  # noqa: ASYNC251 - this is the busy loop

    disturbance = asyncio.create_task(busy())
    tasks = [asyncio.create_task(call(0))]
    for pause, count in ((0.95 * WINDOW, 25), (0.07 * WINDOW, 25), (WINDOW, CALLS - 51)):
        await asyncio.sleep(pause)
        tasks += [asyncio.create_task(call(len(tasks) + more)) for more in range(count)]
    for task in random.sample(tasks[1:], 15):
        asyncio.get_running_loop().call_later(random.uniform(0, WINDOW), task.cancel)
    async with asyncio.timeout(120):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    disturbance.cancel()
    await limiter.aclose()
    assert len(starts) >= sum(error is None for error in ended)
    return starts, order


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_the_limit_and_the_order_hold(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        starts, order = runner.run(load())
    assert len(starts) >= CALLS - 15
    assert starts.holds(REQUESTS, WINDOW)
    assert order == sorted(order)
