"""Which key seals what, for rotation: ids and owners, page by page, without reading credentials."""

from typing import LiteralString
from uuid import UUID

from tests.database.acts import OWNER, STRANGER, Actor, Row, connect_service, refused

LIST: LiteralString = "select * from integrations_private.list_integrations_sealed_under(%s, %s, %s, %s)"
COUNT: LiteralString = "select * from integrations_private.count_integrations_by_key()"


def sealed_under(key_id: str) -> str:
    """An envelope under this key."""
    return f"v1.{key_id}." + "canary-" * 6


async def list_all(worker: Actor, key_id: str, page: int) -> list[Row]:
    """Follow the pages to the end."""
    found: list[Row] = []
    after: tuple[UUID | None, UUID | None] = (None, None)
    while rows := await worker.run(LIST, key_id, *after, page):
        found += rows
        after = (rows[-1]["user_id"], rows[-1]["id"])
    return found


async def test_every_row_of_a_key_is_listed_once(owner: Actor, stranger: Actor, worker: Actor) -> None:
    expected = []
    for actor in (owner, stranger):
        for number in range(7):
            key_id = "0000001d" if number % 2 else "aaaaaaaa"
            account = await connect_service(actor, external_account_id=str(number), credentials=sealed_under(key_id))
            if number % 2:
                expected.append({"user_id": actor.id, "id": account})
    await connect_service(owner, external_account_id="without", credentials=None)

    listed = await list_all(worker, "0000001d", page=2)
    assert listed == sorted(expected, key=lambda row: (row["user_id"].bytes, row["id"].bytes))


async def test_an_unknown_key_seals_nothing(owner: Actor, worker: Actor) -> None:
    await connect_service(owner)
    assert await list_all(worker, "ffffffff", page=10) == []


async def test_a_page_is_between_one_and_five_hundred(fate: Actor, auth: Actor, worker: Actor) -> None:
    await fate.run(
        "insert into public.integrations (user_id, id, service_name, service_type, external_account_id, credentials)"
        " select %s, gen_random_uuid(), 'demo_crm', 'crm', n::text, %s from generate_series(1, 501) as n",
        OWNER,
        sealed_under("0000001d"),
    )
    for asked, given in ((-1, 1), (0, 1), (None, 100), (1_000_000, 500)):
        assert len(await worker.run(LIST, "0000001d", None, None, asked)) == given


async def test_keys_are_counted(owner: Actor, stranger: Actor, worker: Actor) -> None:
    assert await worker.run(COUNT) == []

    for number, key_id in enumerate(["aaaaaaaa", "0000001d", "aaaaaaaa", "ffffffff"]):
        await connect_service(owner, external_account_id=str(number), credentials=sealed_under(key_id))
    await connect_service(stranger, credentials=sealed_under("ffffffff"))
    await connect_service(stranger, external_account_id="none", credentials=None)

    assert {row["key_id"]: row["integrations"] for row in await worker.run(COUNT)} == {
        "0000001d": 1,
        "aaaaaaaa": 2,
        "ffffffff": 2,
    }


async def test_listing_and_counting_walk_the_index(fate: Actor, worker: Actor) -> None:
    await fate.run(
        "insert into public.integrations (user_id, id, service_name, service_type, credentials)"
        " select gen_random_uuid(), gen_random_uuid(), 'demo_crm', 'crm', case when n %% 100 = 0 then %s else %s end"
        " from generate_series(1, 10000) as n",
        sealed_under("0000001d"),
        sealed_under("aaaaaaaa"),
    )
    connection = await fate.connection()
    await connection.execute("analyze public.integrations")

    connection = await worker.connection()
    async with connection.transaction(), connection.cursor() as cursor:
        await worker.begin(cursor)
        await cursor.execute(LIST, ["0000001d", STRANGER, None, 50])
        await cursor.execute(COUNT)
        await cursor.execute(
            "select seq_scan from pg_stat_xact_user_tables where relid = 'public.integrations'::regclass"
        )
        assert await cursor.fetchone() == {"seq_scan": 0}


async def test_users_may_not_ask(owner: Actor) -> None:
    for statement, parameters in ((COUNT, ()), (LIST, ("aaaaaaaa", None, None, 10))):
        with refused("42501"):
            await owner.run(statement, *parameters)
