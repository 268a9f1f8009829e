"""A grant that several connections live on is spared until the last of them goes."""

import asyncio

import pytest

from supabase_integrations.core.models import IntegrationPage, IntegrationStatus, ListQuery
from tests.unit.conftest import World
from tests.unit.fakes import FakeStore, json_reply
from tests.unit.use_cases.disconnecting import (
    REVOKED,
    SHARED,
    UNINSTALL,
    connected,
    disconnecting_world,
    set_status,
    stored,
)


@pytest.fixture
def world() -> World:
    """The usual system, with services that end tokens in several ways."""
    return disconnecting_world()


async def test_a_grant_that_another_connection_lives_on_is_left_alone(world: World) -> None:
    caller = world.caller()
    first, second = await connected(world, caller, "granting"), await connected(world, caller, "granting_files")
    assert (await world.user(caller).revoke_token(first.id)).outcome is SHARED
    left, envelope = stored(world, first)
    assert (left.status, left.last_error_code, envelope) == (IntegrationStatus.REVOKED, SHARED, None)
    assert world.service.asked(UNINSTALL) == []
    assert (await world.user(caller).revoke_token(second.id)).outcome is REVOKED
    assert len(world.service.asked(UNINSTALL)) == 1


async def test_of_two_that_are_deleted_at_once_one_at_least_ends_the_grant(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finds the other one alive when it looks first, as where an app deletes both with one click."""
    caller = world.caller()
    rows = [await connected(world, caller, name) for name in ("granting", "granting_files")]
    both_look, looks = asyncio.Barrier(2), 0
    look = FakeStore.list_integrations

    async def together(store: FakeStore, query: ListQuery) -> IntegrationPage:
        nonlocal looks
        looks += 1
        page = await look(store, query)
        if looks <= 2:
            await both_look.wait()
        return page

    monkeypatch.setattr(FakeStore, "list_integrations", together)
    await asyncio.gather(*(world.user(caller).delete(row.id) for row in rows))
    assert world.service.asked(UNINSTALL)
    assert world.database.rows == {}


@pytest.mark.parametrize("status", [IntegrationStatus.ACTIVE, IntegrationStatus.INACTIVE, IntegrationStatus.ERROR])
async def test_a_paused_or_stuck_connection_needs_its_grant_too(world: World, status: IntegrationStatus) -> None:
    caller = world.caller()
    first, second = await connected(world, caller, "granting"), await connected(world, caller, "granting_files")
    await set_status(world, caller, second, status)
    assert (await world.user(caller).revoke_token(first.id)).outcome is SHARED


async def test_what_does_not_share_a_grant(world: World) -> None:
    """Another client, another authorization server, another account, a dead connection, another user."""
    caller = world.caller()
    row = await connected(world, caller, "granting")
    await connected(world, caller, "granting_elsewhere")
    await connected(world, caller, "same_id_elsewhere")
    dead = await connected(world, caller, "granting_files")
    await set_status(world, caller, dead, IntegrationStatus.NEEDS_REAUTHORIZATION)
    await connected(world, world.caller(), "granting_files")
    world.service.answers["https://granting.example/me"] = lambda _: json_reply({"id": "account-2"})
    await connected(world, caller, "granting")
    assert (await world.user(caller).revoke_token(row.id)).outcome is REVOKED


def test_the_clients_of_two_services_may_be_one(world: World) -> None:
    """What the tests of shared grants stand on."""
    assert world.clients["granting"] == world.clients["granting_files"] != world.clients["granting_elsewhere"]
