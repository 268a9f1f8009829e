"""What callers of the limiter see, on a virtual clock."""

import asyncio
from datetime import timedelta

import pytest

from supabase_integrations.core.errors import InvalidValueError, RateLimitedError, UnknownServiceError
from supabase_integrations.core.service_kinds import LimitScope
from supabase_integrations.core.start_log import MARGIN
from supabase_integrations.use_cases.rate_limiter import SWEEP_INTERVAL, RateLimiter
from tests.unit.conftest import load
from tests.unit.use_cases.limiting import WINDOW, Log, all_of, limiter, wait_of
from tests.unit.virtual_time import clock, run


def test_calls_beyond_the_limit_wait_for_the_window() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(2)
        assert await all_of(*(crm.throttle("crm", log.call(name)) for name in "abcde")) == [*"abcde"]
        assert log.starts == [("a", 0.0), ("b", 0.0), ("c", 1.0), ("d", 1.0), ("e", 2.0)]

    run(main())


def test_an_idle_key_never_waits_behind_a_busy_one() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1)
        busy = [crm.throttle("crm", log.call("busy"), account="1") for _ in range(5)]
        await all_of(*busy, crm.throttle("crm", log.call("idle"), account="2"))
        assert ("idle", 0.0) in log.starts

    run(main())


def test_an_app_s_limit_is_one_for_all_accounts() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1, per=LimitScope.SERVICE)
        await all_of(*(crm.throttle("crm", log.call(name), account=name) for name in "abc"))
        assert log.starts == [("a", 0.0), ("b", 1.0), ("c", 2.0)]
        assert crm.key_count == 1

    run(main())


def test_a_late_event_loop_does_not_bunch_calls() -> None:
    """Calls are counted when they start: one that starts late moves those after it."""

    async def main() -> None:
        log, crm = Log(), limiter(2)
        loop = asyncio.get_running_loop()

        def stall() -> None:
            loop._virtual.now += 0.7  # type: ignore[attr-defined]

        loop.call_at(log.began + 0.999, stall)
        await all_of(*(crm.throttle("crm", log.call(name)) for name in "abcdef"))
        moments = [start for _, start in log.starts]
        assert moments[2] > 1.6
        assert all(later - first >= WINDOW for first, later in zip(moments, moments[2:], strict=False))

    run(main())


def test_a_full_line_refuses_with_the_wait() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1, max_queue=2)
        ended = await all_of(*(crm.throttle("crm", log.call(name)) for name in "abcd"))
        assert ended[:3] == [*"abc"]
        assert wait_of(ended[3]) == 3.0

    run(main())


def test_a_line_that_is_off_refuses_what_cannot_start_at_once() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1, queue_enabled=False)
        ended = await all_of(*(crm.throttle("crm", log.call(name)) for name in "ab"))
        assert ended[0] == "a"
        assert wait_of(ended[1]) == 1.0
        await asyncio.sleep(1)
        assert await crm.throttle("crm", log.call("c")) == "c"

    run(main())


def test_who_would_wait_too_long_is_told_at_once() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1, timeout=2.5)
        ended = await all_of(*(crm.throttle("crm", log.call(name)) for name in "abcd"))
        assert (ended[:3], wait_of(ended[3])) == ([*"abc"], 3.0)
        began = clock()
        with pytest.raises(RateLimitedError):
            await crm.throttle("crm", log.call("e"), max_wait=0.5)
        assert clock() == began

    run(main())


def test_one_call_may_wait_longer_than_the_rules_say() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1, timeout=0)
        await crm.throttle("crm", log.call("a"))
        assert await crm.throttle("crm", log.call("b"), max_wait=None) == "b"

    run(main())


def test_a_penalty_slows_its_key_and_no_other() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        crm.penalise("crm", "1", 3)
        crm.penalise("crm", "1", timedelta(seconds=2))
        await all_of(*(crm.throttle("crm", log.call(account), account=account) for account in "12"))
        assert log.starts == [("2", 0.0), ("1", 3.0)]

    run(main())


def test_a_penalty_refuses_those_it_makes_too_late_and_keeps_the_rest() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1, timeout=5)
        patient = asyncio.gather(
            crm.throttle("crm", log.call("a")),
            crm.throttle("crm", log.call("b"), max_wait=2),
            crm.throttle("crm", log.call("c")),
            return_exceptions=True,
        )
        await asyncio.sleep(0.5)
        crm.penalise("crm", "", 3)
        ended = await patient
        assert (ended[0], wait_of(ended[1]), ended[2]) == ("a", 3.0, "c")
        assert log.starts == [("a", 0.0), ("c", 3.5)]

    run(main())


def test_a_penalty_of_the_service_holds_for_accounts_that_come_later() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        crm.penalise_service("crm", 2)
        await crm.throttle("crm", log.call("late"), account="new")
        assert log.starts == [("late", 2.0)]

    run(main())


def test_headers_slow_the_account_that_was_called() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        crm.observe("crm", "1", {"x-shopify-shop-api-call-limit": "38/40"})
        await all_of(*(crm.throttle("crm", log.call(account), account=account) for account in "12"))
        assert log.starts == [("2", 0.0), ("1", 3.0)]

    run(main())


def test_the_app_s_usage_slows_every_account() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        crm.observe("crm", "1", {"x-app-usage": '{"call_count": 90}'})
        await crm.throttle("crm", log.call("2"), account="2")
        assert log.starts == [("2", 30.0)]

    run(main())


def test_cancelled_at_the_moment_of_being_let_go_the_next_one_goes() -> None:
    """The timer lets `b` go and `b` is cancelled before the event loop comes to it: its place is `c`'s at once."""

    async def main() -> None:
        log, crm = Log(), limiter(1)
        tasks = [asyncio.create_task(crm.throttle("crm", log.call(name))) for name in "abc"]
        granted: list[int] = []

        def cancel() -> None:
            granted.append(crm._queue("crm", "")._granted)
            tasks[1].cancel()

        # Within the clock's resolution: the loop runs it right after the timer that lets b go.
        asyncio.get_running_loop().call_at(log.began + 1 + 1e-10, cancel)
        await all_of(*tasks)
        assert granted == [1]
        assert log.starts == [("a", 0.0), ("c", 1.0)]

    run(main())


def test_nobody_starts_between_being_let_go_and_starting() -> None:
    """An eager task might: what was let go has not been counted yet."""

    async def main() -> None:
        log, crm = Log(), limiter(1)
        tasks = [asyncio.create_task(crm.throttle("crm", log.call(name))) for name in "ab"]
        await asyncio.sleep(0)
        seen: list[tuple[int, bool]] = []

        def newcomer() -> None:
            queue = crm._queue("crm", "")
            seen.append((queue._granted, queue.try_start()))

        asyncio.get_running_loop().call_at(log.began + 1 + 1e-10, newcomer)
        await all_of(*tasks)
        assert seen == [(1, False)]

    run(main())


def test_a_call_made_on_a_late_loop_starts_behind_those_whose_turn_has_come() -> None:
    """The moment of who waits has passed, and the loop has not come to the timer that would have told it."""

    async def main() -> None:
        log, crm = Log(), limiter(3)
        loop = asyncio.get_running_loop()
        calls = [loop.create_task(crm.throttle("crm", log.call(name))) for name in "abcde"]

        def late() -> None:
            loop._virtual.now += 1.0  # type: ignore[attr-defined]
            calls.append(loop.create_task(crm.throttle("crm", log.call("f"))))

        loop.call_at(log.began + 0.5, late)
        await asyncio.sleep(2.0)
        assert await all_of(*calls) == [*"abcdef"]
        assert [name for name, _ in log.starts] == [*"abcdef"]
        assert log.starts[-1] == ("f", 1.5)

    run(main())


def test_rules_change_for_those_who_wait() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1)
        tasks = [asyncio.create_task(crm.throttle("crm", log.call(name))) for name in "abcd"]
        await asyncio.sleep(0.5)
        crm.set_config("crm", max_requests=3)
        await all_of(*tasks)
        assert log.starts == [("a", 0.0), ("b", 0.5), ("c", 0.5), ("d", 1.0)]

    run(main())


def test_rules_are_changed_and_not_replaced_before_the_first_call() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1)
        crm.set_config("crm", timeout=0.4)
        assert await crm.throttle("crm", log.call("a")) == "a"
        with pytest.raises(RateLimitedError):
            await crm.throttle("crm", log.call("b"))

    run(main())


def test_a_mistake_in_the_rules_changes_nothing() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1)
        with pytest.raises(InvalidValueError):
            crm.set_config("crm", max_requests=0, queue_enabled=False)
        assert await all_of(*(crm.throttle("crm", log.call(name)) for name in "ab")) == ["a", "b"]

    run(main())


def test_an_unknown_service_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(UnknownServiceError):
            await limiter().throttle("cmr", Log().call("a"))
        with pytest.raises(UnknownServiceError):
            await limiter().throttle_batch("cmr", ["a"], lambda name: Log().call(name)())
        with pytest.raises(UnknownServiceError):
            limiter().penalise("cmr", "", 1)

    run(main())


def test_the_catalogue_s_limits_hold_without_any_configuration() -> None:
    async def main() -> None:
        log, services = Log(), RateLimiter(load(), clock=clock)
        calls = [services.throttle("hubspot", log.call("a"), account="portal") for _ in range(111)]
        await all_of(*calls, services.throttle("demo_crm", log.call("unlimited")))
        assert sum(start == 0.0 for _, start in log.starts) == 111
        assert log.starts[-1] == ("a", 10.0 + MARGIN)

    run(main())


def test_a_key_is_forgotten_when_its_window_is_over_and_not_before() -> None:
    async def main() -> None:
        crm = RateLimiter([], clock=clock)
        crm.set_config("crm", max_requests=1, window=2.5 * SWEEP_INTERVAL, per=LimitScope.ACCOUNT, timeout=None)
        for number in range(3_000):
            await crm.acquire("crm", account=str(number))
        await asyncio.sleep(2.4 * SWEEP_INTERVAL)
        assert crm.key_count == 3_000
        crm.penalise("crm", "0", 10 * SWEEP_INTERVAL)
        await asyncio.sleep(4 * SWEEP_INTERVAL)
        assert crm.key_count == 1
        began = clock()
        await crm.acquire("crm", account="0")
        assert clock() - began == pytest.approx(6 * SWEEP_INTERVAL)
        await asyncio.sleep(5 * SWEEP_INTERVAL)
        assert crm.key_count == 0

    run(main())
