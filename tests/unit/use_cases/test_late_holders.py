"""Holders of a lease who come too late: their machine stood still, or its disk did, until others had the lease."""

from datetime import timedelta

import pytest

from supabase_integrations.core.errors import JournalUnavailableError
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.models import IntegrationStatus
from tests.unit.conftest import World
from tests.unit.fakes import json_reply
from tests.unit.use_cases.test_refresher import HOUR, SECOND, TOKEN_URL, connected, stored

LEASE_AND_GRACE = timedelta(seconds=76)


async def test_a_disk_that_stood_still_lets_nobody_spend_a_token_twice(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    look = world.journal.find

    async def slow_look(*place: object) -> None:
        world.clock.moment += LEASE_AND_GRACE
        world.journal.find = look  # type: ignore[method-assign]
        await world.another_process().fresh(world.database.as_user(caller), row.id)

    world.journal.find = slow_look  # type: ignore[assignment, method-assign]
    with pytest.raises(JournalUnavailableError):
        await world.refresher.fresh(world.database.as_user(caller), row.id)
    after, credentials = await stored(world, caller, row.id)
    assert len(world.service.asked(TOKEN_URL)) == 1
    assert (after.credential_version, credentials.access_token.get_secret_value()) == (2, "canary-access-2")


async def test_a_refusal_of_an_older_token_is_a_race_and_not_the_end(world: World) -> None:
    """The request was under way for so long that somebody else renewed the connection meanwhile."""
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR

    async def slow_send(_: HttpRequest) -> HttpReply:
        world.service.send = send  # type: ignore[method-assign]
        world.clock.moment += LEASE_AND_GRACE
        await world.another_process().fresh(world.database.as_user(caller), row.id)
        return json_reply({"error": "invalid_grant"}, 400)

    send = world.service.send
    world.service.send = slow_send  # type: ignore[assignment, method-assign]
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    renewed = await world.refresher.fresh(world.database.as_user(caller), row.id)
    assert renewed.integration.credential_version == 2
    assert renewed.integration.status is IntegrationStatus.ACTIVE
