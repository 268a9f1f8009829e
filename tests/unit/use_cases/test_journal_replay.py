"""What the journal kept reaches the database: through which door, when, and what one failure means for the rest."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.errors import IntegrationBusyError, JournalUnavailableError, StoreUnavailableError
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.models import Caller, Integration, IntegrationRef
from supabase_integrations.port import CredentialStore
from supabase_integrations.use_cases.journal_replay import UNDER_WAY, JournalReplay, as_user
from tests.unit.conftest import World
from tests.unit.fakes import FakeClock, FakeJournal, FakeStore
from tests.unit.use_cases.test_refresher import SECOND, TOKEN_URL, connected, stored, tokens

HOUR = timedelta(hours=1)


@dataclass
class Told:
    """Implements `port.JournalLog` as far as a replay tells it something."""

    left_behind: list[tuple[UUID, str]] = field(default_factory=list)

    def unavailable(self, reason: str) -> None:
        raise AssertionError(reason)

    def unreadable(self, ref: IntegrationRef, seen_version: int, code: str) -> None:
        raise AssertionError(code)

    def expired(self, ref: IntegrationRef, seen_version: int) -> None:
        raise AssertionError(ref)

    def left(self, entry: JournalEntry, code: str) -> None:
        self.left_behind.append((entry.ref.id, code))


class Stores:
    """Implements `port.UserStores` over the database in memory."""

    def __init__(self, world: World) -> None:
        self._world = world

    def for_caller(self, caller: Caller) -> FakeStore:
        return self._world.database.as_user(caller)


class Pauses(FakeClock):
    """A clock that ends a loop after some pauses, which it notes."""

    def __init__(self, count: int, during: Callable[[int], None] = lambda _: None) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._count = count
        self._during = during

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.pauses.append(seconds)
        self._during(len(self.pauses))
        if len(self.pauses) == self._count:
            raise asyncio.CancelledError


async def kept(world: World, caller: Caller) -> tuple[Integration, JournalEntry]:
    """A connection whose renewal met an outage of the database, a while ago: the reply is in the journal alone."""
    row = await connected(world, caller)
    world.clock.moment += HOUR
    held = world.database.as_user(caller)
    owner = uuid4()
    leased = await held.take_lease(row.id, owner)
    new = replace(tokens(), access_token=type(tokens().access_token)(str(SECOND["access_token"])))
    payload = world.vault.open(leased, world.catalogue.get(row.service_name))
    assert payload is not None
    later = replace(caller, expires_at=world.clock.now() + 24 * HOUR)
    entry = JournalEntry(row.ref, 1, owner, replace(payload, credentials=new), later, world.clock.now())
    await world.journal.write(entry)
    world.clock.moment += UNDER_WAY
    return row, entry


def replay_of(world: World, told: Told | None = None, clock: FakeClock | None = None) -> JournalReplay:
    """As a serving process has it, which shares nothing with the one that kept the replies."""
    clock = clock or world.clock
    return JournalReplay(world.journal, as_user(Stores(world), clock), world.another_process(), clock, told or Told())


# --- through which door ----------------------------------------------------------------------------------------------


async def test_a_later_process_stores_what_was_kept(world: World) -> None:
    caller = world.caller()
    row, _ = await kept(world, caller)

    assert await replay_of(world).replay_all() == 0

    after, credentials = await stored(world, caller, row.id)
    assert after.credential_version == 2
    assert credentials.access_token.get_secret_value() == "canary-access-2"
    assert world.journal.kept == {}
    assert world.service.asked(TOKEN_URL) == []


async def test_a_reply_whose_token_has_expired_is_left_for_another_door(world: World) -> None:
    caller = world.caller()
    row, entry = await kept(world, caller)
    assert entry.caller
    world.clock.moment = entry.caller.expires_at

    assert await replay_of(world).replay_all() == 0

    assert list(world.journal.kept.values()) == [entry]
    assert (await stored(world, caller, row.id))[0].credential_version == 1


async def test_a_reply_of_the_worker_is_not_stored_through_a_users_door(world: World) -> None:
    _, entry = await kept(world, world.caller())
    await world.journal.write(replace(entry, caller=None))

    assert await replay_of(world).replay_all() == 0
    assert len(world.journal.kept) == 1


async def test_the_workers_door_opens_for_every_reply(world: World) -> None:
    caller = world.caller()
    row, entry = await kept(world, caller)
    await world.journal.write(replace(entry, caller=None))
    world.clock.moment += 30 * HOUR

    def open_store(entry: JournalEntry) -> CredentialStore:
        return world.database.as_worker(entry.ref.user_id)

    replay = JournalReplay(world.journal, open_store, world.another_process(), world.clock, Told())
    assert await replay.replay_all() == 0
    assert (await stored(world, caller, row.id))[0].credential_version == 2
    assert world.journal.kept == {}


# --- when ------------------------------------------------------------------------------------------------------------


async def test_a_replay_that_was_ended_half_way_is_taken_up_at_once(world: World) -> None:
    """A process that stopped between the lease and the write, or heard no answer, holds up nobody."""
    caller = world.caller()
    row, entry = await kept(world, caller)
    await world.database.as_user(caller).release_lease(row.id, entry.lease_owner)
    store = world.database.as_user(caller)

    async def end(*_: object, **__: object) -> Integration:
        raise asyncio.CancelledError

    store.replace_credentials = end  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await world.another_process().replay(store, entry)
    assert world.database.rows[caller.user_id, row.id].integration.refresh_lease_until is not None

    assert await replay_of(world).replay_all() == 0

    assert (await stored(world, caller, row.id))[0].credential_version == 2


async def test_a_reply_is_left_to_whoever_is_still_writing_it(world: World) -> None:
    caller = world.caller()
    row, entry = await kept(world, caller)
    world.clock.moment = entry.written_at + UNDER_WAY - timedelta(seconds=1)
    assert await replay_of(world).replay_all() == 1
    assert (await stored(world, caller, row.id))[0].credential_version == 1

    world.clock.moment += timedelta(seconds=1)
    assert await replay_of(world).replay_all() == 0
    assert (await stored(world, caller, row.id))[0].credential_version == 2


async def test_a_reply_from_the_future_is_not_waited_for(world: World) -> None:
    """The clock was ahead when it was written."""
    caller = world.caller()
    row, entry = await kept(world, caller)
    world.journal.kept[entry.ref, entry.seen_version] = replace(entry, written_at=world.clock.now() + HOUR)
    assert await replay_of(world).replay_all() == 0
    assert (await stored(world, caller, row.id))[0].credential_version == 2


async def test_pauses_grow_while_replies_are_left_and_start_anew_afterwards(world: World) -> None:
    _, entry = await kept(world, world.caller())

    def database(pause: int) -> None:
        if pause == 6:
            world.database.outages = 0
        if pause == 8:
            world.journal.kept[entry.ref, entry.seen_version] = replace(entry, written_at=clock.now())

    clock = Pauses(9, database)
    clock.moment = world.clock.moment
    world.database.outages = 1_000
    with pytest.raises(asyncio.CancelledError):
        await replay_of(world, clock=clock).run()

    assert clock.pauses == [5, 10, 10, 10, 10, 10, 20, 20, 5]


async def test_rows_that_somebody_else_has_leased_are_looked_at_less_and_less(world: World) -> None:
    caller = world.caller()
    row, _ = await kept(world, caller)
    sealed = world.database.rows[caller.user_id, row.id]
    taken = replace(sealed.integration, refresh_lease_owner=uuid4(), refresh_lease_until=world.clock.now() + HOUR)
    world.database.rows[caller.user_id, row.id] = replace(sealed, integration=taken)
    clock = Pauses(6)
    clock.moment = world.clock.moment
    with pytest.raises(asyncio.CancelledError):
        await replay_of(world, clock=clock).run()

    assert clock.pauses == [5, 10, 20, 40, 60, 60]


async def test_a_journal_that_cannot_be_read_is_looked_at_again(world: World) -> None:
    class Unreadable(FakeJournal):
        async def entries(self) -> tuple[JournalEntry, ...]:
            raise JournalUnavailableError

    clock = Pauses(2)
    replay = JournalReplay(Unreadable(), as_user(Stores(world), clock), world.refresher, clock, Told())
    with pytest.raises(asyncio.CancelledError):
        await replay.run()

    assert clock.pauses == [5, 10]


# --- what is of no more use ------------------------------------------------------------------------------------------


async def test_a_reply_for_a_version_that_has_passed_changes_nothing_and_goes(world: World) -> None:
    caller = world.caller()
    row, entry = await kept(world, caller)
    await replay_of(world).replay_all()
    before = world.database.rows[caller.user_id, row.id]
    await world.journal.write(entry)  # as somebody who put an old file back would

    assert await replay_of(world).replay_all() == 0

    assert world.database.rows[caller.user_id, row.id] == before
    assert world.journal.kept == {}


async def test_a_reply_for_a_connection_that_is_gone_goes_too(world: World) -> None:
    caller = world.caller()
    row, _ = await kept(world, caller)
    await world.database.as_user(caller).delete_integration(row.id)

    assert await replay_of(world).replay_all() == 0
    assert world.journal.kept == {}


# --- what one failure means for the rest -----------------------------------------------------------------------------


async def test_one_that_fails_holds_up_nobody_else(world: World) -> None:
    stubborn, other = world.caller(), world.caller()
    busy, entry = await kept(world, stubborn)
    row, _ = await kept(world, other)
    # Somebody else has the lease now.
    sealed = world.database.rows[stubborn.user_id, busy.id]
    until = world.clock.now() + timedelta(minutes=1)
    taken = replace(sealed.integration, refresh_lease_owner=uuid4(), refresh_lease_until=until)
    world.database.rows[stubborn.user_id, busy.id] = replace(sealed, integration=taken)
    told = Told()

    assert await replay_of(world, told).replay_all() == 1

    assert (await stored(world, other, row.id))[0].credential_version == 2
    assert list(world.journal.kept.values()) == [entry]
    assert told.left_behind == [(busy.id, IntegrationBusyError.code)]


async def test_a_mistake_of_ours_in_one_entry_holds_up_nobody_else(world: World) -> None:
    row, _ = await kept(world, world.caller())
    caller = world.caller()
    other, _ = await kept(world, caller)

    class Broken(FakeStore):
        async def get_sealed(self, integration_id: UUID) -> None:  # type: ignore[override]
            raise ZeroDivisionError

    def open_store(entry: JournalEntry) -> CredentialStore:
        kind = Broken if entry.ref.id == row.id else FakeStore
        return kind(world.database, entry.ref.user_id, entry.caller)

    told = Told()
    replay = JournalReplay(world.journal, open_store, world.another_process(), world.clock, told)
    assert await replay.replay_all() == 1
    assert (await stored(world, caller, other.id))[0].credential_version == 2
    assert told.left_behind == [(row.id, "ZeroDivisionError")]


async def test_a_database_that_is_away_is_not_asked_for_every_entry(world: World) -> None:
    _, entry = await kept(world, world.caller())
    for _ in range(500):
        other = replace(entry, ref=IntegrationRef(entry.ref.user_id, uuid4()))
        world.journal.kept[other.ref, other.seen_version] = other
    world.database.outages = 10_000
    told = Told()

    assert await replay_of(world, told).replay_all() == 501

    assert 10_000 - world.database.outages < 50
    assert {code for _, code in told.left_behind} == {StoreUnavailableError.code}
    assert len(world.journal.kept) == 501
