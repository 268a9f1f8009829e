"""The same call for many items: in their order, a few at a time, where one failure does not lose the rest."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from ..core.errors import InvalidValueError

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item


@dataclass(frozen=True, slots=True)
class Succeeded(Generic[I, T]):
    """What came of one item."""

    item: I
    value: T


@dataclass(frozen=True, slots=True)
class Failed(Generic[I]):
    """What went wrong with one item; a cancellation where the item's call was cancelled, and the batch was not."""

    item: I
    error: Exception | asyncio.CancelledError


Outcome: TypeAlias = Succeeded[I, T] | Failed[I]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is: items finished in either way, those of them that failed, and all."""

    done: int
    failed: int
    total: int


async def run_batch(
    items: Iterable[I],
    call: Callable[[I], Awaitable[T]],
    *,
    concurrency: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Outcome[I, T]]:
    """The outcome of `call` for every item, in their order; items are begun in that order too.

    A hook that raises ends the batch with its error. Raises InvalidValueError for a concurrency below 1.
    """
    if concurrency < 1:
        raise InvalidValueError("concurrency", "concurrency must be at least 1")
    ordered = list(items)
    outcomes: dict[int, Outcome[I, T]] = {}
    rest = iter(enumerate(ordered))
    failed = 0

    async def work() -> None:
        nonlocal failed
        for place, item in rest:
            try:
                outcomes[place] = Succeeded(item, await call(item))
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                outcomes[place] = Failed(item, error)
                failed += 1
            if on_progress is not None:
                on_progress(Progress(len(outcomes), failed, len(ordered)))

    workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(ordered)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [outcomes[place] for place in range(len(ordered))]
