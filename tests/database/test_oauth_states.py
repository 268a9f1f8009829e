"""A started authorization: found by the user who started it, for ten minutes, and used once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.database.acts import ENVELOPE, Actor, Row, connect_service, refused

HASH = "5a" * 32

CONSUME: LiteralString = "delete from public.oauth_states where state_hash = %s returning *"


async def start(actor: Actor, flow: str = ENVELOPE, integration_id: UUID | None = None) -> Row:
    """Insert the state."""
    return await actor.row(
        "insert into public.oauth_states (state_hash, flow, integration_id) values (%s, %s, %s) returning *",
        HASH,
        flow,
        integration_id,
    )


async def test_a_state_expires_in_ten_minutes(owner: Actor) -> None:
    state = await start(owner)
    assert state["user_id"] == owner.id
    assert abs(state["expires_at"] - datetime.now(UTC) - timedelta(minutes=10)) < timedelta(seconds=30)


async def test_even_the_tables_owner_does_not_choose_the_expiry(owner: Actor, operator: Actor) -> None:
    expires_at = await operator.value(
        "insert into public.oauth_states (user_id, state_hash, flow, expires_at)"
        " values (%s, %s, %s, 'infinity') returning expires_at",
        owner.id,
        HASH,
        ENVELOPE,
    )
    assert isinstance(expires_at, datetime)
    assert expires_at < datetime.now(UTC) + timedelta(minutes=11)


async def test_a_state_is_consumed_once(owner: Actor) -> None:
    await start(owner)
    (consumed,) = await owner.run(CONSUME, HASH)
    assert consumed["flow"] == ENVELOPE
    assert await owner.run(CONSUME, HASH) == []


async def test_of_fifty_who_consume_a_state_at_once_exactly_one_gets_it(owner: Actor) -> None:
    await start(owner)
    outcomes = await asyncio.gather(*(owner.again().run(CONSUME, HASH) for _ in range(50)))
    assert sorted(map(len, outcomes)) == [0] * 49 + [1]


async def test_a_state_is_found_by_the_user_who_started_it_alone(owner: Actor, stranger: Actor) -> None:
    await start(owner)
    assert await stranger.run("select * from public.oauth_states") == []
    assert await stranger.run(CONSUME, HASH) == []
    assert len(await owner.run(CONSUME, HASH)) == 1


async def test_two_users_may_have_the_same_hash_without_noticing(owner: Actor, stranger: Actor) -> None:
    """An attacker who inserts a victim's hash as their own neither collides with it nor consumes it."""
    await start(owner)
    await start(stranger, flow=ENVELOPE + "attackers")
    (consumed,) = await owner.run(CONSUME, HASH)
    assert consumed["flow"] == ENVELOPE


@pytest.mark.parametrize("flow", [ENVELOPE, ENVELOPE + "other"])
async def test_a_used_state_cannot_be_inserted_again_by_its_own_user(owner: Actor, flow: str) -> None:
    await start(owner)
    await owner.run(CONSUME, HASH)
    with refused("23505", "oauth_states_used_once"):
        await start(owner, flow)


async def test_a_pending_state_cannot_be_inserted_again_with_other_contents(owner: Actor) -> None:
    await start(owner)
    with refused("23505", "oauth_states_used_once"):
        await start(owner, ENVELOPE + "other")
    with refused("23505", "oauth_states_used_once"):
        await owner.run(
            "insert into public.oauth_states (state_hash, flow) values (%s, %s)"
            " on conflict (user_id, state_hash) do nothing",
            HASH,
            ENVELOPE + "other",
        )


async def test_inserting_a_state_while_it_is_being_consumed_does_not_revive_it(owner: Actor) -> None:
    await start(owner)
    consumer, connection = owner.again(), None
    connection = await consumer.connection()
    async with connection.transaction(), connection.cursor() as cursor:
        await consumer.begin(cursor)
        await cursor.execute(CONSUME, [HASH])
        inserting = asyncio.create_task(start(owner.again()))
        await asyncio.wait([inserting], timeout=0.3)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await inserting
    assert await owner.run("select * from public.oauth_states") == []


async def test_an_expired_state_cannot_be_consumed_even_without_a_filter(owner: Actor, fate: Actor) -> None:
    await start(owner)
    await fate.run("update public.oauth_states set expires_at = now() - interval '1 second'")
    assert await owner.run("select * from public.oauth_states") == []
    assert await owner.run(CONSUME, HASH) == []


async def test_a_filter_on_the_expiry_works_too(owner: Actor) -> None:
    """What `expires_at=gt.now` of the Data API becomes."""
    await start(owner)
    assert len(await owner.run("delete from public.oauth_states where expires_at > 'now' returning *")) == 1


async def test_a_hash_is_forgotten_after_a_state_could_no_longer_be_valid(owner: Actor, fate: Actor) -> None:
    await start(owner)
    await owner.run(CONSUME, HASH)
    await fate.run("update integrations_private.seen_states set seen_at = now() - interval '14 minutes'")
    with refused("23505", "oauth_states_used_once"):
        await start(owner)

    await fate.run("update integrations_private.seen_states set seen_at = now() - interval '16 minutes'")
    await start(owner)


async def test_a_deleted_connection_takes_its_reconnects_with_it(owner: Actor) -> None:
    integration = await connect_service(owner)
    await start(owner, integration_id=integration)
    await owner.run("delete from public.integrations")
    assert await owner.run("select * from public.oauth_states") == []


async def test_a_deleted_user_leaves_no_state_and_no_memory_of_one(owner: Actor, auth: Actor, fate: Actor) -> None:
    await start(owner, integration_id=await connect_service(owner))
    await auth.run("delete from auth.users where id = %s", owner.id)
    assert await fate.value("select count(*) from public.oauth_states") == 0
    assert await fate.value("select count(*) from integrations_private.seen_states") == 0


async def test_a_token_that_outlives_its_user_starts_nothing(owner: Actor, auth: Actor) -> None:
    await auth.run("delete from auth.users where id = %s", owner.id)
    with refused("23503", "seen_states_user_id_fkey"):
        await start(owner)
    with refused("23503", "integrations_user_id_fkey"):
        await connect_service(owner)
