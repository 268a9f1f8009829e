"""Shared limits on a virtual clock: several processes' limiters on one store that is slow, late and sometimes away."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.errors import RateLimitedError, StoreUnavailableError
from supabase_integrations.core.rate_limits import RateLimit
from supabase_integrations.core.start_log import MARGIN
from supabase_integrations.port_rate_limits import Reservation, Reserved
from supabase_integrations.use_cases.call_queue import Waiter
from supabase_integrations.use_cases.rate_limiter import SWEEP_INTERVAL, RateLimiter
from supabase_integrations.use_cases.shared_call_queue import ANSWER_TIME, BATCH
from tests.unit.virtual_time import clock, run


@dataclass
class FakeStore:
    """The protocol's rules in memory; each answer takes a random time of at most `latency` seconds."""

    random: Random
    latency: float = 0.01
    is_away: bool = False
    entries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    penalties: dict[str, float] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    async def reserve(self, key: str, limit: RateLimit, *, count: int, slack: float, longest: float) -> Reserved:
        self.asked.append(count)
        await self._travel()
        now, entries = clock(), self.entries[key]
        reserved: list[Reservation] = []
        for _ in range(count):
            slot = max(now, self.penalties.get(key, 0.0))
            if len(entries) >= limit.requests:
                slot = max(slot, entries[-limit.requests] + limit.window)
            if slot - now > longest:
                return Reserved(tuple(reserved), slot - now)
            entries.append(max(slot + slack, entries[-1] if entries else 0.0))
            reserved.append(Reservation(slot - now, str(entries[-1])))
        await self._travel()
        return Reserved(tuple(reserved))

    async def give_back(self, key: str, tokens: Sequence[str]) -> None:
        await self._travel()
        for token in tokens:
            self.entries[key].remove(float(token))

    async def penalise(self, key: str, wait: float) -> None:
        await self._travel()
        self.penalties[key] = max(self.penalties.get(key, 0.0), clock() + wait)

    async def ping(self) -> None:
        await self._travel()

    async def _travel(self) -> None:
        await asyncio.sleep(self.random.uniform(0, self.latency / 2))
        if self.is_away:
            raise StoreUnavailableError


@dataclass(frozen=True)
class Load:
    requests: int
    window: float
    processes: int
    latency: float
    calls: tuple[tuple[float, float | None], ...]
    """When each call is made, and after how long it is cancelled, if it is."""
    seed: int


LOADS = st.builds(
    Load,
    st.integers(1, 5),
    st.floats(0.3, 2.0),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.lists(st.tuples(st.floats(0, 3), st.none() | st.floats(0, 3)), min_size=1, max_size=30).map(tuple),
    st.integers(0, 1_000),
)


def processes(count: int, store: FakeStore, requests: int, window: float, timeout: float | None) -> list[RateLimiter]:
    made = [RateLimiter([], store, clock=clock) for _ in range(count)]
    for limiter in made:
        limiter.set_config("crm", max_requests=requests, window=window, timeout=timeout)
    return made


async def observe(load: Load) -> tuple[list[float], list[BaseException | None], FakeStore]:
    store, starts, begin = FakeStore(Random(load.seed), load.latency), list[float](), clock()
    limiters = processes(load.processes, store, load.requests, load.window, None)

    async def fn() -> None:
        starts.append(clock())

    async def call(number: int, at: float, cancelled_after: float | None) -> None:
        await asyncio.sleep(at)
        async with asyncio.timeout(cancelled_after):
            await limiters[number % load.processes].throttle("crm", fn)

    calls = (call(number, *each) for number, each in enumerate(load.calls))
    async with asyncio.timeout(600):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(1)
    for limiter in limiters:
        await limiter.aclose()
    assert clock() - begin < 600
    return starts, ended, store


@given(LOADS)
def test_no_window_holds_more_than_the_limit_and_every_call_that_stays_starts(load: Load) -> None:
    starts, ended, _ = run(observe(load))
    starts.sort()
    assert all(later - first >= load.window for first, later in zip(starts, starts[load.requests :], strict=False))
    assert len(starts) == sum(error is None for error in ended)
    assert all(isinstance(error, TimeoutError | None) for error in ended)
    assert sum(error is None for error in ended) >= sum(after is None for _, after in load.calls)


@given(LOADS)
def test_what_no_call_used_is_given_back(load: Load) -> None:
    starts, _, store = run(observe(load))
    assert sum(map(len, store.entries.values())) == len(starts)


def after_the_next_grant(limiter: RateLimiter, act: Callable[[], None]) -> None:
    """Act between the moment a call is let go and the moment it starts."""
    queue = limiter._queue("crm", "")
    let_go = queue._let_go

    def then_act() -> Waiter | None:
        queue._let_go = let_go  # type: ignore[method-assign]
        act()
        return let_go()

    queue._let_go = then_act  # type: ignore[method-assign]


def test_a_call_that_comes_too_late_for_its_reservation_takes_another() -> None:
    """Its event loop stands still between the two: used then, the start would be beside one of another process."""

    async def main() -> None:
        store, starts, loop = FakeStore(Random(1), latency=0.001), list[float](), asyncio.get_running_loop()
        one, two = processes(2, store, 1, 1.0, 30)

        async def fn() -> None:
            starts.append(clock())

        def stall() -> None:
            loop._virtual.now += 0.5  # type: ignore[attr-defined]

        await one.throttle("crm", fn)
        calls = [asyncio.create_task(one.throttle("crm", fn)) for _ in range(2)]
        await asyncio.sleep(0.1)
        calls.append(asyncio.create_task(two.throttle("crm", fn)))
        after_the_next_grant(one, stall)
        await asyncio.gather(*calls)
        starts.sort()
        assert all(later - first >= 1.0 for first, later in pairwise(starts))
        assert starts[1] - starts[0] > 2, "the reservation that was too late was not used"
        await asyncio.sleep(1)
        assert sum(map(len, store.entries.values())) == len(starts) == 4

    run(main())


async def order_on_a_busy_loop(seed: int, away: float | None) -> list[int]:
    """Which calls started, one after the other, where each of them keeps the loop busy for a while."""
    random, order, loop = Random(seed), list[int](), asyncio.get_running_loop()
    store = FakeStore(Random(seed), latency=0.01)
    (limiter,) = processes(1, store, 20, 0.2, None)

    async def call(number: int) -> None:
        async def fn() -> None:
            order.append(number)
            loop._virtual.now += random.uniform(0, 0.015)  # type: ignore[attr-defined]

        await limiter.throttle("crm", fn)

    def go_away() -> None:
        store.is_away = not store.is_away

    if away is not None:
        loop.call_later(away, go_away)
        loop.call_later(away + 1.5, go_away)
    await asyncio.gather(*map(call, range(100)))
    await limiter.aclose()
    return order


@given(st.integers(0, 10_000), st.none() | st.floats(0, 2))
def test_calls_start_in_order_although_some_come_too_late_for_their_reservation(seed: int, away: float | None) -> None:
    assert run(order_on_a_busy_loop(seed, away)) == list(range(100))


def test_a_call_cancelled_when_it_was_let_go_leaves_its_reservation_to_the_next() -> None:
    async def main() -> None:
        store, began = FakeStore(Random(1), latency=0.001), clock()
        (limiter,) = processes(1, store, 1, 1.0, 30)
        await limiter.acquire("crm")
        first, second = (asyncio.create_task(limiter.acquire("crm")) for _ in range(2))
        await asyncio.sleep(0.1)

        def cancel() -> None:
            asyncio.get_running_loop().call_soon(first.cancel)

        after_the_next_grant(limiter, cancel)
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()
        assert clock() - began < 1.2
        await asyncio.sleep(1)
        assert sum(map(len, store.entries.values())) == 2

    run(main())


def test_reservations_that_a_penalty_outlasts_are_given_back_and_are_nobody_s_lateness() -> None:
    async def main() -> None:
        store = FakeStore(Random(1), latency=0.001)
        (limiter,) = processes(1, store, 1, 1.0, 60)
        calls = [asyncio.create_task(limiter.acquire("crm")) for _ in range(5)]
        await asyncio.sleep(0.1)
        limiter.penalise("crm", "", 20)
        await asyncio.gather(*calls)
        await asyncio.sleep(1)
        assert sum(map(len, store.entries.values())) == 5
        assert limiter._shared is not None
        assert limiter._shared.slack == MARGIN

    run(main())


def test_a_thousand_waiting_calls_hold_few_reservations() -> None:
    async def main() -> None:
        store = FakeStore(Random(1))
        (limiter,) = processes(1, store, 5, 1.0, None)
        calls = [asyncio.create_task(limiter.acquire("crm")) for _ in range(1_000)]
        await asyncio.sleep(1)
        now = clock()
        assert sum(entry > now + 1e-9 for entry in next(iter(store.entries.values()))) <= BATCH
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await limiter.aclose()

    run(main())


def test_one_call_is_not_starved_by_a_thousand_of_another_process() -> None:
    async def main() -> None:
        one, two = processes(2, FakeStore(Random(1)), 10, 1.0, None)
        calls = [asyncio.create_task(one.acquire("crm")) for _ in range(1_000)]
        await asyncio.sleep(0.5)
        began = clock()
        await two.acquire("crm")
        assert clock() - began < 2 + BATCH / 10
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    run(main())


def test_away_and_back_the_process_keeps_its_own_limit() -> None:
    async def main() -> None:
        store, starts = FakeStore(Random(1)), list[float]()
        (limiter,) = processes(1, store, 3, 1.0, 30)

        async def fn() -> None:
            starts.append(clock())

        async def away() -> None:
            for seconds in (1.5, 4.0, 2.0, 3.0):
                await asyncio.sleep(seconds)
                store.is_away = not store.is_away

        outage = asyncio.create_task(away())
        await asyncio.gather(*(limiter.throttle("crm", fn) for _ in range(40)))
        await outage
        assert len(starts) == 40
        assert all(later - first >= 1.0 for first, later in zip(starts, starts[3:], strict=False))
        assert max(starts) - min(starts) < 40 / 3 * 1.06 + 1
        await limiter.aclose()

    run(main())


def test_a_key_whose_reservation_came_after_the_store_had_gone_is_forgotten_too() -> None:
    """Another key has found that it is away, and nobody uses this one again."""

    async def main() -> None:
        store = FakeStore(Random(1), latency=0.4)
        (limiter,) = processes(1, store, 2, 1.0, 30)
        assert limiter._shared is not None
        await limiter.acquire("crm")
        waiting = asyncio.create_task(limiter.acquire("crm"))
        await asyncio.sleep(0.001)
        limiter._shared.went_away()
        limiter.set_config("crm", timeout=30)
        await waiting
        await asyncio.sleep(3 * SWEEP_INTERVAL)
        assert limiter.key_count == 0
        await limiter.aclose()

    run(main())


def ticking(most: int) -> Callable[[], float]:
    """The loop's time, which fails when it is asked for more often: by whoever goes round without ever waiting."""
    left = iter(range(most))

    def now() -> float:
        assert next(left, None) is not None, "somebody goes round without waiting"
        return clock()

    return now


def test_a_call_made_while_the_store_is_away_starts_behind_those_whose_turn_has_come() -> None:
    """The moment of who waits has passed, and the loop has not come to the timer that would have told it."""

    async def main() -> None:
        store, loop, order = FakeStore(Random(1), is_away=True), asyncio.get_running_loop(), list[int]()
        limiter = RateLimiter([], store, clock=ticking(1_000))
        limiter.set_config("crm", max_requests=3, window=1.0)

        async def call(number: int) -> None:
            await limiter.acquire("crm")
            order.append(number)

        calls = [loop.create_task(call(number)) for number in range(5)]

        def late() -> None:
            loop._virtual.now += 1.0  # type: ignore[attr-defined]
            calls.append(loop.create_task(call(5)))

        loop.call_later(0.5, late)
        await asyncio.sleep(2.0)
        await asyncio.gather(*calls)
        assert order == list(range(6))
        await limiter.aclose()

    run(main())


def test_nobody_is_asked_while_it_is_known_to_be_away() -> None:
    async def main() -> None:
        store = FakeStore(Random(1), is_away=True)
        (limiter,) = processes(1, store, 100, 1.0, 30)
        await asyncio.gather(*(limiter.acquire("crm") for _ in range(50)))
        began = clock()
        await limiter.acquire("crm")
        assert clock() == began
        assert len(store.asked) == 1
        await limiter.aclose()

    run(main())


def test_a_store_without_an_answer_in_time_refuses_who_may_not_wait() -> None:
    async def main() -> None:
        (limiter,) = processes(1, FakeStore(Random(1), latency=100.0), 5, 1.0, 1)
        began = clock()
        with pytest.raises(RateLimitedError):
            await limiter.acquire("crm")
        assert clock() - began == pytest.approx(1.5)
        await limiter.aclose()

    run(main())


def test_who_may_not_wait_for_somebody_in_front_is_refused_in_time() -> None:
    """The reservation in front was slow to come, so that it is for later than the one behind it."""

    @dataclass
    class OutOfOrder(FakeStore):
        waits: list[float] = field(default_factory=lambda: [3.0, 0.99])

        async def reserve(self, key: str, limit: RateLimit, *, count: int, slack: float, longest: float) -> Reserved:
            return Reserved((Reservation(self.waits.pop(0), "1"),))

        async def give_back(self, key: str, tokens: Sequence[str]) -> None:
            assert tokens == ["1"]

    async def main() -> None:
        limiter = RateLimiter([], OutOfOrder(Random(1)), clock=ticking(1_000))
        limiter.set_config("crm", max_requests=2, window=1.0, timeout=0.5)

        async def fn() -> None:
            pass

        in_front = asyncio.create_task(limiter.throttle("crm", fn, max_wait=None))
        await asyncio.sleep(0)
        began = clock()
        async with asyncio.timeout(60):
            with pytest.raises(RateLimitedError):
                await limiter.acquire("crm")
            assert clock() - began == pytest.approx(0.5 + ANSWER_TIME)
            await in_front
        assert clock() - began == pytest.approx(3.0)
        await limiter.aclose()

    run(main())


def test_a_penalty_is_told_to_the_others_and_holds_here_at_once() -> None:
    async def main() -> None:
        one, two = processes(2, FakeStore(Random(1)), 5, 1.0, 30)
        began = clock()
        one.penalise("crm", "", 4)
        await one.acquire("crm")
        assert clock() - began >= 4
        two.penalise("crm", "", 4)
        await asyncio.sleep(0.1)
        began = clock()
        await one.acquire("crm")
        assert clock() - began == pytest.approx(3.9, abs=0.05)

    run(main())


def test_an_idle_key_is_forgotten_and_one_with_a_reservation_is_not() -> None:
    async def main() -> None:
        (limiter,) = processes(1, FakeStore(Random(1)), 1, 1.0, None)
        await limiter.acquire("crm")
        limiter.penalise("crm", "", 100)
        waiting = asyncio.create_task(limiter.acquire("crm"))
        await asyncio.sleep(90)
        assert limiter.key_count == 1
        await waiting
        await asyncio.sleep(90)
        assert limiter.key_count == 0

    run(main())
