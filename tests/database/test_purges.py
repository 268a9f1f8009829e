"""What the worker clears away: what has expired, some at a time, and never what still has a meaning."""

import asyncio
from typing import LiteralString

from tests.database.acts import ENVELOPE, OWNER, Actor, connect_service, refused

PURGE_STATES: LiteralString = "select integrations_private.purge_expired_states(%s)"
PURGE_EVENTS: LiteralString = "select integrations_private.purge_old_events(%s::interval, %s)"


async def start(owner: Actor, states: int) -> None:
    """Start authorizations."""
    await owner.run(
        "insert into public.oauth_states (state_hash, flow)"
        " select encode(sha256(n::text::bytea), 'hex'), %s from generate_series(1, %s) as n",
        ENVELOPE,
        states,
    )


async def test_expired_states_go_and_pending_ones_stay(owner: Actor, worker: Actor, fate: Actor) -> None:
    await start(owner, 5)
    assert await worker.value(PURGE_STATES, 100) == 0

    await fate.run(
        "update public.oauth_states set expires_at = now() - interval '1 second'"
        " where state_hash in (select state_hash from public.oauth_states order by state_hash limit 3)"
    )
    assert await worker.value(PURGE_STATES, 100) == 3
    assert len(await owner.run("select state_hash from public.oauth_states")) == 2


async def test_the_memory_of_states_is_kept_for_fifteen_minutes(owner: Actor, worker: Actor, fate: Actor) -> None:
    await start(owner, 4)
    await owner.run("delete from public.oauth_states")
    await fate.run("update integrations_private.seen_states set seen_at = now() - interval '14 minutes'")
    assert await worker.value(PURGE_STATES, 100) == 0

    await fate.run("update integrations_private.seen_states set seen_at = now() - interval '16 minutes'")
    assert await worker.value(PURGE_STATES, 3) == 3
    assert await worker.value(PURGE_STATES, 3) == 1


async def test_a_purge_waits_for_nobody(owner: Actor, worker: Actor, fate: Actor) -> None:
    await start(owner, 2)
    await fate.run("update public.oauth_states set expires_at = now() - interval '1 second'")
    connection = await fate.connection()
    async with connection.transaction():
        await connection.execute("select 1 from public.oauth_states limit 1 for update")
        async with asyncio.timeout(30):
            assert await worker.value(PURGE_STATES, 100) == 1


async def test_old_events_go_and_creations_stay(owner: Actor, worker: Actor, fate: Actor) -> None:
    """A creation is the record that an id was used."""
    integration = await connect_service(owner)
    await owner.run("delete from public.integrations")
    await fate.run("update public.integration_events set created_at = now() - interval '40 days'")
    await connect_service(owner, external_account_id="of today")

    assert await worker.value(PURGE_EVENTS, "30 days", 100) == 1
    left = await owner.run("select event from public.integration_events")
    assert [row["event"] for row in left] == ["integration.created", "integration.created"]
    with refused("23505", "integrations_id_used_once"):
        await connect_service(owner, id=integration)


async def test_no_event_of_the_last_thirty_days_is_purged(worker: Actor, fate: Actor) -> None:
    await record_deletions(fate, "29 days", 3)
    await record_deletions(fate, "31 days", 3)
    for older_than in ("0 days", "-1 year", "1 hour"):
        assert await worker.value(PURGE_EVENTS, older_than, 1) == 1
    assert await worker.value(PURGE_EVENTS, "0 days", 100) == 0
    assert await fate.value("select count(*) from public.integration_events") == 3


async def test_a_purge_deletes_as_many_as_it_is_told(worker: Actor, fate: Actor) -> None:
    await record_deletions(fate, "2 years", 12)
    assert await worker.value(PURGE_EVENTS, "1 year", 5) == 5
    assert await worker.value(PURGE_EVENTS, "1 year", -5) == 1
    assert await worker.value(PURGE_EVENTS, "1 year", None) == 6


async def test_how_old_must_be_said(worker: Actor) -> None:
    with refused("22004"):
        await worker.run(PURGE_EVENTS, None, 100)


async def record_deletions(fate: Actor, age: str, events: int) -> None:
    """Put events of a certain age into the trail."""
    await fate.run(
        "insert into public.integration_events (user_id, integration_id, service_name, event, actor_role, created_at)"
        " select %s, gen_random_uuid(), 'demo_crm', 'integration.deleted', 'postgres', now() - %s::interval"
        " from generate_series(1, %s)",
        OWNER,
        age,
        events,
    )
