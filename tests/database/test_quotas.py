"""How much one user may store, also with fifty thousand rows in one request or twenty requests at once."""

import asyncio
import time
from typing import LiteralString
from uuid import uuid4

from tests.database.acts import ENVELOPE, Actor, connect_service, refused

FILL = """
    insert into public.integrations (id, service_name, service_type, external_account_id)
    select gen_random_uuid(), 'demo_crm', 'crm', 'account ' || n from generate_series(1, %s) as n
"""
START_MANY = """
    insert into public.oauth_states (state_hash, flow)
    select encode(sha256(n::text::bytea), 'hex'), 'v1.5ea1ed00.' || repeat('a', 40) from generate_series(1, %s) as n
"""


async def test_two_hundred_connections_and_no_more(owner: Actor, stranger: Actor) -> None:
    await owner.run(FILL, 200)
    with refused("54000", "integrations_quota"):
        await connect_service(owner)

    await owner.run("delete from public.integrations where external_account_id = 'account 7'")
    await connect_service(owner)
    await connect_service(stranger)


async def test_fifty_thousand_rows_in_one_request_are_refused_within_a_second(owner: Actor) -> None:
    assert await quickest_refusal(owner, "integrations_quota", FILL) < 1
    assert await owner.run("select id from public.integrations") == []


async def test_requests_at_the_same_time_do_not_slip_past_the_quota(owner: Actor) -> None:
    await owner.run(FILL, 195)
    outcomes = await asyncio.gather(
        *(connect_service(owner.again(), external_account_id=f"late {number}") for number in range(20)),
        return_exceptions=True,
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refusals) == 15
    assert {getattr(refusal, "sqlstate", None) for refusal in refusals} == {"54000"}
    assert await owner.value("select count(*) from public.integrations") == 200


async def test_one_users_flood_does_not_hold_up_another(owner: Actor, stranger: Actor) -> None:
    """The lock under which a user's rows are counted is that user's."""
    connection = await owner.connection()
    async with connection.transaction(), connection.cursor() as cursor:
        await owner.begin(cursor)
        await cursor.execute(FILL, [1])
        async with asyncio.timeout(30):
            await connect_service(stranger)


async def test_two_hundred_authorizations_in_a_quarter_of_an_hour_and_no_more(
    owner: Actor, stranger: Actor, fate: Actor
) -> None:
    await owner.run(START_MANY, 200)
    await owner.run("delete from public.oauth_states")
    with refused("54000", "oauth_states_quota"):
        await start(owner)
    await start(stranger)

    await fate.run("update integrations_private.seen_states set seen_at = now() - interval '16 minutes'")
    await start(owner)


async def test_fifty_thousand_authorizations_in_one_request_are_refused_within_a_second(owner: Actor) -> None:
    assert await quickest_refusal(owner, "oauth_states_quota", START_MANY) < 1


async def test_what_has_expired_is_cleared_away_by_the_next_authorization(owner: Actor, fate: Actor) -> None:
    await owner.run(START_MANY, 200)
    await fate.run("update public.oauth_states set expires_at = now() - interval '1 second'")
    await fate.run("update integrations_private.seen_states set seen_at = now() - interval '16 minutes'")
    await start(owner)

    assert await fate.value("select count(*) from public.oauth_states") == 1
    assert await fate.value("select count(*) from integrations_private.seen_states") == 1


async def quickest_refusal(actor: Actor, constraint: str, fill: LiteralString) -> float:
    """Have fifty thousand rows refused five times; the seconds of the time at which the machine was least busy."""
    took: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        with refused("54000", constraint):
            await actor.run(fill, 50_000)
        took.append(time.perf_counter() - began)
    return min(took)


async def start(actor: Actor) -> None:
    """Start one authorization."""
    await actor.run("insert into public.oauth_states (state_hash, flow) values (%s, %s)", uuid4().hex * 2, ENVELOPE)
