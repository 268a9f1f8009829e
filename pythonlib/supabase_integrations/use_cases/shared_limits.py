"""The store that processes share, and what to do while it is away: every process then keeps the limit by itself."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from ..core.errors import StoreUnavailableError
from ..core.start_log import MARGIN
from ..port_rate_limits import RateLimitStore

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds between the questions whether a store that was away is back."""
LONGEST_SLACK: Final = 1.0
AT_A_TIME: Final = 8
"""Questions to the store. A burst over many keys would otherwise open as many connections, and time out doing so."""

_log = logging.getLogger("supabase_integrations.rate_limits")


class SharedLimits:
    """One process's view of the store. Nothing here is waited for by a call, except a reservation."""

    def __init__(self, store: RateLimitStore) -> None:
        self.store = store
        self.is_away = False
        self.slack = MARGIN
        """Seconds a call may start after the first moment it may; learned from how late they do."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(AT_A_TIME)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[RateLimitStore]:
        """The store, when fewer than AT_A_TIME others are talking to it. Raises StoreUnavailableError if it is away."""
        async with self._gate:
            if self.is_away:
                raise StoreUnavailableError
            yield self.store

    def went_away(self) -> None:
        """The store did not answer: go on without it, say so once, and ask now and then whether it is back."""
        if not self.is_away:
            self.is_away = True
            _log.warning("rate_limit.store_away: every process keeps the limits by itself until it is back")
            self.start(self._until_it_is_back())

    def was_late(self) -> None:
        """A call could not start within its slack: ask for more."""
        self.slack = min(self.slack * 2, LONGEST_SLACK)

    def was_in_time(self) -> None:
        """A call started within its slack: less may do."""
        if self.slack > MARGIN:
            self.slack = max(MARGIN, self.slack * 0.95)

    def give_back(self, key: str, tokens: Sequence[str]) -> None:
        """Return reservations, in the background."""
        if tokens and not self.is_away:
            self._spawn(lambda store: store.give_back(key, tokens))

    def penalise(self, key: str, wait: float) -> None:
        """Tell the other processes, in the background."""
        if not self.is_away:
            self._spawn(lambda store: store.penalise(key, wait))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background until it is done or the limiter is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let what is being given back arrive, and stop the rest."""
        tasks = list(self._tasks)
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=LONGEST_SLACK)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _spawn(self, work: Callable[[RateLimitStore], Awaitable[None]]) -> None:
        self.start(self._unless_away(work))

    async def _unless_away(self, work: Callable[[RateLimitStore], Awaitable[None]]) -> None:
        try:
            async with self.turn() as store:
                await work(store)
        except StoreUnavailableError:
            self.went_away()

    async def _until_it_is_back(self) -> None:
        pause = FIRST_PAUSE
        while self.is_away:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self.store.ping()
            except StoreUnavailableError:
                continue
            self.is_away = False
            _log.info("rate_limit.store_back: the limits are shared again")
