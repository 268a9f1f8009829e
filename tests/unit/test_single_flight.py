"""Many waiters, one call: its answer and its failure are shared, and no waiter's end is another's."""

import asyncio

import pytest

from supabase_integrations.single_flight import SingleFlight


class Call:
    """Counts how often it was started, and answers when `gate` opens."""

    def __init__(self, answer: int | Exception = 7) -> None:
        self.started = 0
        self.gate = asyncio.Event()
        self.answer = answer

    async def __call__(self) -> int:
        self.started += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_one_call_answers_everyone_who_waits() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    call = Call()
    waiters = [asyncio.create_task(flight.run("key", call)) for _ in range(10)]
    await asyncio.sleep(0)
    assert flight.is_running("key")
    call.gate.set()
    assert await asyncio.gather(*waiters) == [7] * 10
    assert call.started == 1
    assert not flight.is_running("key")


async def test_a_failure_is_everyones_and_the_next_call_is_a_new_one() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    call = Call(OSError("down"))
    call.gate.set()
    outcomes = await asyncio.gather(*[flight.run("key", call) for _ in range(3)], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OSError] * 3
    with pytest.raises(OSError, match="down"):
        await flight.run("key", call)
    assert call.started == 2


async def test_two_keys_are_two_calls() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    call = Call()
    call.gate.set()
    await asyncio.gather(flight.run("a", call), flight.run("b", call))
    assert call.started == 2


async def test_a_call_goes_on_when_a_waiter_leaves() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    call = Call()
    first, second = (asyncio.create_task(flight.run("key", call)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    call.gate.set()
    assert await second == 7


async def test_a_failure_that_nobody_waits_for_any_more_is_silent() -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    flight: SingleFlight[str, int] = SingleFlight()
    call = Call(OSError("down"))
    waiter = asyncio.create_task(flight.run("key", call))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    call.gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert complaints == []
    assert not flight.is_running("key")


async def test_draining_waits_for_calls_that_nobody_waits_for_any_more() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    ended = []

    async def call() -> int:
        await asyncio.sleep(0.01)
        ended.append(1)
        raise RuntimeError("seen by nobody")

    waiter = asyncio.create_task(flights.run("key", call))
    await asyncio.sleep(0)
    waiter.cancel()
    await flights.drain()
    assert ended == [1]
    assert not flights.is_running("key")
