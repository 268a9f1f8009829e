"""How long a local system runs: until it is told to stop, or until the process that started it is gone."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine

_POLL_SECONDS = 0.25


async def run_until_stopped(work: Coroutine[object, object, None], *, parent: int | None = None) -> None:
    """Run `work` until Ctrl-C, SIGTERM or SIGHUP, or until process `parent` is no longer our parent.

    The work is cancelled once and cleans up after itself; further signals wait for that.
    """
    task = asyncio.ensure_future(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    watch = asyncio.create_task(_watch(parent, stop)) if parent is not None else None
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        if watch:
            watch.cancel()


async def _watch(parent: int, stop: Callable[[], None]) -> None:
    # A killed parent sends nothing; its children get another parent.
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing but asking tells
        await asyncio.sleep(_POLL_SECONDS)
    stop()
