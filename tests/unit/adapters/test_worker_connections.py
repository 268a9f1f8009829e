"""Connections that take turns: never more than allowed, in the order of waiting, and none is lost to who gives up."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg.pq import TransactionStatus

from supabase_integrations.adapters import worker_connections
from supabase_integrations.adapters.worker_connections import Connection, WorkerConnections
from supabase_integrations.core.errors import StoreUnavailableError


@dataclass
class Opened:
    """Stands in for a psycopg connection: its state, and whether it was closed."""

    status: TransactionStatus = TransactionStatus.IDLE
    closed: bool = False

    @property
    def pgconn(self) -> Any:
        return SimpleNamespace(transaction_status=self.status)

    async def close(self) -> None:
        self.closed = True


@dataclass
class Server:
    """Opens connections, or refuses."""

    opened: list[Opened] = field(default_factory=list)
    away: bool = False

    async def connect(self) -> Connection:
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailableError
        self.opened.append(Opened())
        return cast(Connection, self.opened[-1])

    @property
    def living(self) -> int:
        return sum(not connection.closed for connection in self.opened)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def lines(server: Server) -> WorkerConnections:
    return WorkerConnections(server.connect, 2)


async def test_no_more_are_opened_than_allowed_and_who_waits_is_served_in_order(
    server: Server, lines: WorkerConnections
) -> None:
    served: list[int] = []

    async def use(number: int) -> None:
        line = await lines.take()
        served.append(number)
        await asyncio.sleep(0.001)
        await lines.give_back(line)

    await asyncio.gather(*(use(number) for number in range(50)))

    assert served == list(range(50))
    assert len(server.opened) == 2


async def test_a_connection_that_was_handed_to_somebody_who_gave_up_is_passed_on(
    server: Server, lines: WorkerConnections
) -> None:
    held = [await lines.take(), await lines.take()]
    first, second = asyncio.create_task(lines.take()), asyncio.create_task(lines.take())
    await asyncio.sleep(0)

    await lines.give_back(held[0])
    first.cancel()

    assert await second is held[0]
    with pytest.raises(asyncio.CancelledError):
        await first
    await lines.give_back(held[1])
    assert await lines.take() is held[1]


@pytest.mark.parametrize("status", [TransactionStatus.ACTIVE, TransactionStatus.INTRANS, TransactionStatus.INERROR])
async def test_a_connection_in_the_middle_of_something_is_closed_and_replaced(
    server: Server, lines: WorkerConnections, status: TransactionStatus
) -> None:
    used = [await lines.take(), await lines.take()]
    waiting = asyncio.create_task(lines.take())
    await asyncio.sleep(0)
    server.opened[0].status = status

    await lines.give_back(used[0])

    assert server.opened[0].closed
    assert (await waiting).connection is cast(Any, server.opened[2])


async def test_a_failed_opening_leaves_its_place_to_who_waits(server: Server) -> None:
    lines = WorkerConnections(server.connect, 1)
    server.away = True
    both = [asyncio.create_task(lines.take()) for _ in range(2)]

    with pytest.raises(StoreUnavailableError):
        await both[0]
    server.away = False

    assert (await both[1]).connection is cast(Any, server.opened[0])


async def test_an_old_connection_is_opened_anew(
    server: Server, lines: WorkerConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_connections, "_LIFETIME_SECONDS", -1.0)

    await lines.give_back(await lines.take())

    assert server.opened[0].closed


async def test_closing_ends_what_is_idle_at_once_and_the_rest_when_it_is_given_back(
    server: Server, lines: WorkerConnections
) -> None:
    idle, used = await lines.take(), await lines.take()
    waiting = asyncio.create_task(lines.take())
    await asyncio.sleep(0)
    await lines.give_back(used)
    line = await waiting
    await lines.give_back(idle)

    await lines.close()

    assert server.living == 1
    await lines.give_back(line)
    assert server.living == 0
    with pytest.raises(StoreUnavailableError):
        await lines.take()


async def test_too_many_who_wait_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_connections, "_MAX_WAITING", 1)
    lines = WorkerConnections(server.connect, 1)
    held = await lines.take()
    waiting = asyncio.create_task(lines.take())
    await asyncio.sleep(0)

    with pytest.raises(StoreUnavailableError):
        await lines.take()

    await lines.give_back(held)
    assert await waiting is held
