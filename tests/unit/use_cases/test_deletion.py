"""Deleting: the service is told first, and nothing stands in the way."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from supabase_integrations.core.errors import (
    ForbiddenError,
    IntegrationNotFoundError,
    StoreUnavailableError,
)
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.models import Integration, IntegrationStatus
from supabase_integrations.core.revocation import RevocationOutcome
from tests.unit.conftest import World
from tests.unit.fakes import START, FakeStore, json_reply
from tests.unit.use_cases.disconnecting import (
    DEMO_REVOCATION,
    FAILED,
    REVOKED,
    SHARED,
    UNINSTALL,
    UNSUPPORTED,
    connected,
    disconnecting_world,
    held_for_ever,
    noted,
    set_status,
    silent,
    stored,
)
from tests.unit.virtual_time import in_virtual_time


@pytest.fixture
def world() -> World:
    """The usual system, with services that end tokens in several ways."""
    return disconnecting_world()


@pytest.mark.parametrize(
    ("service", "outcome"),
    [("demo_crm", REVOKED), ("granting", REVOKED), ("silent", UNSUPPORTED)],
)
async def test_a_deletion_tells_the_service_and_notes_what_became_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, service: str, outcome: RevocationOutcome
) -> None:
    caller = world.caller()
    row = await connected(world, caller, service)
    last = noted(world, monkeypatch)
    await world.user(caller).delete(row.id)
    assert world.database.rows == {}
    assert last == [(IntegrationStatus.REVOKED, None if outcome is REVOKED else outcome)]
    with pytest.raises(IntegrationNotFoundError):
        await world.user(caller).delete(row.id)


async def test_deleting_one_of_two_connections_of_a_grant_leaves_it_to_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = world.caller()
    first, second = await connected(world, caller, "granting"), await connected(world, caller, "granting_files")
    last = noted(world, monkeypatch)
    await world.user(caller).delete(first.id)
    assert world.service.asked(UNINSTALL) == []
    await world.user(caller).delete(second.id)
    assert len(world.service.asked(UNINSTALL)) == 1
    assert [code for _, code in last] == [SHARED, None]


async def unreadable(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (row.user_id, row.id)
    world.database.rows[key] = replace(world.database.rows[key], envelope="v1.00000000." + "A" * 60)


async def unconfigured(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(world.clients, row.service_name)


async def gone_from_the_catalogue(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (row.user_id, row.id)
    sealed = world.database.rows[key]
    world.database.rows[key] = replace(sealed, integration=replace(sealed.integration, service_name="gone"))


async def refusing(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    world.service.answers[DEMO_REVOCATION] = lambda _: json_reply({"error": "invalid_request"}, 400)


async def down(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    world.service.answers[DEMO_REVOCATION] = lambda _: HttpReply(503)


async def hanging(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.service, "send", silent)


async def without_a_journal(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    world.journal.is_unreadable = True


async def without_the_key_of_a_kept_reply(world: World, row: Integration, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = world.vault.open(world.database.rows[row.user_id, row.id], world.catalogue.get("demo_crm"))
    assert payload is not None
    await world.journal.write(JournalEntry(row.ref, 1, uuid4(), payload, None, START))
    world.journal.unknown_key = "0ddba11d"


@in_virtual_time
@pytest.mark.parametrize(
    "obstacle",
    [
        unreadable,
        unconfigured,
        gone_from_the_catalogue,
        refusing,
        down,
        hanging,
        without_a_journal,
        without_the_key_of_a_kept_reply,
        held_for_ever,
    ],
)
async def test_nothing_stands_in_the_way_of_a_deletion(
    world: World, monkeypatch: pytest.MonkeyPatch, obstacle: object
) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    last = noted(world, monkeypatch)
    await obstacle(world, row, monkeypatch)  # type: ignore[operator]
    await world.user(caller).delete(row.id)
    assert last == [(IntegrationStatus.REVOKED, FAILED)]
    assert world.database.rows == {}


async def test_a_paused_connection_whose_token_has_ended_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = world.caller()
    row = await connected(world, caller, "granting")
    await set_status(world, caller, row, IntegrationStatus.INACTIVE)
    world.clock.moment += timedelta(hours=2)
    last = noted(world, monkeypatch)
    await world.user(caller).delete(row.id)
    assert last == [(IntegrationStatus.REVOKED, FAILED)]


async def test_a_note_that_is_refused_does_not_keep_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    async def refused(*_: object, **__: object) -> Integration:
        raise ForbiddenError("row_level_security", "Not allowed.")

    monkeypatch.setattr(FakeStore, "discard_credentials", refused)
    await world.user(caller).delete(row.id)
    assert world.database.rows == {}
    assert len(world.service.asked(DEMO_REVOCATION)) == 1


async def test_an_outage_keeps_the_row_so_that_the_deletion_can_be_tried_again(
    world: World,
) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    def told(_: HttpRequest) -> HttpReply:
        world.database.outages = 1
        return HttpReply(200)

    world.service.answers[DEMO_REVOCATION] = told
    with pytest.raises(StoreUnavailableError):
        await world.user(caller).delete(row.id)
    world.service.answers[DEMO_REVOCATION] = lambda _: json_reply({"error": "invalid_token"}, 400)
    world.clock.moment += timedelta(minutes=2)
    await world.user(caller).delete(row.id)
    assert world.database.rows == {}


async def test_an_outage_before_the_service_was_told_keeps_row_and_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over by the time of the deletion; had that gone on, the token would live on with nobody to end it."""
    caller = world.caller()
    row = await connected(world, caller)

    async def away(*_: object) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(FakeStore, "take_lease", away)
    with pytest.raises(StoreUnavailableError):
        await world.user(caller).delete(row.id)
    assert stored(world, row) == (row, stored(world, row)[1])
    assert world.service.asked(DEMO_REVOCATION) == []


async def test_deleting_a_revoked_connection_asks_nobody_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).revoke_token(row.id)
    last = noted(world, monkeypatch)
    await world.user(caller).delete(row.id)
    assert len(world.service.asked(DEMO_REVOCATION)) == 1
    assert last == [(IntegrationStatus.REVOKED, None)]
