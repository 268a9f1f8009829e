"""Very many callers in several processes on one expired connection, at a real OAuth server that rotates refresh tokens
and ends the whole connection when an old one comes a second time.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from tests.local_system import LocalSystem
from tests.people import Person
from tests.storms.crowd import Heard, all_at_once, callers
from tests.storms.grants import DemoClient
from tests.storms.rows import Fate
from tests.storms.system import process_environment, user_settings, worker_settings
from tests.storms.token_proxy import Exchange, TokenProxy, Turn, digest

DOORS = ("user", "worker", "user", "worker")
CALLERS = 50
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Expired:
    """A connection whose access token ended while nobody looked."""

    person: Person
    ref: IntegrationRef
    spendable: str
    """Digest of its refresh token."""

    @property
    def target(self) -> dict[str, str]:
        """How callers are told of it."""
        return {
            "access_token": self.person.access_token,
            "user_id": self.person.user_id,
            "integration_id": str(self.ref.id),
        }


@dataclass(frozen=True, slots=True)
class Storm:
    """Processes that know the demo service by its recording proxy."""

    system: LocalSystem
    demo: DemoClient
    proxy: TokenProxy
    folder: Path
    fate: Fate

    async def expired(self, person: Person) -> Expired:
        """Make such a connection. The system's own worker does not hear of it."""
        (token,) = await self.demo.grants([person.user_id])
        (ref,) = await self.fate.connect("stormy", [(UUID(person.user_id), token)], due=False)
        return Expired(person, ref, digest(token.get_secret_value()))

    def jobs(self, *connections: Expired) -> list[tuple[Mapping[str, object], Mapping[str, str]]]:
        """One process for each door, with callers for each of the connections."""
        targets = [connection.target for connection in connections]
        return [
            ({"door": door, "targets": targets, "callers": CALLERS, "patience": PATIENCE}, self._environment(door))
            for door in DOORS
        ]

    def asked(self, connection: Expired) -> list[Exchange]:
        """The token requests with the connection's first refresh token."""
        return [exchange for exchange in self.proxy.exchanges if exchange.spent == connection.spendable]

    def _environment(self, door: str) -> dict[str, str]:
        settings = user_settings(self.system) if door == "user" else worker_settings(self.system)
        # Two machines: those of one door share a state directory.
        return process_environment(self.demo, self.proxy.url(door), self.folder / door, settings)


@pytest.fixture
def storm(local_system: LocalSystem, demo: DemoClient, proxy: TokenProxy, tmp_path: Path, fate: Fate) -> Storm:
    """The storm that a test lets loose."""
    return Storm(local_system, demo, proxy, tmp_path, fate)


async def stored(fate: Fate, ref: IntegrationRef, catalogue: Catalogue) -> tuple[SecretStr, SecretStr]:
    """The access token and the refresh token in the row."""
    row = (await fate.read([ref], catalogue))[ref]
    return row.credentials.access_token, row.refresh_token


async def test_two_hundred_callers_in_four_processes_spend_one_refresh_token(
    storm: Storm, people: tuple[Person, Person], catalogue: Catalogue
) -> None:
    """Twice: had an old token been sent again, the server would have revoked the family, and refused to go on."""
    connection = await storm.expired(people[0])
    async with callers(storm.jobs(connection)) as processes:
        first = await all_at_once(processes)
        access_token, refresh_token = await stored(storm.fate, connection.ref, catalogue)
        assert one_token(first) == digest(access_token.get_secret_value())
        assert len(first) == len(DOORS) * CALLERS
        assert await storm.demo.is_active(access_token)
        await storm.fate.expire(connection.ref, catalogue)
        second = await all_at_once(processes)
    assert one_token(second) != one_token(first)
    assert [exchange.spent for exchange in storm.proxy.exchanges] == [
        connection.spendable,
        digest(refresh_token.get_secret_value()),
    ]
    for token in await stored(storm.fate, connection.ref, catalogue):
        assert await storm.demo.is_active(token)


async def test_a_service_that_takes_thirteen_seconds_is_asked_once(storm: Storm, people: tuple[Person, Person]) -> None:
    async def slowly(turn: Turn) -> None:
        await asyncio.sleep(13)
        await turn.pass_on()

    storm.proxy.behaviour = slowly
    connection = await storm.expired(people[0])
    async with callers(storm.jobs(connection)) as processes:
        heard = await all_at_once(processes)
    assert one_token(heard)
    assert [exchange.status for exchange in storm.proxy.exchanges] == [200]
    assert 13 < min(caller.seconds for caller in heard) <= max(caller.seconds for caller in heard) < PATIENCE


async def test_a_slow_service_of_one_user_keeps_no_other_user_waiting(
    storm: Storm, people: tuple[Person, Person]
) -> None:
    """Both connections in every process at once: one is answered for in fifteen seconds, the other as fast as ever."""
    slow, quick = await storm.expired(people[0]), await storm.expired(people[1])

    async def by_connection(turn: Turn) -> None:
        await asyncio.sleep(15 if turn.exchange.spent == slow.spendable else 0)
        await turn.pass_on()

    storm.proxy.behaviour = by_connection
    async with callers(storm.jobs(slow, quick)) as processes:
        heard = await all_at_once(processes)
    of_slow = [caller for caller in heard if caller.integration_id == slow.ref.id]
    of_quick = [caller for caller in heard if caller.integration_id == quick.ref.id]
    assert one_token(of_slow) != one_token(of_quick)
    for connection in (slow, quick):
        assert [exchange.status for exchange in storm.asked(connection)] == [200]
    assert max(caller.seconds for caller in of_quick) < 15 < min(caller.seconds for caller in of_slow)


async def test_however_many_ask_a_service_that_asked_for_quiet_is_left_alone(
    storm: Storm, people: tuple[Person, Person], catalogue: Catalogue
) -> None:
    async def busy(turn: Turn) -> None:
        await turn.answer(503, b"{}", {"retry-after": "120"})

    storm.proxy.behaviour = busy
    connection = await storm.expired(people[0])
    async with callers(storm.jobs(connection)) as processes:
        first = await all_at_once(processes)
        second = await all_at_once(processes)
    assert {caller.error for caller in first + second} == {"provider_unavailable"}
    assert len(storm.proxy.exchanges) == 1
    row = (await storm.fate.read([connection.ref], catalogue))[connection.ref].integration
    assert (row.status, row.refresh_failures, row.credential_version) == ("active", 1, 1)


def one_token(heard: list[Heard]) -> str:
    """The token that all of them got."""
    assert {caller.error for caller in heard} == {None}
    (token,) = {caller.token for caller in heard}
    assert token
    return token
