"""One of several processes that call one service as often as they may, and report when each call started."""

import asyncio
import json
import sys
import time
from unittest import mock

from supabase_integrations.adapters import redis_rate_limits
from supabase_integrations.adapters.redis_rate_limits import open_redis_rate_limits
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.rate_limiter import RateLimiter

CALLERS = 8


async def main(url: str, service: str, requests: int, window: float, seconds: float) -> None:
    """Print the starts, in seconds of the clock that all processes of a machine share."""
    starts: list[float] = []

    async def call() -> None:
        starts.append(time.monotonic())

    async def caller(limiter: RateLimiter, end: float) -> None:
        while time.monotonic() < end:
            await limiter.throttle(service, call)

    async with open_redis_rate_limits(SecretStr(url)) as store:
        limiter = RateLimiter([], store)
        limiter.set_config(service, max_requests=requests, window=window)
        end = time.monotonic() + seconds
        await asyncio.gather(*(caller(limiter, end) for _ in range(CALLERS)))
        await limiter.aclose()
    print(json.dumps(starts))


if __name__ == "__main__":
    # Redis is not away because the machine is busy: then every process would keep the limit by itself.
    mock.patch.object(redis_rate_limits, "ANSWER_SECONDS", 10.0).start()
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
