"""How the worker learns what is due: each row by one worker, in turns across users."""

import asyncio
from collections import Counter
from typing import LiteralString
from uuid import UUID, uuid4

import pytest

from supabase_integrations.use_cases.turns import Turns
from tests.database.acts import OWNER, STRANGER, Actor, connect_service, refused

CLAIM: LiteralString = "select * from integrations_private.claim_due_refreshes(%s, %s)"

CLAIM_AFTER: LiteralString = "select * from integrations_private.claim_due_refreshes(%s, %s, %s::uuid[])"

FILL: LiteralString = """
    insert into public.integrations
        (user_id, id, service_name, service_type, external_account_id, status, next_refresh_at)
    select %s, gen_random_uuid(), 'demo_crm', 'crm', n::text, %s, now() - %s::interval
    from generate_series(1, %s) as n
"""

MAKE_DUE_AGAIN: LiteralString = """
    update public.integrations
    set refresh_lease_owner = null, refresh_lease_until = null, next_refresh_at = now() - interval '1 day'
    where user_id = %s
"""


async def fill(fate: Actor, user_id: UUID, rows: int, due_for: str, status: str = "active") -> None:
    """Give a user rows that have been due for a while."""
    await fate.run(FILL, user_id, status, due_for, rows)


async def claim(worker: Actor, max_rows: int | None) -> list[UUID]:
    """Claim under a fresh lease and return the owners."""
    return [row["user_id"] for row in await worker.run(CLAIM, max_rows, uuid4())]


async def test_only_due_rows_that_can_be_refreshed_are_claimed(owner: Actor, fate: Actor, worker: Actor) -> None:
    for status in ("active", "inactive", "needs_reauthorization", "error", "revoked"):
        await connect_service(
            owner, external_account_id=status, status=status, next_refresh_at="2100-01-01 00:00:00+00"
        )
    await connect_service(owner, external_account_id="unscheduled")
    assert await claim(worker, 100) == []

    await fate.run("update public.integrations set next_refresh_at = now() where next_refresh_at is not null")
    assert len(await claim(worker, 100)) == 2
    leased = await owner.run("select status from public.integrations where refresh_lease_owner is not null")
    assert {row["status"] for row in leased} == {"active", "error"}


async def test_a_claimed_row_is_due_again_when_its_lease_and_the_grace_have_ended(
    fate: Actor, auth: Actor, worker: Actor
) -> None:
    """A worker that was killed loses nothing."""
    await fill(fate, OWNER, 1, "1 hour")
    assert await claim(worker, 100) == [OWNER]
    assert await claim(worker, 100) == []

    await fate.run(
        "update public.integrations set refresh_lease_until = refresh_lease_until - interval '75 seconds',"
        " next_refresh_at = next_refresh_at - interval '75 seconds'"
    )
    assert await claim(worker, 100) == [OWNER]


async def test_one_row_within_its_grace_is_left_alone_and_refuses_no_batch(
    fate: Actor, auth: Actor, worker: Actor
) -> None:
    """Rows leased before the grace was introduced are due as soon as their lease ends."""
    await fill(fate, OWNER, 1, "1 hour")
    assert await claim(worker, 100) == [OWNER]
    await fate.run(
        "update public.integrations set refresh_lease_until = now() - interval '5 seconds',"
        " next_refresh_at = now() - interval '5 seconds'"
    )
    await fill(fate, STRANGER, 1, "1 second")
    assert await claim(worker, 100) == [STRANGER]


async def test_a_row_that_its_user_is_refreshing_is_left_alone(owner: Actor, fate: Actor, worker: Actor) -> None:
    await fill(fate, OWNER, 1, "1 hour")
    await owner.run("update public.integrations set refresh_lease_owner = gen_random_uuid()")
    assert await claim(worker, 100) == []


async def test_two_hundred_rows_of_one_user_do_not_delay_another(fate: Actor, auth: Actor, worker: Actor) -> None:
    await fill(fate, OWNER, 200, "1 day")
    await fill(fate, STRANGER, 1, "1 second")
    claimed = await claim(worker, 10)
    assert len(claimed) == 10
    assert STRANGER in claimed


@pytest.mark.parametrize("batch", [10, 50, 100])
async def test_a_hostile_user_delays_fifty_others_by_one_batch_at_most(
    fate: Actor, auth: Actor, worker: Actor, batch: int
) -> None:
    """Their 200 rows are the longest due, and due again once they were claimed: more than the guard lets them do."""
    others = [uuid4() for _ in range(50)]
    alone = -(-len(others) // batch)
    await fill(fate, OWNER, 200, "1 day")
    for other in others:
        await fill(fate, other, 1, "1 second")

    waiting = set(others)
    for _ in range(alone + 1):
        claimed = await claim(worker, batch)
        assert len(claimed) == batch
        waiting.difference_update(claimed)
        await fate.run(MAKE_DUE_AGAIN, OWNER)
    assert waiting == set()


async def test_a_hostile_user_delays_nobody_by_more_than_a_row_where_rows_are_claimed_one_by_one(
    fate: Actor, auth: Actor, worker: Actor
) -> None:
    """As a worker does that renews one at a time, or whose slots become free one by one."""
    others, turns = [uuid4() for _ in range(20)], Turns()
    await fill(fate, OWNER, 200, "1 day")
    for other in others:
        await fill(fate, other, 2, "1 second")

    claimed: list[UUID] = []
    for _ in range(2 * (len(others) + 1)):
        (row,) = await worker.run(CLAIM_AFTER, 1, uuid4(), list(turns.served))
        claimed.append(row["user_id"])
        turns.add([row["user_id"]])
        await fate.run(MAKE_DUE_AGAIN, OWNER)
    everybody = Counter([OWNER, *others])
    assert Counter(claimed[:21]) == Counter(claimed[21:]) == everybody


async def test_turns_that_were_had_count_within_a_batch_too(fate: Actor, auth: Actor, worker: Actor) -> None:
    await fill(fate, OWNER, 20, "1 day")
    await fill(fate, STRANGER, 20, "1 minute")
    claimed = [row["user_id"] for row in await worker.run(CLAIM_AFTER, 10, uuid4(), [OWNER] * 6)]
    assert (claimed.count(OWNER), claimed.count(STRANGER)) == (2, 8)


@pytest.mark.parametrize("served", [None, [], [None], [uuid4()] * 501])
async def test_turns_of_nobody_here_change_nothing(
    fate: Actor, auth: Actor, worker: Actor, served: list[UUID | None] | None
) -> None:
    await fill(fate, OWNER, 3, "1 day")
    assert len(await worker.run(CLAIM_AFTER, 10, uuid4(), served)) == 3


async def test_users_take_turns_until_the_batch_is_full(fate: Actor, auth: Actor, worker: Actor) -> None:
    await fill(fate, OWNER, 20, "1 day")
    await fill(fate, STRANGER, 3, "1 minute")
    claimed = await claim(worker, 10)
    assert (claimed.count(OWNER), claimed.count(STRANGER)) == (7, 3)


async def test_a_user_cannot_stand_in_line_earlier_than_now(owner: Actor, worker: Actor) -> None:
    await connect_service(owner, next_refresh_at="-infinity")
    assert await claim(worker, 10) == []


@pytest.mark.parametrize(("asked", "given"), [(None, 100), (-5, 1), (0, 1), (7, 7), (100_000, 500)])
async def test_a_batch_is_between_one_and_five_hundred(
    fate: Actor, auth: Actor, worker: Actor, asked: int | None, given: int
) -> None:
    await fill(fate, OWNER, 501, "1 hour")
    assert len(await claim(worker, asked)) == given


async def test_a_lease_needs_an_owner(worker: Actor) -> None:
    with refused("22004"):
        await worker.run(CLAIM, 10, None)


async def test_workers_that_claim_at_once_share_the_rows(fate: Actor, auth: Actor, worker: Actor) -> None:
    await fill(fate, OWNER, 200, "1 day")
    await fill(fate, STRANGER, 200, "1 hour")
    leases = [uuid4() for _ in range(8)]
    batches = await asyncio.gather(*(worker.again().run(CLAIM, 25, lease) for lease in leases))
    claimed = [row["id"] for rows in batches for row in rows]
    assert len(claimed) == len(set(claimed))

    held = await fate.run(
        "select refresh_lease_owner as lease, count(*) as rows from public.integrations"
        " where refresh_lease_owner is not null group by 1"
    )
    assert {row["lease"]: row["rows"] for row in held} == {
        lease: len(rows) for lease, rows in zip(leases, batches, strict=True) if rows
    }
