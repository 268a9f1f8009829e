"""The limiter under random load with random cancellation, on a virtual clock: against a model that tries everything."""

import asyncio
from dataclasses import dataclass
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.start_log import MARGIN
from supabase_integrations.use_cases.rate_limiter import RateLimiter
from tests.unit.virtual_time import clock, run

STEP = 0.25
"""Everything happens on a grid, so that cancellations often meet the moment at which their call is let go."""


@dataclass(frozen=True)
class Call:
    """One call: when it is made, how long it takes, and when it is cancelled, if it is; in steps."""

    at: int
    takes: int
    cancelled_after: int | None


@dataclass(frozen=True)
class Penalty:
    """Begins between two steps and ends elsewhere between two: at one moment, either of two things may come first."""

    after: int
    steps: int

    @property
    def begins(self) -> float:
        return (self.after + 0.5) * STEP

    @property
    def ends(self) -> float:
        return self.begins + (self.steps + 0.25) * STEP


@dataclass(frozen=True)
class Load:
    requests: int
    window_steps: int
    calls: tuple[Call, ...]
    penalties: tuple[Penalty, ...]

    @property
    def window(self) -> float:
        """Shorter than the grid's by the margin, so that calls are let go on the grid."""
        return self.window_steps * STEP - MARGIN


CALLS = st.builds(Call, st.integers(0, 20), st.integers(0, 8), st.none() | st.integers(0, 12))
LOADS = st.builds(
    Load,
    st.integers(1, 4),
    st.integers(1, 8),
    st.lists(CALLS, min_size=1, max_size=25).map(lambda calls: tuple(sorted(calls, key=lambda call: call.at))),
    st.lists(st.builds(Penalty, st.integers(0, 20), st.integers(1, 12)), max_size=2).map(tuple),
)


@dataclass
class Observed:
    starts: dict[int, float]
    ended: int


async def observe(load: Load) -> Observed:
    """Carry it out; what each call's start was, by the call's number."""
    limiter = RateLimiter([], clock=clock)
    limiter.set_config("crm", max_requests=load.requests, window=load.window, timeout=None)
    loop, begin, starts = asyncio.get_running_loop(), clock(), dict[int, float]()

    def call(number: int, each: Call) -> asyncio.Task[None]:
        async def fn() -> None:
            starts[number] = clock() - begin
            await asyncio.sleep(each.takes * STEP)

        task = loop.create_task(limiter.throttle("crm", fn))
        if each.cancelled_after is not None:
            loop.call_at(begin + (each.at + each.cancelled_after) * STEP, task.cancel)
        return task

    for penalty in load.penalties:
        loop.call_at(begin + penalty.begins, limiter.penalise, "crm", "", penalty.ends - penalty.begins)
    tasks = []
    for number, each in enumerate(load.calls):
        await asyncio.sleep(max(0.0, begin + each.at * STEP - clock()))
        tasks.append(call(number, each))
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await limiter.aclose()
    return Observed(starts, len(ended))


@given(LOADS)
def test_no_window_ever_holds_more_than_the_limit(load: Load) -> None:
    starts = sorted(run(observe(load)).starts.values())
    for first, later in zip(starts, starts[load.requests :], strict=False):
        assert later - first >= load.window


@given(LOADS)
def test_calls_start_in_the_order_they_were_made(load: Load) -> None:
    starts = run(observe(load)).starts
    in_order = [starts[number] for number in sorted(starts)]
    assert in_order == sorted(in_order)


@given(LOADS)
def test_no_slot_is_lost_and_no_call_hangs(load: Load) -> None:
    """Each call that started did so at the first moment that the calls started before it and the penalties allow."""
    observed = run(observe(load))
    assert observed.ended == len(load.calls)
    earlier: list[float] = []
    for number in sorted(observed.starts):
        at = max(load.calls[number].at * STEP, earlier[-1] if earlier else -inf)
        if len(earlier) >= load.requests:
            at = max(at, earlier[-load.requests] + load.window + MARGIN)
        at = after_penalties(at, load.penalties)
        assert abs(observed.starts[number] - at) < 1e-6
        earlier.append(observed.starts[number])


@given(LOADS)
def test_a_call_that_nobody_cancelled_starts(load: Load) -> None:
    starts = run(observe(load)).starts
    assert {number for number, call in enumerate(load.calls) if call.cancelled_after is None} <= set(starts)


def after_penalties(at: float, penalties: tuple[Penalty, ...]) -> float:
    """The first moment from `at` that no penalty known by then forbids."""
    while True:
        latest = max((each.ends for each in penalties if each.begins <= at), default=-inf)
        if latest <= at + 1e-9:
            return at
        at = latest
