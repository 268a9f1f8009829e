"""Work that is done to its end although its caller is cancelled."""

import asyncio

import pytest

from supabase_integrations.uninterrupted import uninterrupted
from tests.unit.virtual_time import in_virtual_time


class Work:
    """Says how far it came, and goes on when `gate` opens."""

    def __init__(self, answer: int | Exception = 7) -> None:
        self.gate = asyncio.Event()
        self.said: list[str] = []
        self.answer = answer

    async def __call__(self) -> int:
        self.said.append("begun")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        self.said.append("done")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_answers_what_the_work_answers() -> None:
    work = Work()
    work.gate.set()
    assert await uninterrupted(work()) == 7


async def test_it_raises_what_the_work_raises() -> None:
    work = Work(OSError("down"))
    work.gate.set()
    with pytest.raises(OSError, match="down"):
        await uninterrupted(work())


@pytest.mark.parametrize("answer", [7, OSError("down")])
async def test_a_cancellation_is_passed_on_when_the_work_is_done(answer: int | Exception) -> None:
    work = Work(answer)
    caller = asyncio.create_task(uninterrupted(work()))
    await turns()
    caller.cancel()
    await turns()
    assert (caller.done(), work.said) == (False, ["begun"])
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.said == ["begun", "done"]


async def test_no_further_cancellation_ends_the_work() -> None:
    """As of the scopes of anyio, which cancel with every turn of the loop."""
    work = Work()
    caller = asyncio.create_task(uninterrupted(work()))
    await turns()
    for _ in range(20):
        caller.cancel()
        await asyncio.sleep(0)
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.said == ["begun", "done"]


@in_virtual_time
async def test_of_two_time_limits_the_outer_one_is_told() -> None:
    work = Work()
    asyncio.get_running_loop().call_later(0.1, work.gate.set)
    outer = asyncio.timeout(0.05)
    with pytest.raises(TimeoutError):
        async with outer, asyncio.timeout(0.01):
            await uninterrupted(work())
    assert outer.expired()
    assert work.said == ["begun", "done"]


async def test_work_that_is_cancelled_itself_is_over() -> None:
    """So ends a loop: it cancels every task."""
    others = asyncio.all_tasks()
    caller = asyncio.create_task(uninterrupted(Work()()))
    await turns()
    (work,) = asyncio.all_tasks() - {caller, *others}
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


@in_virtual_time
async def test_a_timeout_counts_as_a_cancellation() -> None:
    work = Work()
    asyncio.get_running_loop().call_later(0.05, work.gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await uninterrupted(work())
    assert work.said == ["begun", "done"]
