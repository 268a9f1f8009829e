"""Work that a cancellation may not leave half done."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Do `work` to its end, and pass a cancellation on only then. A second cancellation ends the work as well.

    For what is short or bounded in time, and would leave something behind. Raises what `work` raises, unless the caller
    was cancelled.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await task
        raise
