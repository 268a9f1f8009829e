"""Trying again: which waits, for how long, and what passes through."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from supabase_integrations.core.errors import ProviderUnavailableError
from supabase_integrations.use_cases.retry import Retry, retry_if, retry_with_backoff

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class TopOfTheRange(Random):
    """Draws the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


@dataclass
class Time:
    """A clock that sleeping moves."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def clock(self) -> float:
        return self.seconds


@dataclass
class Failing:
    """Raises these in turn, then answers; each attempt takes `takes` seconds of the given time."""

    errors: list[BaseException]
    time: Time = field(default_factory=Time)
    takes: float = 0.0
    attempts: int = 0

    async def __call__(self) -> str:
        self.attempts += 1
        self.time.seconds += self.takes
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def unavailable(seconds: float | None = None) -> ProviderUnavailableError:
    return ProviderUnavailableError(retry_after=None if seconds is None else timedelta(seconds=seconds))


async def attempt(fn: Failing, **options: object) -> str:
    return await retry_with_backoff(
        fn,
        sleep=fn.time.sleep,
        clock=fn.time.clock,
        now=lambda: NOW,
        random=TopOfTheRange(),
        **options,  # type: ignore[arg-type]
    )


async def test_a_success_is_returned_without_waiting() -> None:
    fn = Failing([])
    assert await attempt(fn) == "answer"
    assert (fn.attempts, fn.time.slept) == (1, [])


async def test_waits_double_up_to_the_cap() -> None:
    fn = Failing([unavailable() for _ in range(6)])
    assert await attempt(fn, max_retries=6, base_delay=1.0, max_delay=10.0) == "answer"
    assert fn.time.slept == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


async def test_after_the_last_retry_the_last_error_is_raised_as_it_is() -> None:
    errors = [unavailable() for _ in range(9)]
    fn, last = Failing(list[BaseException](errors)), errors[3]
    with pytest.raises(ProviderUnavailableError) as raised:
        await attempt(fn)
    assert raised.value is last
    assert fn.attempts == 4


async def test_no_retries_mean_one_attempt() -> None:
    fn = Failing([unavailable()])
    with pytest.raises(ProviderUnavailableError):
        await attempt(fn, max_retries=0)
    assert (fn.attempts, fn.time.slept) == (1, [])


async def test_what_lasts_is_not_tried_again() -> None:
    fn = Failing([ValueError()])
    with pytest.raises(ValueError):
        await attempt(fn)
    assert fn.attempts == 1


async def test_retry_after_wins_over_our_own_wait_and_its_cap() -> None:
    class RefusedError(Exception):
        status = 429
        retry_after = "Mon, 23 Nov 2026 12:00:50 GMT"

    fn = Failing([unavailable(0.0), unavailable(45.0), RefusedError()])
    assert await attempt(fn, max_delay=10.0, max_elapsed=None) == "answer"
    assert fn.time.slept == [0.0, 45.0, 50.0]


async def test_a_wait_that_would_end_after_the_budget_is_not_begun() -> None:
    fn = Failing([unavailable(20.0), unavailable(20.0)], takes=1.0)
    with pytest.raises(ProviderUnavailableError):
        await attempt(fn, max_elapsed=40.0)
    assert fn.time.slept == [20.0]


async def test_the_budget_counts_what_the_attempts_took() -> None:
    fn = Failing([unavailable(), unavailable()], takes=10.0)
    with pytest.raises(ProviderUnavailableError):
        await attempt(fn, base_delay=5.0, max_elapsed=29.0)
    assert fn.attempts == 2


async def test_the_hook_is_told_before_each_wait() -> None:
    told: list[tuple[Retry, int]] = []
    fn = Failing([unavailable(), unavailable(3.0)])
    await attempt(fn, on_retry=lambda retry: told.append((retry, len(fn.time.slept))))
    assert [(retry.number, retry.wait, slept) for retry, slept in told] == [(1, 1.0, 0), (2, 3.0, 1)]
    assert all(isinstance(retry.error, ProviderUnavailableError) for retry, _ in told)


async def test_a_predicate_of_ones_own_decides() -> None:
    fn = Failing([ValueError("again"), ValueError("not again")])
    with pytest.raises(ValueError, match="not again"):
        await retry_if(fn, lambda error: str(error) == "again", sleep=fn.time.sleep)
    assert fn.attempts == 2


@pytest.mark.parametrize("retry", [retry_if, retry_with_backoff])
async def test_a_cancellation_in_the_call_passes_through(retry: Callable[..., Awaitable[object]]) -> None:
    """Also where the predicate accepts everything."""
    fn = Failing([asyncio.CancelledError()])
    arguments = [fn, lambda _: True] if retry is retry_if else [fn]
    with pytest.raises(asyncio.CancelledError):
        await retry(*arguments, sleep=fn.time.sleep)
    assert (fn.attempts, fn.time.slept) == (1, [])


async def test_a_cancellation_in_the_wait_passes_through() -> None:
    fn, waits = Failing([unavailable(60.0)]), asyncio.Event()
    task = asyncio.create_task(retry_with_backoff(fn, on_retry=lambda _: waits.set()))
    await waits.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert fn.attempts == 1
    assert cancelled.value.__context__ is None
