"""Credentials for code without a user's session: of the user it names, and of nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.errors import IntegrationNotFoundError, ReauthorizationRequiredError
from supabase_integrations.worker_integrations import WorkerConfiguration, WorkerIntegrations, open_worker_integrations
from tests import canaries
from tests.scripted_service import Answer, ScriptedService
from tests.worker.world import World


@pytest.fixture
async def door(world: World, service: ScriptedService, tmp_path: Path) -> AsyncIterator[WorkerIntegrations]:
    """The system as a scheduled job opens it."""
    environment = world.environment(service.url, tmp_path / "state")
    async with open_worker_integrations(WorkerConfiguration.from_environment(environment)) as opened:
        yield opened


async def test_expired_credentials_are_renewed_once_and_then_read(
    world: World, door: WorkerIntegrations, service: ScriptedService
) -> None:
    (ref,) = await world.connect(1, due=False)

    first = await door.get_integration_credentials(ref.id, ref.user_id)
    again = await door.get_integration_credentials(ref.id, ref.user_id)

    for credentials in (first, again):
        assert isinstance(credentials, OAuthCredentials)
        assert credentials.access_token.get_secret_value() == canaries.ACCESS_TOKEN
    assert len(service.asked_for("/token")) == 1


async def test_a_token_is_renewed_on_request(world: World, door: WorkerIntegrations, service: ScriptedService) -> None:
    (ref,) = await world.connect(1, due=False)

    row = await door.refresh_token(ref.id, ref.user_id)

    assert (row.ref, row.credential_version) == (ref, 2)
    assert len(service.asked_for("/token")) == 1


async def test_the_service_is_called_for_the_user_who_is_named(
    world: World, door: WorkerIntegrations, service: ScriptedService
) -> None:
    service.scripts["/crm/v3/objects/contacts"] = lambda _: Answer.json({"results": [{"id": "1"}]})
    (ref,) = await world.connect(1, due=False)

    async with door.client(ref.id, ref.user_id) as api:
        reply = await api.get("/crm/v3/objects/contacts", params={"limit": 1})

    assert (reply.status, reply.json()) == (200, {"results": [{"id": "1"}]})
    (asked,) = service.asked_for("/crm/v3/objects/contacts")
    assert (asked.query, asked.headers["authorization"]) == ({"limit": "1"}, f"Bearer {canaries.ACCESS_TOKEN}")
    assert len(service.asked_for("/token")) == 1


async def test_another_users_id_is_not_found_and_nothing_is_asked(
    world: World, door: WorkerIntegrations, service: ScriptedService
) -> None:
    mine, theirs = await world.connect(2, due=False)

    for integration_id, user_id in ((theirs.id, mine.user_id), (mine.id, theirs.user_id), (uuid4(), mine.user_id)):
        with pytest.raises(IntegrationNotFoundError):
            await door.get_integration_credentials(integration_id, user_id)
        with pytest.raises(IntegrationNotFoundError):
            await door.refresh_token(integration_id, user_id)
        with pytest.raises(IntegrationNotFoundError):
            async with door.client(integration_id, user_id):
                pass

    assert not service.asked
    assert {row.integration.credential_version for row in await world.read([mine, theirs])} == {1}


async def test_a_refused_grant_is_the_users_to_mend(
    world: World, door: WorkerIntegrations, service: ScriptedService
) -> None:
    service.scripts["/token"] = lambda _: Answer.json({"error": "invalid_grant"}, status=400)
    (ref,) = await world.connect(1, due=False)

    with pytest.raises(ReauthorizationRequiredError):
        await door.get_integration_credentials(ref.id, ref.user_id)
    with pytest.raises(ReauthorizationRequiredError):
        await door.get_integration_credentials(ref.id, ref.user_id)

    assert len(service.asked_for("/token")) == 1
