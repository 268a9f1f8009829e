"""When the worker looks again: at what is announced, at the poll, and never more than once a second."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from supabase_integrations.adapters.worker_listener import moment_of
from supabase_integrations.use_cases.due_bell import DueBell
from tests.unit.fakes import FakeClock
from tests.unit.virtual_time import LoopClock, in_virtual_time

HOUR = timedelta(hours=1)


async def rang_within(bell: DueBell, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True


@in_virtual_time
async def test_it_rings_at_the_poll() -> None:
    assert await rang_within(DueBell(LoopClock(), timedelta(milliseconds=50)), 2)
    assert not await rang_within(DueBell(LoopClock(), HOUR), 0.1)


@in_virtual_time
async def test_an_announced_moment_ends_a_wait_that_has_begun() -> None:
    clock = LoopClock()
    bell = DueBell(clock, HOUR)
    waiting = asyncio.create_task(rang_within(bell, 3))
    await asyncio.sleep(0)

    bell.announce(clock.now() + timedelta(seconds=0.2))

    assert await waiting
    assert not await rang_within(bell, 0.1)


@in_virtual_time
async def test_what_is_due_after_the_next_look_is_not_remembered() -> None:
    clock = LoopClock()
    bell = DueBell(clock, timedelta(seconds=60))

    for seconds in range(61, 5000):
        bell.announce(clock.now() + timedelta(seconds=seconds))

    assert bell.remembered <= 1


@in_virtual_time
async def test_a_flood_of_announcements_is_one_a_second() -> None:
    """Every role of a database may NOTIFY."""
    clock = LoopClock()
    bell = DueBell(clock, timedelta(seconds=60))

    for number in range(100_000):
        bell.announce(datetime.fromtimestamp(number, UTC))
        bell.announce(clock.now() + timedelta(seconds=number % 60))

    assert bell.remembered <= 62
    rings, end = 0, clock.now() + timedelta(seconds=2.5)
    while clock.now() < end:
        await bell.wait()
        rings += 1
    assert rings <= 4


@in_virtual_time
async def test_a_shorter_wait_ends_earlier_and_a_ring_ends_all() -> None:
    bell = DueBell(LoopClock(), HOUR)
    await bell.wait(timedelta(milliseconds=20))

    waiting = asyncio.create_task(rang_within(bell, 5))
    await asyncio.sleep(0)
    bell.ring()

    assert await waiting
    assert await rang_within(bell, 0.1)


@in_virtual_time
async def test_a_clock_that_is_set_back_delays_no_look() -> None:
    clock = FakeClock()
    bell = DueBell(clock, timedelta(milliseconds=50))
    bell.announce(clock.now() + timedelta(milliseconds=50))
    waiting = asyncio.create_task(rang_within(bell, 2))
    await asyncio.sleep(0)
    clock.moment -= HOUR

    assert await waiting


@pytest.mark.parametrize("payload", ["", "soon", "-5", "1e9", "1.5", " 1", "٣", "9" * 19, "9" * 4000, "32503680000"])
def test_an_announcement_that_names_no_moment_is_nothing(payload: str) -> None:
    assert moment_of(payload) is None


def test_an_announcement_names_its_moment_in_epoch_seconds() -> None:
    assert moment_of("1767323045") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
