"""The limiter on a real Redis: across limiters, through cancellation, and while the server is away."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from unittest import mock
from uuid import uuid4

import pytest

from supabase_integrations.adapters import redis_rate_limits
from supabase_integrations.adapters.redis_rate_limits import RedisRateLimits, open_redis_rate_limits
from supabase_integrations.core.errors import RateLimitedError
from supabase_integrations.core.rate_limits import RateLimit
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service_kinds import LimitScope
from supabase_integrations.core.start_log import MARGIN
from supabase_integrations.use_cases import shared_limits
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from supabase_integrations.use_cases.shared_call_queue import SharedCallQueue
from supabase_integrations.use_cases.shared_limits import AT_A_TIME
from tests.redis.server import RedisServer, is_left
from tests.starts import Starts, Watch

pytestmark = pytest.mark.usefixtures("patience")


WATCH = Watch()
"""The clock of all limiters here."""


@pytest.fixture
def service() -> str:
    return uuid4().hex


@asynccontextmanager
async def limiter(
    server: RedisServer, service: str, requests: int, window: float, *, longest: float = 30
) -> AsyncIterator[RateLimiter]:
    """As another process would have it."""
    async with open_redis_rate_limits(SecretStr(server.url)) as store:
        made = RateLimiter([], store, clock=WATCH)
        made.set_config(service, max_requests=requests, window=window, timeout=longest)
        yield made
        await made.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_told(one: RateLimiter) -> None:
    """Wait until the store knows all that it was to be told."""
    shared = one._shared
    assert shared
    await until(lambda: not shared._tasks)


async def all_of(*calls: Awaitable[object]) -> list[object]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_two_limiters_share_one_limit(redis_server: RedisServer) -> None:
    """And use what it allows. A busy machine may take that from them, by a second a window at most: in longer windows
    that is little."""
    for window in (0.3, 0.3, 1.0, 3.0, 10.0):
        service, starts = uuid4().hex, Starts(WATCH)
        async with (
            limiter(redis_server, service, 5, window, longest=120) as one,
            limiter(redis_server, service, 5, window, longest=120) as two,
        ):
            await all_of(*(each.throttle(service, starts.call) for _ in range(10) for each in (one, two)))
        assert len(starts) == 20
        assert starts.holds(5, window)
        if starts.duration < 8 * window:
            return
    pytest.fail("five times, 20 calls of which 5 may start in a window took longer than 8 windows")


async def test_calls_of_one_process_start_in_order(redis_server: RedisServer, service: str) -> None:
    order: list[int] = []

    def call(number: int) -> Callable[[], Awaitable[None]]:
        async def fn() -> None:
            order.append(number)

        return fn

    async with limiter(redis_server, service, 20, 0.2) as one:
        await all_of(*(one.throttle(service, call(number)) for number in range(100)))
    assert order == list(range(100))


async def test_under_random_cancellation_the_limit_holds_and_nothing_is_lost(
    redis_server: RedisServer, service: str
) -> None:
    random, starts, survivors = Random(11), Starts(WATCH), 0
    async with limiter(redis_server, service, 10, 0.2) as one, limiter(redis_server, service, 10, 0.2) as two:
        tasks = []
        for number in range(120):
            task = asyncio.create_task((one if number % 2 else two).throttle(service, starts.call))
            tasks.append(task)
            if random.random() < 0.5:
                asyncio.get_running_loop().call_later(random.uniform(0, 0.8), task.cancel)
            else:
                survivors += 1
            await asyncio.sleep(random.uniform(0, 0.004))
        await asyncio.wait_for(all_of(*tasks), 60)
        assert starts.holds(10, 0.2)
        assert len(starts) >= survivors
        line = one._services[service].find("")
        assert isinstance(line, SharedCallQueue)
        in_time = all(each._shared and each._shared.slack == MARGIN for each in (one, two))
    # What was used counts until a window after the last moment it was reserved for; nothing else is reserved any more.
    await asyncio.sleep(0.2 + 3 * MARGIN + (0 if in_time else shared_limits.LONGEST_SLACK))
    async with open_redis_rate_limits(SecretStr(redis_server.url)) as store:
        reserved = await store.reserve(line._key, RateLimit(10, 0.2), count=10, slack=MARGIN, longest=60)
    assert [each.wait for each in reserved.reservations] == [0.0] * 10


async def test_a_cancelled_reservation_is_free_for_the_other_process(redis_server: RedisServer, service: str) -> None:
    """The second start of the window is reserved, and its call is cancelled while it waits for it. Were it not free
    again, the other would have to wait for four seconds, and it is refused after three."""
    starts = Starts(WATCH)
    async with limiter(redis_server, service, 1, 2) as one, limiter(redis_server, service, 1, 2, longest=3) as two:
        await one.throttle(service, starts.call)
        line = one._services[service].find("")
        assert isinstance(line, SharedCallQueue)
        waiting = asyncio.create_task(one.throttle(service, starts.call))
        await until(lambda: bool(line._held))
        waiting.cancel()
        await all_of(waiting)
        await until_told(one)
        await two.throttle(service, starts.call)
    assert starts.holds(1, 2)


async def test_a_wait_that_is_too_long_is_refused_with_what_the_store_says(
    redis_server: RedisServer, service: str
) -> None:
    async with limiter(redis_server, service, 1, 60) as one, limiter(redis_server, service, 1, 60, longest=2) as two:
        began = time.monotonic()
        await one.acquire(service)
        with pytest.raises(RateLimitedError) as refused:
            await two.acquire(service)
        assert is_left(refused.value.retry_after.total_seconds(), 60 + MARGIN, began)
        two.set_config(service, queue_enabled=False)
        with pytest.raises(RateLimitedError):
            await two.acquire(service)


async def test_a_call_that_may_not_wait_starts_where_it_need_not(redis_server: RedisServer, service: str) -> None:
    async with limiter(redis_server, service, 5, 60, longest=0) as one:
        one.set_config(service, max_queue=0)
        assert await all_of(*(one.acquire(service) for _ in range(5))) == [None] * 5


async def test_a_penalty_slows_the_other_process(redis_server: RedisServer, service: str) -> None:
    starts = Starts(WATCH)
    async with limiter(redis_server, service, 5, 1) as one, limiter(redis_server, service, 5, 1) as two:
        began = time.monotonic()
        one.penalise(service, "", 2.0)
        await until_told(one)
        await two.throttle(service, starts.call)
        assert starts.spans[0][1] - began >= 2.0

        began = time.monotonic()
        one.penalise(service, "", 60.0)
        await until_told(one)
        with pytest.raises(RateLimitedError) as refused:
            await two.acquire(service)
    assert is_left(refused.value.retry_after.total_seconds(), 60.0, began)


async def test_a_burst_over_many_keys_opens_few_connections(redis_server: RedisServer, service: str) -> None:
    async with open_redis_rate_limits(SecretStr(redis_server.url)) as store:
        made = RateLimiter([], store)
        made.set_config(service, max_requests=1, window=60, per=LimitScope.ACCOUNT)
        before = await clients(store)
        assert await all_of(*(made.acquire(service, account=str(number)) for number in range(300))) == [None] * 300
        assert await clients(store) - before <= AT_A_TIME
        assert sum([1 async for _ in store._redis.scan_iter(f"*{service}*")]) == 300
        await made.aclose()


async def clients(store: RedisRateLimits) -> int:
    """How many connections the server has."""
    return int((await store._redis.info("clients"))["connected_clients"])


async def test_a_process_whose_loop_was_busy_gives_back_what_it_is_too_late_for(
    redis_server: RedisServer, service: str
) -> None:
    """Its reservation's moment passes while it is busy: used then, the call would come beside those of the others."""
    starts = Starts(WATCH)
    async with limiter(redis_server, service, 2, 0.4) as one:
        calls = [asyncio.create_task(one.throttle(service, starts.call)) for _ in range(8)]
        for _ in range(3):
            await asyncio.sleep(0.33)
            time.sleep(0.2)  # noqa: ASYNC251 - this is the busy loop
        await asyncio.wait_for(all_of(*calls), 60)
    assert len(starts) == 8
    assert starts.holds(2, 0.4)


async def test_without_redis_every_process_goes_on_by_itself_and_says_so_once(
    mortal_redis: RedisServer, service: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_limits, "FIRST_PAUSE", 0.2)
    starts = Starts(WATCH)
    with caplog.at_level(logging.INFO, "supabase_integrations.rate_limits"):
        async with limiter(mortal_redis, service, 5, 0.3) as one:
            await all_of(*(one.throttle(service, starts.call) for _ in range(8)))
            mortal_redis.stop()
            began = time.monotonic()
            await all_of(*(one.throttle(service, starts.call) for _ in range(10)))
            assert time.monotonic() - began < redis_rate_limits.ANSWER_SECONDS
            assert starts.holds(5, 0.3)
            assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["rate_limit.store_away"]

            await asyncio.sleep(0.4)
            assert one._shared
            with mock.patch.object(one._shared.store, "reserve") as reserve:
                await one.throttle(service, starts.call)
            assert reserve.mock_calls == [], "nobody waits for a Redis that is known to be away"

            mortal_redis.start()
            await until(lambda: len(caplog.records) == 2)
            assert caplog.records[1].getMessage().startswith("rate_limit.store_back")
            await all_of(*(one.throttle(service, starts.call) for _ in range(12)))
            assert starts.holds(5, 0.3)
            one.set_config("lasting", max_requests=1, window=60)
            await one.acquire("lasting")
        async with open_redis_rate_limits(SecretStr(mortal_redis.url)) as store:
            reserved = [name async for name in store._redis.scan_iter("*lasting*")]
        assert len(reserved) == 1, "what is started is reserved in Redis again"


async def test_a_redis_that_goes_away_while_calls_wait_lets_them_go_on(mortal_redis: RedisServer, service: str) -> None:
    starts = Starts(WATCH)
    async with limiter(mortal_redis, service, 5, 0.4) as one:
        calls = [asyncio.create_task(one.throttle(service, starts.call)) for _ in range(20)]
        await asyncio.sleep(0.2)
        mortal_redis.stop()
        await asyncio.wait_for(all_of(*calls), 60)
    assert len(starts) == 20
    assert starts.holds(5, 0.4)
