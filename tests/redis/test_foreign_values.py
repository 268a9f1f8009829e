"""Keys of ours under which somebody else has written: the limit begins anew, a warning says so, and no call fails."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import cycle
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from supabase_integrations.adapters.redis_rate_limits import RedisRateLimits, open_redis_rate_limits
from supabase_integrations.core.errors import StoreUnavailableError
from supabase_integrations.core.rate_limits import RateLimit
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from tests.redis.server import RedisServer, is_left
from tests.redis.test_limiter_on_redis import WATCH, all_of, limiter
from tests.starts import Starts

LIMIT = RateLimit(3, 10.0)
SLACK = 0.02

Spoil = Callable[[Redis, str], Awaitable[object]]


def listed(*entries: str | bytes) -> Spoil:
    return lambda redis, name: redis.rpush(name, *entries)


FAR = "9" * 16
KINDS: dict[str, Spoil] = {
    "text": lambda redis, name: redis.set(name, "canary"),
    "number": lambda redis, name: redis.incr(name),
    "bytes": lambda redis, name: redis.set(name, b"\xff\x00"),
    "hash": lambda redis, name: redis.hset(name, "a", "1"),
    "set": lambda redis, name: redis.sadd(name, "1"),
    "sorted set": lambda redis, name: redis.zadd(name, {"a": 1}),
    "stream": lambda redis, name: redis.xadd(name, {"a": "1"}),
    "words": listed("canary", "canary"),
    "no UTF-8": listed(b"\xff\xfe", b"\xff"),
    "nothing": listed("", ""),
    "not a number": listed("nan", "nan"),
    "without end": listed("inf", "inf"),
    "below zero": listed("-5", "-5"),
    "fraction": listed("1.5", "1e300"),
    "hexadecimal": listed("0xff", "0xff"),
    "spaces": listed(" 1 ", "1\n"),
    "a penalty of centuries": listed(FAR, "0"),
    "starts in centuries": listed("0", FAR, FAR, FAR),
    "the first start": listed("0", "canary"),
    "the last start": listed("0", "1", "canary"),
    "digits without end": listed("0", "9" * 400),
}


@pytest.fixture
def key() -> str:
    return f"crm:{uuid4().hex}"


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
async def spoilt(request: pytest.FixtureRequest, redis: Redis, key: str) -> str:
    """The name of a key that holds what is not ours, for ever."""
    name = f"integrations:rate:{{{key}}}"
    await request.param(redis, name)
    return name


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_reservation_begins_a_new_list_and_says_so_once(
    store: RedisRateLimits, redis: Redis, key: str, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    for _ in range(2):
        reserved = await store.reserve(key, LIMIT, count=2, slack=SLACK, longest=60)
        assert reserved.refused is None
    at_once, later = [each.wait for each in reserved.reservations]
    assert at_once == 0.0
    assert is_left(later, 10.0 + SLACK, began)
    assert await redis.type(spoilt) == b"list"
    assert 0 < await redis.pttl(spoilt) <= 20_100
    (told,) = warnings(caplog)
    assert told.startswith("rate_limit.key_replaced")
    assert " crm;" in told
    assert key.partition(":")[2] not in told
    assert "canary" not in told


async def test_a_penalty_holds_all_the_same(
    store: RedisRateLimits, redis: Redis, key: str, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    await store.penalise(key, 5.0)
    reserved = await store.reserve(key, LIMIT, count=1, slack=SLACK, longest=60)
    assert is_left(reserved.reservations[0].wait, 5.0, began)
    assert 0 < await redis.pttl(spoilt) <= 15_100
    assert len(warnings(caplog)) == 1


async def test_nothing_is_given_back_into_what_is_not_ours(
    store: RedisRateLimits, redis: Redis, key: str, spoilt: str
) -> None:
    before = await redis.dump(spoilt)
    await store.give_back(key, ["77"])
    assert await redis.dump(spoilt) == before


async def test_a_start_that_is_no_number_is_noticed_where_the_limit_depends_on_it(
    store: RedisRateLimits, redis: Redis, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then it counts as a start: of the three that are allowed, two are left."""
    await store.reserve(key, LIMIT, count=1, slack=SLACK, longest=60)
    await redis.rpush(f"integrations:rate:{{{key}}}", "canary")
    reserved = await store.reserve(key, LIMIT, count=3, slack=SLACK, longest=60)
    assert len(reserved.reservations) == 3
    assert len(warnings(caplog)) == 1


async def test_a_refusal_of_the_server_itself_removes_nothing(
    mortal_redis: RedisServer, patience: None, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of memory, it refuses to write: that is Redis being away, and no reason to forget what it holds."""
    began = time.monotonic()
    async with open_redis_rate_limits(SecretStr(mortal_redis.url)) as store:
        await store.reserve(key, LIMIT, count=3, slack=SLACK, longest=60)
        await store._redis.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailableError):
            await store.reserve(key, LIMIT, count=1, slack=SLACK, longest=60)
        with pytest.raises(StoreUnavailableError):
            await store.ping()
        await store._redis.config_set("maxmemory", 0)
        await store.ping()
        reserved = await store.reserve(key, LIMIT, count=1, slack=SLACK, longest=60)
    assert is_left(reserved.reservations[0].wait, 10.0 + SLACK, began)
    assert warnings(caplog) == []


async def test_calls_go_on_and_keep_the_limit_while_somebody_keeps_writing(
    redis_server: RedisServer, patience: None, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """What this process has started is counted here as well, so that it never exceeds the limit by itself."""
    service, starts, done = uuid4().hex, Starts(WATCH), asyncio.Event()

    async def vandal() -> None:
        for spoil in cycle(KINDS.values()):
            if done.is_set():
                return
            async for name in redis.scan_iter(f"*{service}*"):
                async with redis.pipeline(transaction=True) as at_once:
                    at_once.delete(name)
                    spoil(at_once, name)
                    await at_once.execute()
            await asyncio.sleep(0.02)

    async with limiter(redis_server, service, 5, 0.3) as one, asyncio.timeout(120):
        vandalism = asyncio.create_task(vandal())
        assert await all_of(*(one.throttle(service, starts.call) for _ in range(40))) == [None] * 40
        done.set()
        await vandalism
    assert starts.holds(5, 0.3)
    assert starts.duration < 60
    assert [told.partition(":")[0] for told in warnings(caplog)] == ["rate_limit.key_replaced"]


NO_REDIS = [
    b"$6\r\ncanary\r\n",
    b"*3\r\n:1\r\n:2\r\n:3\r\n",
    b"*2\r\n$1\r\n0\r\n$1\r\nx\r\n",
    b"*2\r\n$1\r\n\xff\r\n$1\r\n0\r\n",
    b"+OK\r\n",
    b"HTTP/1.1 400\r\n\r\n",
]


@pytest.mark.parametrize("answer", NO_REDIS)
async def test_where_something_else_answers_it_is_redis_being_away(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(answer)
        writer.close()

    starts = Starts(WATCH)
    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    async with open_redis_rate_limits(SecretStr(url)) as store, asyncio.timeout(60):
        made = RateLimiter([], store, clock=WATCH)
        made.set_config("crm", max_requests=2, window=0.2)
        made.penalise("crm", "", 0.1)
        assert await all_of(*(made.throttle("crm", starts.call) for _ in range(5))) == [None] * 5
        await made.aclose()
    server.close()
    assert starts.holds(2, 0.2)
    assert [told.partition(":")[0] for told in warnings(caplog)] == ["rate_limit.store_away"]
