"""One call for many waiters: while something is being asked, whoever asks the same waits for the same answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class SingleFlight(Generic[Key, Answer]):
    """Runs at most one call for each key at a time. A waiter that is cancelled does not end the call for the others."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Answer]] = {}

    def is_running(self, key: Key) -> bool:
        """Whether a call for `key` is under way."""
        return key in self._running

    async def run(self, key: Key, call: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """The answer of the running call for `key`, or of a new one. Raises what the call raises."""
        return await asyncio.shield(self.begin(key, call))

    def begin(self, key: Key, call: Callable[[], Coroutine[Any, Any, Answer]]) -> asyncio.Task[Answer]:
        """The running call for `key`, or a new one, for those who do not wait."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(call())
            self._running[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        return task

    async def drain(self) -> None:
        """Wait until no call is under way, whatever becomes of them."""
        while self._running:
            await asyncio.wait(self._running.values())

    def _finish(self, key: Key, task: asyncio.Task[Answer]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Seen here, so that a failure whose waiters have all gone is not reported as never retrieved.
            task.exception()
