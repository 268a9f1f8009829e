"""Replacing credentials by callers who go away in the middle: no lease stays, and nothing is half written."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.credentials import CredentialPayload
from supabase_integrations.core.models import Integration, SealedIntegration
from tests.unit.conftest import World
from tests.unit.fakes import FakeStore
from tests.unit.use_cases.test_refresher import connected, tokens


def replacing(world: World, store: FakeStore, row: Integration) -> Coroutine[Any, Any, Integration]:
    service = world.catalogue.get(row.service_name)
    payload = CredentialPayload(service.name, "", tokens(None, "canary-given"))
    return world.vault.replace(store, row.id, payload, service)


class Pause:
    """A moment in the middle of something, in which its caller is cancelled."""

    def __init__(self) -> None:
        self.is_reached, self._is_over = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.is_reached.set()
        await self._is_over.wait()

    async def sleep(self, seconds: float) -> None:
        """As a clock's."""
        await self()

    async def cancel_within(self, work: Coroutine[Any, Any, Integration]) -> None:
        task = asyncio.create_task(work)
        await self.is_reached.wait()
        self._is_over.set()
        while not task.done():
            # More than once, as the scopes of anyio do it.
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_whoever_goes_away_with_a_lease_leaves_none(world: World) -> None:
    """A refresh, and whoever connects again, would wait for it for a minute and a quarter."""
    caller = world.caller()
    row = await connected(world, caller)
    store, pause = world.database.as_user(caller), Pause()

    async def take_lease(integration_id: UUID, owner: UUID) -> SealedIntegration:
        leased = await FakeStore.take_lease(store, integration_id, owner)
        await pause()
        return leased

    async def release_lease(integration_id: UUID, owner: UUID) -> None:
        await asyncio.sleep(0.01)
        await FakeStore.release_lease(store, integration_id, owner)

    store.take_lease = take_lease  # type: ignore[method-assign]
    store.release_lease = release_lease  # type: ignore[method-assign]
    await pause.cancel_within(replacing(world, store, row))
    after = world.database.rows[caller.user_id, row.id].integration
    assert (after.refresh_lease_owner, after.refresh_lease_until, after.credential_version) == (None, None, 1)


async def test_what_was_leased_is_written_through_an_outage(world: World) -> None:
    """A code is spent when its tokens are to be stored: they exist nowhere else."""
    caller = world.caller()
    row = await connected(world, caller)
    store, pause = world.database.as_user(caller), Pause()

    async def take_lease(integration_id: UUID, owner: UUID) -> SealedIntegration:
        leased = await FakeStore.take_lease(store, integration_id, owner)
        world.database.outages = 3
        return leased

    store.take_lease = take_lease  # type: ignore[method-assign]
    world.clock.sleep = pause.sleep  # type: ignore[method-assign]
    await pause.cancel_within(replacing(world, store, row))
    after = world.database.rows[caller.user_id, row.id].integration
    assert (after.refresh_lease_owner, after.credential_version) == (None, 2)


async def test_whoever_stops_waiting_for_a_lease_takes_none_away(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    owner, pause = uuid4(), Pause()
    store = world.database.as_user(caller)
    await store.take_lease(row.id, owner)
    world.clock.sleep = pause.sleep  # type: ignore[method-assign]
    await pause.cancel_within(replacing(world, store, row))
    assert world.database.rows[caller.user_id, row.id].integration.refresh_lease_owner == owner
