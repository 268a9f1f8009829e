"""The scripts on a real server: what is reserved, given back, penalised and kept."""

import asyncio
import time
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from supabase_integrations.adapters import redis_rate_limits
from supabase_integrations.adapters.redis_rate_limits import RedisRateLimits, open_redis_rate_limits
from supabase_integrations.core.errors import ConfigurationError, StoreUnavailableError
from supabase_integrations.core.rate_limits import RateLimit
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.port_rate_limits import Reserved
from tests.redis.server import RedisServer, is_left

LIMIT = RateLimit(3, 10.0)
SLACK = 0.02


@pytest.fixture
def key() -> str:
    return f"crm:{uuid4().hex}"


async def reserve(
    store: RedisRateLimits, key: str, count: int = 1, *, limit: RateLimit = LIMIT, longest: float = 1e6
) -> Reserved:
    return await store.reserve(key, limit, count=count, slack=SLACK, longest=longest)


def waits(reserved: Reserved) -> list[float]:
    return [each.wait for each in reserved.reservations]


async def test_starts_are_reserved_one_window_after_the_latest_start_of_those_before(
    store: RedisRateLimits, key: str
) -> None:
    began = time.monotonic()
    reserved = await reserve(store, key, 7)
    later = [10.0 + SLACK, 20.0 + 2 * SLACK]
    assert waits(reserved) == pytest.approx([0.0] * 3 + [later[0]] * 3 + [later[1]], abs=1e-5)
    (wait,) = waits(await reserve(store, key))
    assert is_left(wait, later[1], began)


async def test_what_would_take_too_long_is_not_reserved(store: RedisRateLimits, key: str) -> None:
    began = time.monotonic()
    reserved = await reserve(store, key, 5, longest=5.0)
    assert len(reserved.reservations) == 3
    assert is_left(reserved.refused, 10.0 + SLACK, began)
    (wait,) = waits(await reserve(store, key))
    assert is_left(wait, 10.0 + SLACK, began)


async def test_what_is_given_back_is_free_again(store: RedisRateLimits, key: str) -> None:
    began = time.monotonic()
    reserved = await reserve(store, key, 3)
    await store.give_back(key, [reserved.reservations[1].token, reserved.reservations[2].token])
    *free, wait = waits(await reserve(store, key, 3))
    assert free == [0.0, 0.0]
    assert is_left(wait, 10.0 + SLACK, began)


async def test_giving_back_what_is_not_there_changes_nothing(store: RedisRateLimits, redis: Redis, key: str) -> None:
    began = time.monotonic()
    await store.penalise(key, 5.0)
    penalty = await redis.lindex(f"integrations:rate:{{{key}}}", 0)
    assert isinstance(penalty, bytes)
    await store.give_back(key, [penalty.decode(), "7"])
    (wait,) = waits(await reserve(store, key))
    assert is_left(wait, 5.0, began)


async def test_a_penalty_holds_for_everybody_and_the_longest_one_stays(store: RedisRateLimits, key: str) -> None:
    began = time.monotonic()
    await store.penalise(key, 5.0)
    await store.penalise(key, 2.0)
    (wait,) = waits(await reserve(store, key))
    assert is_left(wait, 5.0, began)
    began = time.monotonic()
    await store.penalise(key, 8.0)
    (wait,) = waits(await reserve(store, key))
    assert is_left(wait, 8.0, began)


async def test_keys_are_apart(store: RedisRateLimits, key: str) -> None:
    await reserve(store, key, 3)
    assert waits(await reserve(store, f"{key}-other")) == [0.0]


async def test_starts_leave_the_window(store: RedisRateLimits, redis: Redis, key: str) -> None:
    limit = RateLimit(3, 0.2)
    for _ in range(5):
        reserved = await reserve(store, key, 3, limit=limit)
        await asyncio.sleep(max(waits(reserved)) + 0.1)
    assert await redis.llen(f"integrations:rate:{{{key}}}") <= 1 + 2 * limit.requests


async def test_a_key_is_one_list_that_expires_with_its_window(store: RedisRateLimits, redis: Redis, key: str) -> None:
    name = f"integrations:rate:{{{key}}}"
    await reserve(store, key, limit=RateLimit(3, 60.0))
    assert [found async for found in redis.scan_iter(f"*{key}*")] == [name.encode()]
    assert await redis.type(name) == b"list"
    assert 0 < await redis.pttl(name) <= 60_030
    brief = uuid4().hex
    await reserve(store, brief, limit=RateLimit(3, 2.0))
    await asyncio.sleep(2.1)
    assert [found async for found in redis.scan_iter(f"*{brief}*")] == []


async def test_a_penalty_alone_expires_too_and_is_kept_until_then(
    store: RedisRateLimits, redis: Redis, key: str
) -> None:
    name = f"integrations:rate:{{{key}}}"
    await store.penalise(key, 60.0)
    assert 0 < await redis.pttl(name) <= 60_010
    await reserve(store, key, limit=RateLimit(1, 0.01))
    assert await redis.pttl(name) > 250


async def test_a_server_that_has_forgotten_the_scripts_is_told_again(
    store: RedisRateLimits, redis: Redis, key: str
) -> None:
    await reserve(store, key)
    await redis.script_flush()
    assert waits(await reserve(store, key)) == [0.0]
    await redis.script_flush()
    began = time.monotonic()
    await store.penalise(key, 5.0)
    (wait,) = waits(await reserve(store, key))
    assert is_left(wait, 5.0, began)


async def test_a_reservation_is_one_round_trip(store: RedisRateLimits, redis: Redis, key: str) -> None:
    await reserve(store, key)
    await redis.config_resetstat()
    await reserve(store, key, 20)
    commands = await redis.info("commandstats")
    assert commands["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in commands
    assert "cmdstat_script|load" not in commands


async def test_a_large_limit_costs_no_more_than_its_entries(store: RedisRateLimits, redis: Redis, key: str) -> None:
    limit = RateLimit(15_000, 86_400.0)
    for _ in range(15):
        await reserve(store, key, 1_000, limit=limit)
    assert waits(await reserve(store, key, limit=limit))[0] > 86_000
    assert (await redis.memory_usage(f"integrations:rate:{{{key}}}", samples=0) or 0) in range(100_000, 300_000)


async def test_without_a_server_the_failure_is_ours_and_comes_soon() -> None:
    url = "redis://:canary-password@127.0.0.1:1/0"
    async with open_redis_rate_limits(SecretStr(url)) as store:
        for call in (store.ping(), reserve(store, "crm"), store.give_back("crm", ["1"]), store.penalise("crm", 1.0)):
            with pytest.raises(StoreUnavailableError) as failed:
                await asyncio.wait_for(call, 30)
            assert "canary" not in str(failed.value)
            assert failed.value.__cause__ is None


async def test_a_server_that_does_not_answer_is_not_waited_for(
    mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_rate_limits, "ANSWER_SECONDS", 2.0)
    async with open_redis_rate_limits(SecretStr(mortal_redis.url)) as store:
        await store.ping()
        mortal_redis.freeze()
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(store.ping(), 60)
        mortal_redis.thaw()
        await store.ping()


async def test_a_connection_that_died_in_the_pool_is_replaced(store: RedisRateLimits, redis: Redis, key: str) -> None:
    await reserve(store, key)
    await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
    assert waits(await reserve(store, key)) == [0.0]


async def test_an_address_that_is_none_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError):
        async with open_redis_rate_limits(SecretStr("http://127.0.0.1")):
            pass
