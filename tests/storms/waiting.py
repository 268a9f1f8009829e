"""Waiting for what other processes do, of which no event tells."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_PAUSE = 0.05


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float, what: str) -> float:
    """Look until it is so; how many seconds that took. Fails with `what` was waited for after so many seconds."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < seconds, f"waited {seconds} s for {what}"
        await asyncio.sleep(_PAUSE)
    return time.monotonic() - began
