"""One of several processes that call one service as often as they may, and report when each call started.

It says when it is ready, and begins when it is told to.
"""

import asyncio
import json
import sys
import time
from unittest import mock

from supabase_integrations.adapters import redis_rate_limits
from supabase_integrations.adapters.redis_rate_limits import open_redis_rate_limits
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from supabase_integrations.use_cases.shared_limits import SharedLimits
from tests.starts import Starts, Watch

CALLERS = 8


async def main(url: str, service: str, requests: int, window: float, seconds: float) -> None:
    """Print the starts, in seconds of the clock that all processes of a machine share, and the most time that a call
    was given to be late in.
    """
    watch = Watch()
    starts, slack = Starts(watch), 0.0

    async def caller(limiter: RateLimiter, shared: SharedLimits, end: float) -> None:
        nonlocal slack
        while time.monotonic() < end:
            await limiter.throttle(service, starts.call)
            slack = max(slack, shared.slack)

    async with open_redis_rate_limits(SecretStr(url)) as store:
        limiter = RateLimiter([], store, clock=watch)
        shared = limiter._shared
        assert shared
        limiter.set_config(service, max_requests=requests, window=window)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        end = time.monotonic() + seconds
        await asyncio.gather(*(caller(limiter, shared, end) for _ in range(CALLERS)))
        await limiter.aclose()
    print(json.dumps({"starts": starts.spans, "slack": slack}))


if __name__ == "__main__":
    # Redis is not away because the machine is busy: then every process would keep the limit by itself.
    mock.patch.object(redis_rate_limits, "ANSWER_SECONDS", 10.0).start()
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
