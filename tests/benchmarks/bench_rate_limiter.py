"""The rate limiter against `limits`, `pyrate-limiter` and `aiolimiter`, in one run: speed, and whether limits hold.

Speed is of starts that nobody has to wait for, one after another on one key: the best of several rounds, in which every
candidate takes its turn. Whether a limit of 10 a second holds is seen under the load that parts logs from buckets: one
call, 30 just before its window ends, 30 just after, then more. `limits` has no waiting, so it is polled. How long an
idle key waits behind an exhausted one is asked of those that have keys. Redis is measured where redis-server is there.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from _table import print_table, ratio
from aiolimiter import AsyncLimiter
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from limits.aio.strategies import RateLimiter as PolledLimiter
from pyrate_limiter import Duration, Limiter, Rate

from supabase_integrations.adapters.redis_rate_limits import open_redis_rate_limits
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service_kinds import LimitScope
from supabase_integrations.use_cases.rate_limiter import RateLimiter

# `python FILE` makes the file's own folder importable, and not the repository's.
sys.path.append(str(Path(__file__).parents[2]))

from tests.redis.server import RedisServer

ROUNDS, CALLS = 8, 20_000
PLENTY = 1_000_000
"""A second: more than anybody reaches in a round."""
FEW = 10
POLL_SECONDS = 0.005
REDIS_CALLS = 5_000

Acquire = Callable[[str], Awaitable[object]]
"""Returns when a call of this key may start."""


def ours(requests: int) -> Acquire:
    limiter = RateLimiter([])
    limiter.set_config("crm", max_requests=requests, window=1, per=LimitScope.ACCOUNT, max_queue=100_000)
    return lambda key: limiter.acquire("crm", account=key)


def ours_with_a_function(requests: int) -> Acquire:
    limiter = RateLimiter([])
    limiter.set_config("crm", max_requests=requests, window=1, per=LimitScope.ACCOUNT, max_queue=100_000)

    async def fn() -> None:
        pass

    return lambda key: limiter.throttle("crm", fn, account=key)


def polled(kind: type[PolledLimiter]) -> Callable[[int], Acquire]:
    def candidate(requests: int) -> Acquire:
        limiter, item = kind(MemoryStorage()), RateLimitItemPerSecond(requests)

        async def acquire(key: str) -> None:
            while not await limiter.hit(item, key):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(POLL_SECONDS)

        return acquire

    return candidate


def pyrate(requests: int) -> Acquire:
    limiter = Limiter(Rate(requests, Duration.SECOND))
    return limiter.try_acquire_async


def leaky(requests: int) -> Acquire:
    limiter = AsyncLimiter(requests, 1)
    return lambda _: limiter.acquire()


CANDIDATES: dict[str, Callable[[int], Acquire]] = {
    "RateLimiter.acquire": ours,
    "RateLimiter.throttle": ours_with_a_function,
    "limits, moving window": polled(MovingWindowRateLimiter),
    "limits, sliding counter": polled(SlidingWindowCounterRateLimiter),
    "pyrate-limiter": pyrate,
    "aiolimiter": leaky,
}
ONE_KEY = {"aiolimiter"}


async def speeds() -> dict[str, float]:
    """Starts a second in the best round of each."""
    best = dict.fromkeys(CANDIDATES, 0.0)
    for _ in range(ROUNDS):
        for name, candidate in CANDIDATES.items():
            acquire = candidate(PLENTY)
            await acquire("key")
            began = time.perf_counter()
            for _ in range(CALLS):
                await acquire("key")
            best[name] = max(best[name], CALLS / (time.perf_counter() - began))
    return best


async def worst_window(candidate: Callable[[int], Acquire]) -> int:
    """The most starts in any second, 2 ms less for what the clock and the event loop cost."""
    acquire, starts = candidate(FEW), list[float]()

    async def call() -> None:
        await acquire("key")
        starts.append(time.monotonic())

    calls = [asyncio.create_task(call())]
    for pause, count in ((0.95, 30), (0.07, 30), (0.5, 10)):
        await asyncio.sleep(pause)
        calls += [asyncio.create_task(call()) for _ in range(count)]
    await asyncio.gather(*calls)
    starts.sort()
    return max(sum(first <= start < first + 0.998 for start in starts) for first in starts)


async def idle_wait(candidate: Callable[[int], Acquire]) -> float:
    """Seconds that a key nobody uses waits while another one is exhausted and waited for."""
    acquire = candidate(FEW)
    busy = [asyncio.create_task(_forever(acquire)) for _ in range(3 * FEW)]
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await acquire("idle")
    waited = time.monotonic() - began
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    return waited


async def _forever(acquire: Acquire) -> None:
    while True:
        await acquire("busy")


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    with TemporaryDirectory(prefix="integrations-benchmark-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


async def redis_speed(url: str, tasks: int, keys: int) -> float:
    """Starts a second that this many tasks reserve, each on one of the keys."""
    async with open_redis_rate_limits(SecretStr(url)) as store:
        limiter = RateLimiter([], store)
        limiter.set_config("crm", max_requests=PLENTY, window=60, per=LimitScope.ACCOUNT)

        async def work(number: int) -> None:
            for _ in range(REDIS_CALLS // tasks):
                await limiter.acquire("crm", account=str(number % keys))

        await asyncio.gather(*(work(number) for number in range(tasks)))
        began = time.perf_counter()
        await asyncio.gather(*(work(number) for number in range(tasks)))
        return REDIS_CALLS / (time.perf_counter() - began)


async def main() -> None:
    """Measure and print."""
    speed = await speeds()
    rows = []
    for name, candidate in CANDIDATES.items():
        idle = "–" if name in ONE_KEY else f"{await idle_wait(candidate) * 1e3:.1f}"
        worst = await worst_window(candidate)
        rows.append((name, f"{speed[name]:,.0f}", ratio(speed[name], speed["RateLimiter.acquire"]), f"{worst}", idle))
    print_table(
        "In memory, one process",
        ("", "starts/s", "× ours", f"worst second of {FEW}", "idle key waits, ms"),
        rows,
        packages=("limits", "pyrate-limiter", "aiolimiter"),
    )
    if shutil.which("redis-server"):
        with redis_server() as server:
            shapes = ((1, 1), (50, 1), (50, 50))
            measured = [(tasks, keys, await redis_speed(server.url, tasks, keys)) for tasks, keys in shapes]
        print_table(
            "Reserved in Redis, one process",
            ("tasks", "keys", "starts/s"),
            [(f"{tasks}", f"{keys}", f"{rate:,.0f}") for tasks, keys, rate in measured],
            packages=("redis",),
        )


if __name__ == "__main__":
    asyncio.run(main())
