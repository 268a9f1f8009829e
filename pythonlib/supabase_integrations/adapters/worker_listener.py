"""Hears what the database announces: when the next row becomes due.

LISTEN belongs to a server session, so this connection is a direct one or one of a pooler's session mode. A pooler in
transaction mode accepts the command and delivers nothing; the worker's own looks go on without it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Final, Protocol

import psycopg

from ..core.errors import StoreUnavailableError
from ..database_url import DatabaseUrl
from ..port import Clock
from .worker_pool import connect_worker, require_worker_role

CHANNEL: Final = "integrations_due"
_QUIET_SECONDS: Final = 30.0
"""After so long without a word, ask whether the other end is still there."""
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
_LONGEST_PAYLOAD: Final = 20
_LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC).timestamp()


class ListenerLog(Protocol):
    """Is told whether announcements are heard."""

    def listening(self) -> None:
        """They are."""
        ...

    def not_listening(self, reason: str, *, retry_in: float) -> None:
        """They are not; the connection is opened again after so many seconds."""
        ...


class DueListener:
    """Implements the worker's announcements."""

    def __init__(self, database: DatabaseUrl, clock: Clock, log: ListenerLog, random: Random | None = None) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._random = random or Random()  # noqa: S311 - spreads retries, keeps no secret
        self._failures = 0

    async def listen(self, announce: Callable[[datetime], None]) -> None:
        """Pass on every announced moment, forever; comes back by itself when the connection is lost.

        Raises ConfigurationError where the URL logs in as somebody else than the worker.
        """
        while True:
            try:
                await self._listen_once(announce)
            except (psycopg.Error, StoreUnavailableError, TimeoutError) as error:
                reason = self._database.conceal(str(error))
                ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._failures, 10))
                self._failures += 1
                wait = self._random.uniform(ceiling / 2, ceiling)
                self._log.not_listening(reason, retry_in=wait)
                await self._clock.sleep(wait)

    async def _listen_once(self, announce: Callable[[datetime], None]) -> None:
        connection = await connect_worker(self._database)
        async with connection:
            await require_worker_role(connection, "WORKER_LISTEN_URL")
            await connection.execute(f"listen {CHANNEL}")
            self._failures = 0
            self._log.listening()
            # What was announced while nobody listened is looked for at once.
            announce(self._clock.now())
            while True:
                async for notice in connection.notifies(timeout=_QUIET_SECONDS):
                    moment = moment_of(notice.payload)
                    if moment is not None:
                        announce(moment)
                async with asyncio.timeout(_QUIET_SECONDS):
                    await connection.execute("select 1")


def moment_of(payload: str) -> datetime | None:
    """The moment an announcement names, in epoch seconds; None for anything else, since every role may send one."""
    if len(payload) > _LONGEST_PAYLOAD or not payload.isascii() or not payload.isdigit():
        return None
    seconds = int(payload)
    return datetime.fromtimestamp(seconds, UTC) if seconds < _LATEST else None
