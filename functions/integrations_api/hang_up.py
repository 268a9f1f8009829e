"""Work that ends when the client does: nobody waits for what a service still wants to say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive


@asynccontextmanager
async def while_connected(receive: Receive, received: asyncio.Event) -> AsyncIterator[None]:
    """Cancel the block, and leave it silently, when the client hangs up after its whole body was `received`."""
    task = asyncio.current_task()
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        await received.wait()
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
        if is_gone:
            # The cancellation has not arrived yet.
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        if not is_gone or task is None or task.uncancel() > 0:
            raise
    finally:
        watcher.cancel()
