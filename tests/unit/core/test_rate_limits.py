"""The arithmetic of limits: against a plain list of starts, and what rules refuse."""

from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supabase_integrations.core.errors import InvalidValueError
from supabase_integrations.core.rate_limits import QueueRules, RateLimit, refusal_wait
from supabase_integrations.core.service_kinds import LimitScope
from supabase_integrations.core.start_log import MARGIN, NoLog, StartLog, log_for
from tests.unit.conftest import load

WINDOW = 10.0


def earliest(starts: list[float], requests: int, now: float, ahead: int, window: float = WINDOW) -> float:
    """The same answer, found by starting those ahead one by one."""
    at, starts = now, list(starts)
    for _ in range(ahead + 1):
        at = max(at, starts[-requests] + window) if len(starts) >= requests else at
        starts.append(at)
    return at


@given(
    requests=st.integers(1, 6),
    gaps=st.lists(st.floats(0, 12), max_size=30),
    wait=st.floats(0, 12),
    ahead=st.integers(0, 20),
)
def test_a_free_moment_is_the_one_a_list_of_all_starts_gives(
    requests: int, gaps: list[float], wait: float, ahead: int
) -> None:
    log, now = StartLog(requests, WINDOW), 0.0
    starts: list[float] = []
    for gap in gaps:
        now = earliest(starts, requests, now + gap, 0)
        log.record(now)
        starts.append(now)
    now += wait
    assert log.free_at(now, ahead) == pytest.approx(earliest(starts, requests, now, ahead))
    assert log.has_room(now) == (log.free_at(now, 0) <= now)
    assert log.is_idle(now) == all(start + WINDOW <= now for start in starts)


@given(
    phases=st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from([4.0, 7.0, 10.0]), st.lists(st.floats(0, 6), max_size=15)),
        max_size=5,
    ),
)
@example(phases=[(3, 10.0, [0.0] * 3), (1, 10.0, []), (3, 10.0, [0.0])])
@example(phases=[(3, 10.0, [0.0] * 3), (2, 7.0, [0.0]), (1, 4.0, [0.0] * 2), (4, 10.0, [0.0])])
@example(phases=[(2, 4.0, [0.0] * 4), (4, 4.0, [0.0]), (4, 10.0, [0.0])])
@example(phases=[(2, 4.0, [0.0] * 4), (2, 10.0, []), (4, 10.0, [0.0])])
def test_no_window_holds_more_than_the_limit_however_often_it_is_changed(
    phases: list[tuple[int, float, list[float]]],
) -> None:
    """Also where a window grows, or a limit that was lowered is raised again: starts that were left out count again."""
    log, now = StartLog(1, 10.0), 0.0
    starts: list[float] = []
    for requests, window, gaps in phases:
        log = log.resized(requests, window)
        for gap in gaps:
            now = log.free_at(now + gap, 0)
            log.record(now)
            starts.append(now)
            assert len([start for start in starts if start > now - window + 1e-9]) <= requests


def test_a_limit_that_is_raised_again_lets_as_many_more_start_as_it_counts() -> None:
    log = StartLog(3, 10.0)
    for start in (0.0, 1.0, 2.0):
        log.record(start)
    log = log.resized(1, 10.0).resized(4, 10.0)
    assert log.free_at(2.0, 0) == 2.0
    assert log.free_at(2.0, 1) == 10.0


def test_a_log_is_no_larger_than_its_limit() -> None:
    log = StartLog(100, 1.0)
    for start in range(10_000):
        log.record(float(start))
    assert len(log._starts) == 100


def test_every_window_has_a_margin_for_the_way_to_the_service() -> None:
    log = log_for(RateLimit(1, 1.0))
    log.record(0.0)
    assert not log.has_room(1.0 + MARGIN / 2)
    assert log.has_room(1.0 + MARGIN)


def test_without_a_limit_nothing_is_counted() -> None:
    log = log_for(None)
    log.record(0.0)
    assert isinstance(log, NoLog)
    assert log.has_room(0.0)
    assert log.free_at(5.0, 1_000) == 5.0
    assert log.is_idle(0.0)


@pytest.mark.parametrize(("requests", "window"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, float("inf"))])
def test_a_limit_that_means_nothing_is_refused(requests: int, window: float) -> None:
    with pytest.raises(InvalidValueError):
        RateLimit(requests, window)


@pytest.mark.parametrize(
    "wrong", [{"max_queue": -1}, {"timeout": -1.0}, {"timeout": float("nan")}, {"max_retries": -1}]
)
def test_rules_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError) as refused:
        QueueRules(None, **wrong)  # type: ignore[arg-type]
    assert refused.value.field == next(iter(wrong))


def test_a_limit_is_changed_in_parts_and_begun_as_a_whole() -> None:
    rules = QueueRules(RateLimit(10, 1.0, LimitScope.ACCOUNT))
    assert rules.with_limit(20, None, None).limit == RateLimit(20, 1.0, LimitScope.ACCOUNT)
    assert rules.with_limit(None, 5.0, LimitScope.SERVICE).limit == RateLimit(10, 5.0, LimitScope.SERVICE)
    with pytest.raises(InvalidValueError):
        QueueRules(None).with_limit(20, None, None)


def test_refusals_without_a_wait_are_waited_out_longer_each_time() -> None:
    limit, random = RateLimit(110, 10.0), Random(1)
    waits = [refusal_wait(limit, retries, random) for retries in range(8)]
    assert 1.25 <= waits[0] <= 2.5
    assert 2.5 <= waits[1] <= 5.0
    assert max(waits) <= 60.0
    assert 0.5 <= refusal_wait(None, 0, random) <= 1.0


def test_the_catalogue_says_what_the_four_services_count_for() -> None:
    limits = {service.name: service.rate_limit.limit() for service in load() if service.rate_limit}
    assert limits == {
        "meta_ads": RateLimit(300, 3600, LimitScope.ACCOUNT),
        "google_ads": RateLimit(15_000, 86_400, LimitScope.SERVICE),
        "hubspot": RateLimit(110, 10, LimitScope.ACCOUNT),
        "shopify": RateLimit(100, 1, LimitScope.TENANT),
    }
