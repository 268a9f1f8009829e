"""Connections that were opened a moment ago: for whom they are kept, and what ends that."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from supabase_integrations.core.account import Account
from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.errors import (
    IntegrationPausedError,
    UnauthenticatedError,
)
from supabase_integrations.core.models import IntegrationChanges, IntegrationStatus, SealedIntegration
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.connections import Connection, Connections
from supabase_integrations.use_cases.open_connections import Door
from supabase_integrations.use_cases.user_integrations import UserIntegrations
from tests.unit.conftest import World
from tests.unit.fakes import FakeStore
from tests.unit.use_cases.calling import connected


async def test_a_pause_ends_the_calls_of_an_open_client(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.get("/x")
        await user.update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
        with pytest.raises(IntegrationPausedError):
            await api.get("/x")
    assert len(world.api.sent) == 1


async def test_what_others_change_is_seen_after_five_seconds(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.get("/x")
        paused = IntegrationChanges(status=IntegrationStatus.INACTIVE)
        await world.database.as_user(user.caller).update_integration(row.id, paused)
        await api.get("/x")
        world.clock.moment += timedelta(seconds=5)
        with pytest.raises(IntegrationPausedError):
            await api.get("/x")


async def test_many_calls_at_once_open_the_connection_once(world: World) -> None:
    user, row = await connected(world)
    reads = 0

    class Counting(FakeStore):
        async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
            nonlocal reads
            reads += 1
            await asyncio.sleep(0.01)
            return await super().get_sealed(integration_id)

    counting = UserIntegrations(user.caller, Counting(world.database, user.caller.user_id, user.caller), user._engine)
    async with counting.client(row.id) as api:
        world.clock.moment += timedelta(seconds=5)
        await asyncio.gather(*(api.get("/x") for _ in range(50)))
    assert (reads, len(world.api.sent)) == (2, 50)


async def test_a_reading_that_began_before_a_change_is_not_kept(world: World) -> None:
    user, row = await connected(world)
    began, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeStore):
        async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
            sealed = await super().get_sealed(integration_id)
            began.set()
            await goes_on.wait()
            return sealed

    slow = UserIntegrations(user.caller, Slow(world.database, user.caller.user_id, user.caller), user._engine)
    opening = asyncio.create_task(slow.client(row.id).__aenter__())
    await began.wait()
    await user.update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    goes_on.set()
    api = await opening
    with pytest.raises(IntegrationPausedError):
        await api.get("/x")
    assert world.api.sent == []


async def test_what_was_opened_for_one_caller_is_not_for_another(world: World) -> None:
    """Another token of the same user opens the row anew, too."""
    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.get("/x")
    world.database.outages = 1
    again = world.user(world.caller(user.caller.user_id))
    other = world.user(type(user.caller)(user.caller.user_id, SecretStr("canary-other"), user.caller.expires_at))
    async with again.client(row.id) as api:
        await api.get("/x")
    assert world.database.outages == 1
    with pytest.raises(Exception, match="database cannot be reached"):
        async with other.client(row.id):
            pass


async def test_an_ended_session_opens_no_client(world: World) -> None:
    user, row = await connected(world)
    world.sessions.error = UnauthenticatedError("session_ended", "Ended.")
    with pytest.raises(UnauthenticatedError):
        async with user.client(row.id):
            pass


async def test_a_closed_client_makes_no_calls(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        pass
    with pytest.raises(RuntimeError):
        await api.get("/x")


@pytest.mark.parametrize(
    ("per", "token_host", "account", "expected"),
    [
        ("tenant", "{shop}.desk.example", "acme:7", "acme"),
        ("tenant", "{shop}.desk.example", "acme", "acme"),
        ("account", "{shop}.desk.example", "acme:7", "acme acme:7"),
        ("tenant", "id.desk.example", "acme:7", "acme acme:7"),
        ("tenant", "id.desk.example", "acme", ""),
    ],
)
async def test_a_limit_of_a_tenant_is_one_for_all_its_accounts(
    per: str, token_host: str, account: str, expected: str
) -> None:
    """Unless the tenant has not given the token: then its name is only what the user says."""
    world = World(
        services=f'''
            [service.desk]
            display_name = "Desk"
            service_type = "crm"
            tenant_param = "shop"
            tenant_pattern = "^[a-z]+$"
            authorization_endpoint = "https://id.desk.example/authorize"
            token_endpoint = "https://{token_host}/token"
            api_base_url = "https://{{shop}}.desk.example/api"
            rate_limit = {{ requests = 100, window_s = 60, per = "{per}" }}
        '''
    )
    caller = world.caller()
    store, service = world.database.as_user(caller), world.catalogue.get("desk")
    payload = CredentialPayload("desk", "acme", OAuthCredentials(SecretStr("canary"), world.clock.now()))
    connection = Connection(service, Account(account, "Ada"), payload)
    row = await Connections(world.vault).insert(store, caller.user_id, connection)
    assert (await world.calls.connections.get(Door(store, row.ref))).account == (expected or str(row.id))
