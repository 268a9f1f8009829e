"""New versions of a row that are no renewal: whoever waits for a token gets one that holds, or renews it then."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.models import Caller, Integration, SealedIntegration
from tests.unit.conftest import World
from tests.unit.fakes import FakeStore
from tests.unit.use_cases.test_refresher import HOUR, TOKEN_URL, connected, stored, tokens


async def write(world: World, caller: Caller, row: Integration, credentials: OAuthCredentials) -> None:
    """The next version of a row, as a key rotation (of the same credentials) or its user writes it."""
    payload = CredentialPayload(row.service_name, "", credentials)
    service = world.catalogue.get(row.service_name)
    await world.vault.replace(world.database.as_user(caller), row.id, payload, service)


def written_after_reading(world: World, caller: Caller, row: Integration, credentials: OAuthCredentials) -> FakeStore:
    """A store whose caller reads the row, and somebody else writes it before that caller does anything more."""
    store = world.database.as_user(caller)
    read = store.get_sealed

    async def read_then_somebody_writes(integration_id: UUID) -> SealedIntegration:
        sealed = await read(integration_id)
        store.get_sealed = read  # type: ignore[method-assign]
        await write(world, caller, row, credentials)
        return sealed

    store.get_sealed = read_then_somebody_writes  # type: ignore[method-assign]
    return store


@pytest.mark.parametrize("requested", [False, True])
async def test_a_token_that_was_only_sealed_anew_is_still_renewed(world: World, requested: bool) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    store = written_after_reading(world, caller, row, tokens())
    opened = await world.refresher.fresh(store, row.id, requested=requested)
    after, credentials = await stored(world, caller, row.id)
    assert opened.payload.credentials == credentials
    assert credentials.access_token.get_secret_value() == "canary-access-2"
    assert (after.credential_version, after.refresh_lease_owner) == (3, None)
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_whoever_waits_for_a_key_rotation_renews_the_token_after_it(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    holder, owner = world.database.as_user(caller), uuid4()
    await holder.take_lease(row.id, owner)

    async def sleep(seconds: float) -> None:
        world.clock.moment += timedelta(seconds=seconds)
        await holder.release_lease(row.id, owner)
        await write(world, caller, row, tokens())

    world.clock.sleep = sleep  # type: ignore[method-assign]
    opened = await world.refresher.fresh(world.database.as_user(caller), row.id)
    after, _ = await stored(world, caller, row.id)
    assert isinstance(opened.payload.credentials, OAuthCredentials)
    assert opened.payload.credentials.access_token.get_secret_value() == "canary-access-2"
    assert (after.credential_version, after.refresh_lease_owner) == (3, None)
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_credentials_that_a_user_put_there_are_taken_while_they_hold(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    given = tokens(2 * HOUR, "canary-refresh-given")
    opened = await world.refresher.fresh(written_after_reading(world, caller, row, given), row.id)
    assert opened.payload.credentials == given
    assert world.service.asked(TOKEN_URL) == []
    assert (await stored(world, caller, row.id))[0].refresh_lease_owner is None


async def test_credentials_that_had_ended_when_a_user_put_them_there_are_not_handed_over(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    given = tokens(HOUR / 2, "canary-refresh-given")
    opened = await world.refresher.fresh(written_after_reading(world, caller, row, given), row.id)
    _, credentials = await stored(world, caller, row.id)
    assert opened.payload.credentials == credentials
    assert credentials.access_token.get_secret_value() == "canary-access-2"
