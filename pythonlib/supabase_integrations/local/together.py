"""Two steps of a start at the same time."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")


async def together(one: Coroutine[object, object, _A], other: Coroutine[object, object, _B]) -> tuple[_A, _B]:
    """Run both and return both results; when one fails, end the other and raise that failure itself."""
    try:
        async with asyncio.TaskGroup() as group:
            first, second = group.create_task(one), group.create_task(other)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return first.result(), second.result()
