"""What may go wrong with one token request, drawn at random: at the service, on the way, and in whoever asked."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeAlias

import psycopg

from supabase_integrations.core.models import IntegrationRef
from tests.storms.fleet import Fleet, WorkerProcess
from tests.storms.token_proxy import Exchange, Turn

Fault: TypeAlias = Callable[[Turn], Coroutine[None, None, None]]

_LOCK_ROW: Final = "select from public.integrations where id = %s for update"
_WHO_WAITS: Final = """
    select pid
    from pg_stat_activity
    where usename = 'integrations_worker' and pg_backend_pid() = any(pg_blocking_pids(pid))
"""
_END_SESSION: Final = "select pg_terminate_backend(%s)"
_LOOKS: Final = 200
_DEADLY: Final = 0.12
"""How many of the requests end with the death of who sent them, as long as deaths are left."""


@dataclass(slots=True)
class FaultyService:
    """Behaves as the dice say. Nothing of it is in the product: it sees requests, rows and process ids."""

    random: Random
    fleet: Fleet
    superuser_url: Callable[[], str]
    owners: dict[str, IntegrationRef]
    """Whose refresh token it is, by digest; grows with every reply."""
    killed: list[WorkerProcess] = field(default_factory=list)
    """The workers it killed, until somebody takes them away."""
    reached_the_write: list[Exchange] = field(default_factory=list)
    """Who asked was killed while it wrote the reply to the database: it had written it to its journal before."""
    happened: Counter[str] = field(default_factory=Counter)
    deaths: list[Fault] = field(init=False)
    """How workers are still to be killed, the next one last."""

    def __post_init__(self) -> None:
        self.deaths = [
            *(self._killed_before_the_call for _ in range(3)),
            *(self._killed_after_the_reply for _ in range(8)),
            *(self._killed_during_the_write for _ in range(3)),
            *(self._killed_and_the_write_undone for _ in range(3)),
        ]
        self.random.shuffle(self.deaths)

    async def behave(self, turn: Turn) -> None:
        """Do to one request what is drawn for it."""
        fault = self._drawn(turn)
        self.happened[fault.__name__.strip("_")] += 1
        await self._with_owner(fault, turn)

    async def behave_well(self, turn: Turn) -> None:
        """Pass a request on."""
        await self._with_owner(self._nothing, turn)

    async def _with_owner(self, fault: Fault, turn: Turn) -> None:
        try:
            await fault(turn)
        finally:
            if turn.exchange.brought:
                self.owners[turn.exchange.brought] = self.owners[turn.exchange.spent]

    def _drawn(self, turn: Turn) -> Fault:
        lives = self.fleet.workers[turn.exchange.door] in self.fleet.living
        if self.deaths and lives and self.random.random() < _DEADLY:
            return self.deaths.pop()
        weights: dict[Fault, float] = {
            self._nothing: 60,
            self._slow_body: 8,
            self._server_error: 6,
            self._unavailable: 5,
            self._too_many: 3,
            self._silence: 5,
            self._reset: 6,
            self._half_a_head: 2,
        }
        return self.random.choices([*weights], [*weights.values()])[0]

    async def _nothing(self, turn: Turn) -> None:
        await turn.pass_on()

    async def _slow_body(self, turn: Turn) -> None:
        await turn.pass_on(seconds=self.random.uniform(0.1, 1.5))

    async def _server_error(self, turn: Turn) -> None:
        await turn.answer(500, b"<html>Oops</html>", {"content-type": "text/html"})

    async def _unavailable(self, turn: Turn) -> None:
        await turn.answer(503, b"{}", {"retry-after": str(self.random.randint(1, 120))})

    async def _too_many(self, turn: Turn) -> None:
        await turn.answer(429, b"", {"retry-after": "30"})

    async def _silence(self, turn: Turn) -> None:
        await asyncio.sleep(self.random.uniform(0.2, 2.0))

    async def _reset(self, turn: Turn) -> None:
        turn.reset()

    async def _half_a_head(self, turn: Turn) -> None:
        await turn.write(b"HTTP/1.1 200 OK\r\ncontent-le")

    async def _killed_before_the_call(self, turn: Turn) -> None:
        """The request has left the worker and never arrives."""
        self._kill(turn)

    async def _killed_after_the_reply(self, turn: Turn) -> None:
        """Somewhere between the last byte of the reply and the end of the write."""
        await turn.pass_on()
        await asyncio.sleep(self.random.uniform(0, 0.02))
        self._kill(turn)

    async def _killed_during_the_write(self, turn: Turn) -> None:
        """The statement has reached the database, and goes on there after the death of who sent it."""
        await self._kill_while_the_row_is_locked(turn, undo=False)

    async def _killed_and_the_write_undone(self, turn: Turn) -> None:
        """The statement has reached the database, and its session ends with it."""
        await self._kill_while_the_row_is_locked(turn, undo=True)

    async def _kill_while_the_row_is_locked(self, turn: Turn, *, undo: bool) -> None:
        try:
            database = await psycopg.AsyncConnection.connect(self.superuser_url())
        except psycopg.OperationalError:
            # The database is away.
            self._put_off(undo=undo)
            await turn.pass_on()
            return
        reply = await turn.ask()
        try:
            async with database:
                await database.execute(_LOCK_ROW, [self.owners[turn.exchange.spent].id])
                await turn.send(reply)
                session = await _whoever_waits(database)
                if session is None:
                    # It died otherwise before it came to write.
                    self._put_off(undo=undo)
                    return
                self._kill(turn)
                self.reached_the_write.append(turn.exchange)
                if undo:
                    await database.execute(_END_SESSION, [session])
        except psycopg.OperationalError:
            # It went away just now, which is a moment to die, too.
            if turn.exchange.replied_at is None:
                await turn.send(reply)
            self._kill(turn)
            if turn.exchange not in self.reached_the_write:
                self._put_off(undo=undo)

    def _put_off(self, *, undo: bool) -> None:
        """This death is for another time."""
        self.deaths.insert(0, self._killed_and_the_write_undone if undo else self._killed_during_the_write)

    def _kill(self, turn: Turn) -> None:
        worker = self.fleet.workers[turn.exchange.door]
        if worker in self.fleet.living:
            worker.kill()
            self.killed.append(worker)


async def _whoever_waits(database: psycopg.AsyncConnection) -> int | None:
    """The session that waits for a lock of this one; None where none comes in time."""
    for _ in range(_LOOKS):
        found = await (await database.execute(_WHO_WAITS)).fetchone()
        if found:
            return int(found[0])
        await asyncio.sleep(0.005)
    return None
