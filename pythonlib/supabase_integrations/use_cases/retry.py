"""Trying again what may work later.

`fn` is called anew for every attempt, so close it over an id and not over a token: what it needs may have been renewed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final, TypeVar

from ..core.retry_policy import RetryPolicy, is_retryable_error, wait_asked_by

__all__ = ["Retry", "is_retryable_error", "retry_if", "retry_with_backoff"]

T = TypeVar("T")

_RANDOM: Final = Random()  # noqa: S311 - spreads retries, keeps no secret


@dataclass(frozen=True, slots=True)
class Retry:
    """What a hook is told before a wait: which retry comes (from 1), after how many seconds, and why."""

    number: int
    wait: float
    error: Exception


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def retry_if(
    fn: Callable[[], Awaitable[T]],
    predicate: Callable[[Exception], bool],
    *,
    max_retries: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 30.0,
    max_elapsed: float | None = 120.0,
    on_retry: Callable[[Retry], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = _utc_now,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    random: Random = _RANDOM,
) -> T:
    """What `fn` returns, called again after errors that `predicate` accepts; durations are seconds.

    Waits as `core.retry_policy.RetryPolicy` says: full jitter, `Retry-After` first, nothing beyond `max_elapsed`. The
    last error is raised as it is. A cancellation is never caught, neither in `fn` nor in a wait.
    """
    policy = RetryPolicy(max_retries, base_delay, max_delay, max_elapsed)
    began, retries = clock(), 0
    while True:
        try:
            return await fn()
        except Exception as error:
            if retries >= max_retries or not predicate(error):
                raise
            asked = wait_asked_by(error, now())
            wait = policy.wait(retries, elapsed=clock() - began, asked=asked, random=random)
            if wait is None:
                raise
            retries += 1
            if on_retry is not None:
                on_retry(Retry(retries, wait, error))
        # Outside the handler, so that a cancellation in the wait does not drag the last error along as its context.
        await sleep(wait)


async def retry_with_backoff(
    fn: Callable[[], Awaitable[T]],
    max_retries: int = 3,
    base_delay: float = 1.0,
    *,
    max_delay: float = 30.0,
    max_elapsed: float | None = 120.0,
    on_retry: Callable[[Retry], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = _utc_now,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    random: Random = _RANDOM,
) -> T:
    """`retry_if` for whatever `is_retryable_error` says may pass."""
    return await retry_if(
        fn,
        is_retryable_error,
        max_retries=max_retries,
        base_delay=base_delay,
        max_delay=max_delay,
        max_elapsed=max_elapsed,
        on_retry=on_retry,
        clock=clock,
        now=now,
        sleep=sleep,
        random=random,
    )
