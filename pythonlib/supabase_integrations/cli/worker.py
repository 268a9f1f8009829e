"""`integrations worker`: renews connections in the background."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import typer

from .environment import EnvFile, read_environment

if TYPE_CHECKING:
    from ..worker_integrations import WorkerConfiguration

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def worker(env_file: EnvFile = None) -> None:
    """Renew what is due and clear away what has expired, until it is asked to stop. Run as many as wanted."""
    from ..logs import configure_logs
    from ..settings import refuse_database_access
    from ..worker_integrations import WorkerConfiguration

    environment = read_environment(env_file)
    configuration = WorkerConfiguration.from_environment(environment)
    if not configuration.settings.is_development:
        refuse_database_access(environment, command="worker")
    configure_logs()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        finished = runner.run(_run(configuration))
    if not finished:
        raise typer.Exit(1)


async def _run(configuration: "WorkerConfiguration") -> bool:
    """Work until the first signal; the second one ends the process at once."""
    from ..worker_integrations import open_worker

    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    stop: Callable[[], object] | None = me.cancel if me else None

    def on_signal() -> None:
        for number in _SIGNALS:
            # Without clean-up: what a renewal had in hand is in the journal, and leases end by themselves.
            loop.add_signal_handler(number, os._exit, 1)
        if stop:
            stop()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        async with open_worker(configuration) as opened:
            stop = opened.stop
            return await opened.run()
    except asyncio.CancelledError:
        # Asked to stop while the database was still waited for: nothing was begun.
        return True


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
