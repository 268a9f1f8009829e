"""Real Redis servers for tests of shared limits."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from supabase_integrations.adapters import redis_rate_limits
from supabase_integrations.adapters.redis_rate_limits import RedisRateLimits, open_redis_rate_limits
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases import shared_call_queue
from tests.redis.server import PROGRAM, RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests; each uses keys of its own."""
    yield from _running(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may kill."""
    yield from _running(tmp_path)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers late, because the machine is busy with other tests, is not away."""
    monkeypatch.setattr(redis_rate_limits, "ANSWER_SECONDS", 10.0)
    monkeypatch.setattr(shared_call_queue, "ANSWER_TIME", 10.0)


@pytest.fixture
async def store(redis_server: RedisServer, patience: None) -> AsyncIterator[RedisRateLimits]:
    """What is tested."""
    async with open_redis_rate_limits(SecretStr(redis_server.url)) as opened:
        yield opened


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """To look at what is in there."""
    client = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


def _running(folder: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
