"""A limiter for one service on a virtual clock, and calls of it that are remembered."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from supabase_integrations.core.errors import RateLimitedError
from supabase_integrations.core.service_kinds import LimitScope
from supabase_integrations.core.start_log import MARGIN
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from tests.unit.virtual_time import clock

WINDOW = 1.0 - MARGIN
"""With its margin one second."""


class RefusedError(Exception):
    """What a client raises for HTTP 429."""

    status = 429

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class Log:
    """Remembers when which call started."""

    def __init__(self) -> None:
        self.began = clock()
        self.starts: list[tuple[str, float]] = []

    def call(self, name: str, *errors: Exception, takes: float = 0.0) -> Callable[[], Awaitable[str]]:
        """A function that fails with these errors in turn, then returns its name."""
        left = list(errors)

        async def fn() -> str:
            self.starts.append((name, round(clock() - self.began, 6)))
            await asyncio.sleep(takes)
            if left:
                raise left.pop(0)
            return name

        return fn


def limiter(requests: int = 1, *, per: LimitScope = LimitScope.ACCOUNT, **rules: Any) -> RateLimiter:
    made = RateLimiter([], clock=clock, random=Random(1))
    made.set_config("crm", max_requests=requests, window=WINDOW, per=per, **rules)
    return made


async def all_of(*calls: Awaitable[object]) -> list[object]:
    return await asyncio.gather(*calls, return_exceptions=True)


def wait_of(error: object) -> float:
    assert isinstance(error, RateLimitedError)
    return round(error.retry_after.total_seconds(), 6)
