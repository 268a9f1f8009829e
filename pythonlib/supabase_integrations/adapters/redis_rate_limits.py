"""Limits shared through Redis (6.2 or later): one atomic reservation on the server's clock, in one round trip.

A key is one list, so that it lives on one node of a cluster: first the end of a penalty, then the latest start of each
reservation that still counts, oldest first, in microseconds of the server's clock. It expires when nothing counts.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import ceil
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..core.errors import ConfigurationError, StoreUnavailableError
from ..core.rate_limits import RateLimit
from ..core.secret import SecretStr
from ..port_rate_limits import Reservation, Reserved

ANSWER_SECONDS: Final = 0.25
"""How long Redis may take to connect or to answer; calls wait twice as long for it, and then go on without it."""
_CONNECTIONS: Final = 64
_SECOND: Final = 1_000_000

_RESERVE: Final = """
local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local slack, count, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local penalty = tonumber(redis.call('LINDEX', key, 0) or '0')
local live = math.max(redis.call('LLEN', key) - 1, 0)
local over = 0
while over < live and tonumber(redis.call('LINDEX', key, over + 1)) + window <= now do over = over + 1 end
if over > 0 then
    redis.call('LPOP', key, over + 1)
    live = live - over
    redis.call('LPUSH', key, string.format('%.0f', penalty))
elseif live == 0 and penalty == 0 then
    redis.call('DEL', key)
    redis.call('RPUSH', key, '0')
end

local last = live > 0 and tonumber(redis.call('LINDEX', key, -1)) or 0
local answer = {'-1'}
for _ = 1, count do
    local slot = math.max(now, penalty)
    if live >= limit then slot = math.max(slot, tonumber(redis.call('LINDEX', key, -limit)) + window) end
    if slot - now > longest then
        answer[1] = string.format('%.0f', slot - now)
        break
    end
    -- Counted at its latest start; never before an earlier one, so that the list stays in order.
    last = math.max(last, slot + slack)
    local entry = string.format('%.0f', last)
    redis.call('RPUSH', key, entry)
    live = live + 1
    answer[#answer + 1] = string.format('%.0f', slot - now)
    answer[#answer + 1] = entry
end
redis.call('PEXPIRE', key, string.format('%.0f', math.ceil((math.max(last, penalty, now) - now + window) / 1000)))
return answer
"""

_GIVE_BACK: Final = """
for _, entry in ipairs(ARGV) do
    if redis.call('LINDEX', KEYS[1], 0) ~= entry then redis.call('LREM', KEYS[1], -1, entry) end
end
return 0
"""

_PENALISE: Final = """
local time = redis.call('TIME')
local until_ = time[1] * 1000000 + time[2] + tonumber(ARGV[1])
local old = redis.call('LINDEX', KEYS[1], 0)
if not old then
    redis.call('RPUSH', KEYS[1], string.format('%.0f', until_))
elseif tonumber(old) < until_ then
    redis.call('LSET', KEYS[1], 0, string.format('%.0f', until_))
end
local lives = math.ceil(tonumber(ARGV[1]) / 1000) + 1
if redis.call('PTTL', KEYS[1]) < lives then redis.call('PEXPIRE', KEYS[1], lives) end
return 0
"""


class RedisRateLimits:
    """Implements `port_rate_limits.RateLimitStore`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # They are sent by their digest, and whole where Redis does not know it (any more).
        self._reserve = redis.register_script(_RESERVE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._penalise = redis.register_script(_PENALISE)

    async def reserve(self, key: str, limit: RateLimit, *, count: int, slack: float, longest: float) -> Reserved:
        """Reserve up to `count` starts. Raises StoreUnavailableError."""
        arguments = (limit.requests, _micro(limit.window), _micro(slack), count, _micro(longest))
        with _translated():
            refused, *pairs = map(bytes.decode, await self._reserve([_name(key)], arguments))
        reservations = tuple(
            Reservation(int(wait) / _SECOND, token) for wait, token in zip(pairs[::2], pairs[1::2], strict=True)
        )
        return Reserved(reservations, None if refused == "-1" else int(refused) / _SECOND)

    async def give_back(self, key: str, tokens: Sequence[str]) -> None:
        """Return reservations. Raises StoreUnavailableError."""
        with _translated():
            await self._give_back([_name(key)], tokens)

    async def penalise(self, key: str, wait: float) -> None:
        """Reserve no start of this key for so many seconds. Raises StoreUnavailableError."""
        with _translated():
            await self._penalise([_name(key)], [_micro(wait)])

    async def ping(self) -> None:
        """Return if Redis answers. Raises StoreUnavailableError."""
        with _translated():
            await self._redis.ping()


@asynccontextmanager
async def open_redis_rate_limits(url: SecretStr) -> AsyncIterator[RedisRateLimits]:
    """A store at `redis://…` or `rediss://…`, for as long as the block lasts; it connects when it is first used.

    Raises ConfigurationError where the address cannot be read.
    """
    try:
        redis = Redis.from_url(
            url.get_secret_value(),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            max_connections=_CONNECTIONS,
            # Nothing is said to Redis that is not needed: a connection is ready after one round trip.
            protocol=2,
            driver_info=None,
            # Once more, at once: a connection that lay idle may be dead, and an event loop that stood still takes an
            # answer for late. What is reserved twice then is lost for one window.
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError:
        raise ConfigurationError("RATE_LIMIT_URL is not an address like redis://host:6379/0.") from None
    try:
        yield RedisRateLimits(redis)
    finally:
        await redis.aclose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError):
        # Redis' messages may quote the address, which holds a password.
        raise StoreUnavailableError from None


def _name(key: str) -> str:
    return f"integrations:rate:{{{key}}}"


def _micro(seconds: float) -> int:
    return ceil(seconds * _SECOND)
