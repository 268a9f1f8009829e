"""A few open connections that take turns with everything this process sends as the worker.

psycopg's own pool was measured first: with ten reads in flight over five connections it took 40 % of a read's processor
time, most of it for those who wait, each in a task of its own, and for maintenance that this process does not need.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from ..core.errors import StoreUnavailableError

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

_LIFETIME_SECONDS: Final = 1800.0
"""After so long a connection is opened anew: the server's session keeps what it cached, and names get new addresses."""
_MAX_WAITING: Final = 1000


@dataclass(eq=False, slots=True)
class Line:
    """One connection and when it has served its time."""

    connection: Connection
    ends_at: float


class WorkerConnections:
    """Opens connections when they are needed, at most `limit`, and serves those who wait in their order."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], limit: int) -> None:
        self._connect = connect
        self._limit = limit
        self._idle: list[Line] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[Line | None]] = deque()
        self._closed = False

    async def take(self) -> Line:
        """A connection for the caller alone, to be given back. Raises StoreUnavailableError."""
        while not self._closed:
            if self._idle:
                # The last one that was used: what is not needed grows old, and is closed.
                return self._idle.pop()
            if self._open < self._limit:
                return await self._open_another()
            line = await self._wait()
            if line is not None:
                return line
        raise StoreUnavailableError("This process is ending.")

    async def give_back(self, line: Line) -> None:
        """Pass it on, or close it where it is broken, in the middle of something, or old."""
        connection = line.connection
        is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        if self._closed or not is_idle or time.monotonic() > line.ends_at:
            self._open -= 1
            self._call(None)
            await connection.close()
        elif not self._call(line):
            self._idle.append(line)

    async def close_idle(self) -> None:
        """Close those that nobody uses: when one of them is lost, the others usually are too."""
        lines, self._idle = self._idle, []
        self._open -= len(lines)
        for line in lines:
            self._call(None)
            await line.connection.close()

    async def close(self) -> None:
        """Close all; those in use when they are given back."""
        self._closed = True
        while self._call(None):
            pass
        await self.close_idle()

    async def _open_another(self) -> Line:
        self._open += 1
        try:
            return Line(await self._connect(), time.monotonic() + _LIFETIME_SECONDS)
        except BaseException:
            self._open -= 1
            # Whoever waits may try for itself.
            self._call(None)
            raise

    async def _wait(self) -> Line | None:
        if len(self._waiting) >= _MAX_WAITING:
            raise StoreUnavailableError("Too much waits for the database in this process. Try again.")
        turn: asyncio.Future[Line | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                line = turn.result()
                if line is None:
                    self._call(None)
                else:
                    await self.give_back(line)
            raise

    def _call(self, line: Line | None) -> bool:
        """Hand a connection, or the right to open one, to whoever waits longest; False where nobody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(line)
                return True
        return False
