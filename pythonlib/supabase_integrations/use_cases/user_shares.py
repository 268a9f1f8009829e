"""How many calls of each user may be under way at a time: whoever is slow on purpose is so at their own expense.

Connections to a service, and the places in its line where it counts all users together, are everybody's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from ..core.errors import RateLimitedError

CALLS: Final = 25
"""A quarter of the connections to one host. A page that asks for more at once has the rest wait."""
WAIT: Final = timedelta(seconds=30)
WAITING: Final = 200
"""Calls of one user that may wait: each holds a connection to this server, which are everybody's too."""


@dataclass(slots=True)
class _Share:
    places: asyncio.Semaphore
    calls: int = field(default=0)
    """Those that have a place or wait for one."""


class UserShares:
    """Gives out the places."""

    def __init__(self, calls: int = CALLS, wait: timedelta = WAIT, waiting: int = WAITING) -> None:
        self._calls = calls
        self._wait = wait
        self._most = calls + waiting
        self._shares: dict[UUID, _Share] = {}

    def __len__(self) -> int:
        """Users with calls under way."""
        return len(self._shares)

    @asynccontextmanager
    async def place(self, user_id: UUID) -> AsyncIterator[None]:
        """A place for as long as the block lasts. Raises RateLimitedError where none becomes free in time, or too many
        calls wait for one.
        """
        share = self._shares.setdefault(user_id, _Share(asyncio.Semaphore(self._calls)))
        if share.calls >= self._most:
            raise RateLimitedError(timedelta(seconds=1))
        share.calls += 1
        try:
            await self._acquire(share.places)
            try:
                yield
            finally:
                share.places.release()
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[user_id]

    async def _acquire(self, places: asyncio.Semaphore) -> None:
        if not places.locked():
            await places.acquire()
            return
        try:
            async with asyncio.timeout(self._wait.total_seconds()):
                await places.acquire()
        except TimeoutError:
            raise RateLimitedError(timedelta(seconds=1)) from None
