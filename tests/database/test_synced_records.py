"""Synced records and their cursors: whose they are, what fits into them, and which syncs are due."""

import asyncio
from typing import Final, LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.database.acts import OWNER, STRANGER, Actor, Row, connect_service, refused

ADD: Final[LiteralString] = """
    insert into public.synced_records (user_id, integration_id, resource, external_id, data, synced_at)
    values (%s, %s, %s, %s, %s, now())
"""
WISH: Final[LiteralString] = "insert into public.sync_cursors (integration_id, resource) values (%s, %s)"
DECIDE: Final = sql.SQL("insert into public.sync_cursors (integration_id, resource, {}) values (%s, 'contacts', null)")
CLAIM_AFTER: Final[LiteralString] = "select * from integrations_private.claim_due_syncs(%s, %s, %s::uuid[])"
CLAIM: Final[LiteralString] = "select * from integrations_private.claim_due_syncs(%s, %s)"


async def add(worker: Actor, integration_id: UUID, external_id: str = "1", data: object = None) -> None:
    """Store a record of the owner as the worker."""
    values = (integration_id, "contacts", external_id, Jsonb({"name": "Ada"} if data is None else data))
    await worker.acting(OWNER).run(ADD, OWNER, *values)


async def claim(worker: Actor, rows: int = 100) -> list[Row]:
    """What a worker gets that asks for so many."""
    return await worker.run(CLAIM, rows, uuid4())


async def test_the_owner_reads_and_removes_and_nobody_else_meets_them(
    owner: Actor, stranger: Actor, visitor: Actor, worker: Actor
) -> None:
    await add(worker, await connect_service(owner))

    assert await stranger.run("select * from public.synced_records") == []
    assert await stranger.run("delete from public.synced_records returning *") == []
    with refused("42501"):
        await visitor.run("select * from public.synced_records")
    assert [row["data"] for row in await owner.run("select data from public.synced_records")] == [{"name": "Ada"}]
    assert len(await owner.run("delete from public.synced_records returning *")) == 1


async def test_the_worker_cannot_store_for_a_user_it_did_not_declare(owner: Actor, worker: Actor) -> None:
    integration_id = await connect_service(owner)
    with refused("42501"):
        await worker.acting(STRANGER).run(ADD, OWNER, integration_id, "contacts", "1", Jsonb({}))


async def test_a_record_belongs_to_a_connection_of_the_same_user(owner: Actor, stranger: Actor, worker: Actor) -> None:
    foreign = await connect_service(stranger)
    with refused("23503", "synced_records_integration_id_fkey"):
        await worker.acting(OWNER, STRANGER).run(ADD, OWNER, foreign, "contacts", "1", Jsonb({}))


async def test_an_upsert_cannot_read_what_a_record_holds(owner: Actor, worker: Actor) -> None:
    await add(worker, await connect_service(owner))
    with refused("42501"):
        await worker.acting(OWNER).run("select data from public.synced_records")
    with refused("42501"):
        await worker.acting(OWNER).run("update public.synced_records set synced_at = now() returning data")


async def test_records_and_cursors_go_with_their_connection(owner: Actor, worker: Actor, fate: Actor) -> None:
    integration_id = await connect_service(owner)
    await owner.run(WISH, integration_id, "contacts")
    await add(worker, integration_id)

    await owner.run("delete from public.integrations where id = %s", integration_id)

    assert await fate.value("select count(*) from public.synced_records") == 0
    assert await fate.value("select count(*) from public.sync_cursors") == 0


async def test_a_token_of_an_app_sees_neither(owner: Actor, worker: Actor) -> None:
    integration_id = await connect_service(owner)
    await owner.run(WISH, integration_id, "contacts")
    await add(worker, integration_id)
    app = owner.carrying(client_id="an-app")

    assert await app.run("select * from public.synced_records") == []
    assert await app.run("select * from public.sync_cursors") == []
    assert await app.run("delete from public.synced_records returning *") == []
    with refused("42501"):
        await app.run(WISH, integration_id, "deals")


@pytest.mark.parametrize(
    ("column", "external_id", "data"),
    [
        ("external_id", "", {}),
        ("external_id", "x" * 256, {}),
        ("external_id", "line\nbreak", {}),
        ("data", "1", ["a list"]),
        ("data", "1", {"text": "x" * 524_288}),
    ],
)
async def test_what_does_not_fit_is_refused(
    owner: Actor, worker: Actor, column: str, external_id: str, data: object
) -> None:
    integration_id = await connect_service(owner)
    with refused("23514", f"synced_records_{column}_check"):
        await add(worker, integration_id, external_id, data)


async def test_a_user_asks_for_nothing_of_a_foreign_connection(owner: Actor, stranger: Actor) -> None:
    foreign = await connect_service(owner)
    for integration_id in (foreign, uuid4()):
        with refused("23503", "sync_cursors_integration_id_fkey"):
            await stranger.run(WISH, integration_id, "contacts")


async def test_a_user_cannot_ask_for_more_than_a_thousand_resources(owner: Actor) -> None:
    integration_id = await connect_service(owner)
    many: LiteralString = (
        "insert into public.sync_cursors (integration_id, resource)"
        " select %s, 'r' || number from generate_series(1, %s) as number on conflict do nothing"
    )
    await owner.run(many, integration_id, 1000)
    with refused("54000", "sync_cursors_quota"):
        await owner.run(many, integration_id, 1001)
    await owner.run(many, integration_id, 1000)


async def test_quotas_hold_when_two_ask_at_once(owner: Actor, fate: Actor) -> None:
    integration_id = await connect_service(owner)
    many: LiteralString = (
        "insert into public.sync_cursors (integration_id, resource) select %s, %s || number"
        " from generate_series(1, 600) as number"
    )
    outcomes = await asyncio.gather(
        *(owner.again().run(many, integration_id, prefix) for prefix in ("a", "b")), return_exceptions=True
    )
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert await fate.value("select count(*) from public.sync_cursors") == 600


@pytest.mark.parametrize("column", ["user_id", "cursor", "next_run_at", "lease_owner"])
async def test_a_user_does_not_decide_how_far_a_sync_is(owner: Actor, column: str) -> None:
    integration_id = await connect_service(owner)
    with refused("42501"):
        await owner.run(DECIDE.format(sql.Identifier(column)), integration_id)


async def test_a_due_sync_is_claimed_once_and_again_when_its_lease_has_ended(
    owner: Actor, worker: Actor, fate: Actor
) -> None:
    integration_id = await connect_service(owner)
    await owner.run(WISH, integration_id, "contacts")

    assert [(row["user_id"], row["resource"]) for row in await claim(worker)] == [(OWNER, "contacts")]
    await fate.run("update public.sync_cursors set next_run_at = now() - interval '1 hour'")
    assert await claim(worker) == []
    await fate.run("update public.sync_cursors set lease_until = now()")
    assert len(await claim(worker)) == 1


async def test_two_workers_claim_different_syncs(owner: Actor, worker: Actor) -> None:
    integration_id = await connect_service(owner)
    for number in range(40):
        await owner.run(WISH, integration_id, f"resource_{number}")
    shares = await asyncio.gather(*(claim(worker.again(), 20) for _ in range(4)))
    claimed = [row["resource"] for share in shares for row in share]
    assert len(claimed) == len(set(claimed))
    assert len(claimed) >= 20


async def test_a_user_with_many_syncs_delays_another_by_one(owner: Actor, stranger: Actor, worker: Actor) -> None:
    greedy, modest = await connect_service(owner), await connect_service(stranger)
    for number in range(20):
        await owner.run(WISH, greedy, f"resource_{number}")
    await stranger.run(WISH, modest, "contacts")
    assert {row["user_id"] for row in await claim(worker, 2)} == {OWNER, STRANGER}


async def test_a_user_with_many_syncs_delays_another_by_one_where_they_are_claimed_one_by_one(
    owner: Actor, stranger: Actor, worker: Actor
) -> None:
    greedy, modest = await connect_service(owner), await connect_service(stranger)
    for number in range(20):
        await owner.run(WISH, greedy, f"resource_{number}")
    await stranger.run(WISH, modest, "contacts")
    claimed: list[UUID] = []
    for _ in range(3):
        (row,) = await worker.run(CLAIM_AFTER, 1, uuid4(), list(claimed))
        claimed.append(row["user_id"])
    assert claimed == [OWNER, STRANGER, OWNER]


async def test_a_paused_connections_sync_is_passed_over_and_put_off(owner: Actor, worker: Actor) -> None:
    integration_id = await connect_service(owner, status="inactive")
    await owner.run(WISH, integration_id, "contacts")
    assert await claim(worker) == []
    assert await owner.value("select next_run_at > now() + interval '59 minutes' from public.sync_cursors") is True


@pytest.mark.parametrize("role", ["authenticated", "anon", "service_role"])
async def test_only_the_worker_claims(owner: Actor, role: str) -> None:
    owner.role = role
    with refused("42501"):
        await claim(owner)
