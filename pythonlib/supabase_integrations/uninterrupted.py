"""Work that a cancellation may not leave half done."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Do `work` to its end, and pass a cancellation on only then, however many there are.

    For what is short or bounded in time, and would leave something behind. Raises what `work` raises, unless the caller
    was cancelled. What ends all tasks, as the end of the loop does, ends `work` as well.
    """
    task = asyncio.create_task(work)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            # Not the only one: time limits are nested, and anyio's scopes cancel again with every turn of the loop.
            interruption = error
    if interruption is None:
        return task.result()
    if not task.cancelled():
        # Seen here, so that it is not reported as never retrieved.
        task.exception()
    raise interruption
