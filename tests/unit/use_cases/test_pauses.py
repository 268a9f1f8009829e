"""A user pauses a connection while it is being renewed: what becomes of the pause."""

from dataclasses import replace
from datetime import timedelta

import pytest

from supabase_integrations.core.credentials import CredentialPayload
from supabase_integrations.core.errors import (
    IntegrationPausedError,
    InvalidClientError,
    NotResumableError,
    ReauthorizationRequiredError,
)
from supabase_integrations.core.http_messages import HttpReply
from supabase_integrations.core.models import (
    Caller,
    Integration,
    IntegrationChanges,
    IntegrationStatus,
    SealedIntegration,
)
from tests.unit.conftest import World
from tests.unit.fakes import json_reply
from tests.unit.use_cases.test_refresher import SECOND, TOKEN_URL, connected, stored, tokens

PAUSE = IntegrationChanges(status=IntegrationStatus.INACTIVE)
RESUME = IntegrationChanges(status=IntegrationStatus.ACTIVE)


async def paused_meanwhile(world: World, caller: Caller, answer: HttpReply) -> Integration:
    """A connection that its user pauses while the service is about to give this answer."""
    row = await connected(world, caller)

    def reply(_: object) -> HttpReply:
        sealed = world.database.rows[caller.user_id, row.id]
        paused = replace(sealed.integration, status=IntegrationStatus.INACTIVE)
        world.database.rows[caller.user_id, row.id] = SealedIntegration(paused, sealed.envelope)
        return answer

    world.service.answers[TOKEN_URL] = reply
    return row


async def test_a_pause_during_a_refresh_stays(world: World) -> None:
    caller = world.caller()
    row = await paused_meanwhile(world, caller, json_reply(SECOND))
    assert (await world.user(caller).refresh_token(row.id)).status is IntegrationStatus.INACTIVE


async def test_a_pause_stays_where_the_operator_has_to_mend_the_refresh_under_way(world: World) -> None:
    """Nobody but the user ends it: once the client is accepted again, a connection with an error goes on by itself."""
    caller = world.caller()
    row = await paused_meanwhile(world, caller, json_reply({"error": "invalid_client"}, 401))
    with pytest.raises(InvalidClientError):
        await world.user(caller).refresh_token(row.id)
    after, _ = await stored(world, caller, row.id)
    assert (after.status, after.last_error_code) == (IntegrationStatus.INACTIVE, "invalid_client")
    assert (after.refresh_failures, after.refresh_lease_owner) == (1, None)
    assert after.next_refresh_at == world.clock.now() + timedelta(minutes=10)

    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    world.clock.moment += timedelta(minutes=10)
    with pytest.raises(IntegrationPausedError):
        await world.user(caller).refresh_token(row.id)
    await world.user(caller).update(row.id, RESUME)
    assert (await world.user(caller).refresh_token(row.id)).credential_version == 2


async def test_a_pause_gives_way_where_its_user_has_to_connect_again(world: World) -> None:
    """It says so at once, rather than when it is resumed. Connecting it again resumes it."""
    caller = world.caller()
    row = await paused_meanwhile(world, caller, json_reply({"error": "invalid_grant"}, 400))
    with pytest.raises(ReauthorizationRequiredError):
        await world.user(caller).refresh_token(row.id)
    after, _ = await stored(world, caller, row.id)
    assert (after.status, after.last_error_code) == (IntegrationStatus.NEEDS_REAUTHORIZATION, "invalid_grant")
    with pytest.raises(NotResumableError):
        await world.user(caller).update(row.id, RESUME)

    payload = CredentialPayload("demo_crm", "", tokens())
    service = world.catalogue.get("demo_crm")
    again = await world.vault.replace(world.database.as_user(caller), row.id, payload, service)
    assert (again.status, again.last_error_code) == (IntegrationStatus.ACTIVE, None)
    await world.user(caller).update(row.id, PAUSE)
    await world.user(caller).update(row.id, RESUME)
