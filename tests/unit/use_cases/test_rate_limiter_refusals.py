"""Calls that the service itself refuses, and how they are tried again, on a virtual clock."""

import asyncio
from math import inf, nan

import pytest

from supabase_integrations.core.errors import RateLimitedError
from supabase_integrations.use_cases.rate_limiter import SWEEP_INTERVAL
from tests.unit.use_cases.limiting import Log, RefusedError, all_of, limiter, wait_of
from tests.unit.virtual_time import run


def test_a_refused_call_is_tried_again_when_the_service_says() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        assert await crm.throttle("crm", log.call("a", RefusedError(4), RefusedError(0))) == "a"
        assert log.starts == [("a", 0.0), ("a", 4.0), ("a", 4.0)]

    run(main())


def test_a_refused_call_keeps_its_place_and_its_key_waits_with_it() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(2)
        await all_of(
            crm.throttle("crm", log.call("a", RefusedError(4), takes=0.1)),
            crm.throttle("crm", log.call("b", RefusedError(3))),
            *(crm.throttle("crm", log.call(name)) for name in "cd"),
            crm.throttle("crm", log.call("other"), account="other"),
        )
        assert log.starts == [
            *(("a", 0.0), ("b", 0.0), ("other", 0.0)),
            *(("a", 4.1), ("b", 4.1), ("c", 5.1), ("d", 5.1)),
        ]

    run(main())


def test_a_call_that_took_long_waits_as_it_is_told_though_its_line_was_forgotten() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        await crm.throttle("crm", log.call("a", RefusedError(4), takes=2 * SWEEP_INTERVAL))
        assert log.starts == [("a", 0.0), ("a", 2 * SWEEP_INTERVAL + 4)]

    run(main())


def test_a_refusal_without_a_wait_slows_the_key_all_the_same() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(5)
        await crm.throttle("crm", log.call("a", RefusedError()))
        assert 0.5 <= log.starts[1][1] <= 1.0

    run(main())


def test_a_call_that_is_always_refused_fails_with_the_service_s_error() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(9, max_retries=2)
        with pytest.raises(RefusedError):
            await crm.throttle("crm", log.call("a", *(RefusedError(1) for _ in range(9))))
        assert [start for _, start in log.starts] == [0.0, 1.0, 2.0]

    run(main())


def test_all_attempts_together_wait_no_longer_than_allowed() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(9, timeout=10, max_retries=9)
        with pytest.raises(RefusedError):
            await crm.throttle("crm", log.call("a", *(RefusedError(4) for _ in range(9))))
        assert [start for _, start in log.starts] == [0.0, 4.0, 8.0]

    run(main())


def test_a_refusal_for_long_fails_at_once_and_slows_those_who_come() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(9)
        with pytest.raises(RefusedError):
            await crm.throttle("crm", log.call("a", RefusedError(3600)))
        with pytest.raises(RateLimitedError) as refused:
            await crm.throttle("crm", log.call("b"))
        assert wait_of(refused.value) == 3600.0
        assert len(log.starts) == 1

    run(main())


def test_other_errors_are_the_caller_s() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(9)
        with pytest.raises(ValueError):
            await crm.throttle("crm", log.call("a", ValueError()))
        assert len(log.starts) == 1

    run(main())


def test_cancelled_while_refused_leaves_the_line_to_the_others() -> None:
    async def main() -> None:
        log, crm = Log(), limiter(1)
        first = asyncio.create_task(crm.throttle("crm", log.call("a", RefusedError(5))))
        second = asyncio.create_task(crm.throttle("crm", log.call("b")))
        await asyncio.sleep(1)
        first.cancel()
        assert await second == "b"
        assert log.starts == [("a", 0.0), ("b", 5.0)]

    run(main())


@pytest.mark.parametrize(("wait", "held"), [(1e300, 86_400), (inf, 86_400), (-1, 0), (-inf, 0), (nan, 0)])
def test_a_wait_that_nobody_can_mean_is_bounded(wait: float, held: float) -> None:
    """A service may have written it, and it must neither block a key for good nor break the calls behind it."""

    async def main() -> None:
        crm, log = limiter(), Log()
        crm.penalise("crm", "1", wait)
        crm.penalise_service("crm", wait)
        for account in ("1", "2"):
            if not held:
                await crm.throttle("crm", log.call("a"), account=account, max_wait=0)
                continue
            with pytest.raises(RateLimitedError) as refused:
                await crm.throttle("crm", log.call("a"), account=account, max_wait=0)
            assert wait_of(refused.value) == held

    run(main())
