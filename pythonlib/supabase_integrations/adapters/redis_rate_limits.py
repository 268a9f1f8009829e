"""Limits shared through Redis (6.2 or later): one atomic reservation on the server's clock, in one round trip.

A key is one list, so that it lives on one node of a cluster: first the end of a penalty, then the latest start of each
reservation that still counts, oldest first, in microseconds of the server's clock. It expires when nothing counts.
Whatever else is found there is replaced by an empty list, and a warning says so: the starts that it hid are unknown to
the other processes then, and each still keeps the limit over its own.
"""

import logging
import time
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
_FURTHEST: Final = 365 * 24 * 3600.0
"""Seconds ahead that anything is reserved or penalised, so that what lies further ahead is known to be nobody's."""
_TELL_EVERY: Final = 60.0
"""Seconds between two warnings about a service's keys."""

_log = logging.getLogger("supabase_integrations.rate_limits")

_COMMON: Final = f"""
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local furthest = now + {2 * _FURTHEST * _SECOND:.0f}

local function moment(index)
    local entry = redis.call('LINDEX', key, index)
    local at = entry and string.find(entry, '^%d+$') and tonumber(entry)
    if not at or at > furthest then error('foreign', 0) end
    return at
end

local function on_our_list(work)
    local is_ours, answer = pcall(function()
        local kind = redis.call('TYPE', key).ok
        if kind ~= 'list' and kind ~= 'none' then error('foreign', 0) end
        return work(kind == 'list')
    end)
    if not is_ours then
        if answer ~= 'foreign' then error(answer, 0) end
        -- A penalty that can be read still holds, whatever stands behind it.
        local is_kept, penalty = pcall(moment, 0)
        redis.call('UNLINK', key)
        if is_kept then redis.call('RPUSH', key, string.format('%.0f', penalty)) end
        answer = work(is_kept)
    end
    table.insert(answer, 1, is_ours and '0' or '1')
    return answer
end
"""

_RESERVE: Final = f"""{_COMMON}
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local slack, count, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

return on_our_list(function(exists)
    local penalty = exists and moment(0) or 0
    local live = exists and redis.call('LLEN', key) - 1 or 0
    local over = 0
    while over < live and moment(over + 1) + window <= now do over = over + 1 end
    if over > 0 then
        redis.call('LPOP', key, over + 1)
        live = live - over
        redis.call('LPUSH', key, string.format('%.0f', penalty))
    elseif live == 0 and penalty == 0 then
        redis.call('DEL', key)
        redis.call('RPUSH', key, '0')
    end

    local last = live > 0 and moment(-1) or 0
    local answer = {{'-1'}}
    for _ = 1, count do
        local slot = math.max(now, penalty)
        if live >= limit then slot = math.max(slot, moment(-limit) + window) end
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
end)
"""

_GIVE_BACK: Final = """
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then return 0 end
for _, entry in ipairs(ARGV) do
    if redis.call('LINDEX', KEYS[1], 0) ~= entry then redis.call('LREM', KEYS[1], -1, entry) end
end
return 0
"""

_PENALISE: Final = f"""{_COMMON}
local wait = tonumber(ARGV[1])

return on_our_list(function(exists)
    local end_ = string.format('%.0f', now + wait)
    if not exists then
        redis.call('RPUSH', key, end_)
    elseif moment(0) < now + wait then
        redis.call('LSET', key, 0, end_)
    end
    local lives = math.ceil(wait / 1000) + 1
    if redis.call('PTTL', key) < lives then redis.call('PEXPIRE', key, lives) end
    return {{}}
end)
"""


class RedisRateLimits:
    """Implements `port_rate_limits.RateLimitStore`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # They are sent by their digest, and whole where Redis does not know it (any more).
        self._reserve = redis.register_script(_RESERVE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._penalise = redis.register_script(_PENALISE)
        self._told: dict[str, float] = {}

    async def reserve(self, key: str, limit: RateLimit, *, count: int, slack: float, longest: float) -> Reserved:
        """Reserve up to `count` starts. Raises StoreUnavailableError."""
        arguments = (limit.requests, _micro(limit.window), _micro(slack), count, _micro(min(longest, _FURTHEST)))
        with _translated():
            replaced, refused, *pairs = map(bytes.decode, await self._reserve([_name(key)], arguments))
            reservations = tuple(
                Reservation(int(wait) / _SECOND, token) for wait, token in zip(pairs[::2], pairs[1::2], strict=True)
            )
            reserved = Reserved(reservations, None if refused == "-1" else int(refused) / _SECOND)
        self._tell(key, replaced)
        return reserved

    async def give_back(self, key: str, tokens: Sequence[str]) -> None:
        """Return reservations. Raises StoreUnavailableError."""
        with _translated():
            await self._give_back([_name(key)], tokens)

    async def penalise(self, key: str, wait: float) -> None:
        """Reserve no start of this key for so many seconds. Raises StoreUnavailableError."""
        with _translated():
            (replaced,) = map(bytes.decode, await self._penalise([_name(key)], [_micro(min(wait, _FURTHEST))]))
        self._tell(key, replaced)

    async def ping(self) -> None:
        """Return if Redis answers and takes writes: one that is full, or a replica, answers all the same.

        Raises StoreUnavailableError.
        """
        with _translated():
            await self._penalise([_name("ping")], [0])

    def _tell(self, key: str, replaced: str) -> None:
        """Warn that what was found under a key was not ours. The account in the key's name is nobody's business."""
        service, now = key.partition(":")[0], time.monotonic()
        if replaced == "1" and now - self._told.get(service, -_TELL_EVERY) >= _TELL_EVERY:
            self._told[service] = now
            _log.warning(
                "rate_limit.key_replaced: Redis held something else under a key of %s; its limit begins anew", service
            )


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
    except (RedisError, OSError, TimeoutError, ValueError, TypeError):
        # Redis' messages may quote the address, which holds a password. The last two: what answers there is no Redis.
        raise StoreUnavailableError from None


def _name(key: str) -> str:
    return f"integrations:rate:{{{key}}}"


def _micro(seconds: float) -> int:
    return ceil(seconds * _SECOND)
