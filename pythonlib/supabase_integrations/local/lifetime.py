"""How long a local system runs: until it is told to stop, or until its terminal or the process that started it is gone.

A closed terminal tells only the leader of its session: that is the shell, which passes it on, but with
`ssh -t HOST make dev` it is make, which waits for its command instead. So the terminal is watched as well.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine

_POLL_SECONDS = 0.25


async def run_until_stopped(work: Coroutine[object, object, None], *, parent: int | None = None) -> None:
    """Run `work` until Ctrl-C, SIGTERM, SIGHUP, the end of our terminal, or until `parent` is no longer our parent.

    The work is cancelled once and cleans up after itself; further signals wait for that. Under `nohup` neither SIGHUP
    nor the end of the terminal stops it.
    """
    task = asyncio.ensure_future(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            task.cancel()

    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    in_terminal = not outlives_terminal and _has_terminal()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, *([] if outlives_terminal else [signal.SIGHUP])):
        loop.add_signal_handler(number, stop)
    watch = asyncio.create_task(_watch(parent, stop, in_terminal=in_terminal))
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        watch.cancel()


async def _watch(parent: int | None, stop: Callable[[], None], *, in_terminal: bool) -> None:
    # A killed parent sends nothing; its children get another parent.
    while parent in (None, os.getppid()) and (_has_terminal() or not in_terminal):  # noqa: ASYNC110 - only asking tells
        await asyncio.sleep(_POLL_SECONDS)
    stop()


def _has_terminal() -> bool:
    """Whether this process's session has a terminal; it has none from the moment that one is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
