"""The background worker: rows of declared users, granted columns, and nothing else."""

from uuid import UUID, uuid4

import pytest
from psycopg import sql

from tests.database.acts import ENVELOPE, OWNER, STRANGER, Actor, connect_service, refused

UPDATABLE = {
    "status",
    "credentials",
    "scopes",
    "expires_at",
    "last_refreshed_at",
    "last_sync_at",
    "last_error_code",
    "last_error_at",
    "refresh_lease_owner",
    "next_refresh_at",
    "refresh_failures",
}


@pytest.fixture
async def rows(owner: Actor, stranger: Actor) -> None:
    """One connection each."""
    await connect_service(owner)
    await connect_service(stranger)


@pytest.mark.usefixtures("rows")
async def test_without_a_declaration_there_are_no_rows(worker: Actor) -> None:
    assert await worker.run("select id from public.integrations") == []
    assert await worker.run("update public.integrations set status = 'error' returning id") == []
    worker.settings = {"integrations.acting_for": ""}
    assert await worker.run("select id from public.integrations") == []


@pytest.mark.usefixtures("rows")
async def test_rows_of_declared_users_alone_are_seen_and_changed(worker: Actor) -> None:
    for users in ((OWNER,), (STRANGER,), (OWNER, STRANGER)):
        acting = worker.acting(*users)
        seen = await acting.run("select user_id from public.integrations")
        changed = await acting.run("update public.integrations set refresh_failures = 1 returning user_id")
        assert {row["user_id"] for row in seen} == {row["user_id"] for row in changed} == set(users)
    assert await worker.acting(uuid4()).run("select id from public.integrations") == []


async def test_a_declaration_ends_with_its_transaction(owner: Actor, worker: Actor) -> None:
    await connect_service(owner)
    assert len(await worker.acting(OWNER).run("select id from public.integrations")) == 1
    assert await worker.acting().run("select id from public.integrations") == []


@pytest.mark.usefixtures("rows")
async def test_at_most_five_hundred_users_are_declared_at_once(worker: Actor) -> None:
    others = [UUID(int=number) for number in range(500)]
    assert len(await worker.acting(OWNER, *others[1:]).run("select id from public.integrations")) == 1
    with refused("54000", "integrations_acting_for_limit"):
        await worker.acting(OWNER, *others).run("select id from public.integrations")
    worker.settings = {"integrations.acting_for": "not an array"}
    with refused("22P02"):
        await worker.run("select id from public.integrations")


@pytest.mark.usefixtures("rows")
async def test_it_updates_the_columns_that_its_work_writes_and_no_other(worker: Actor, operator: Actor) -> None:
    columns = await operator.run(
        "select attname::text as name from pg_attribute"
        " where attrelid = 'public.integrations'::regclass and attnum > 0 and not attisdropped"
    )
    acting = worker.acting(OWNER)
    await acting.run("update public.integrations set refresh_lease_owner = gen_random_uuid()")
    for row in columns:
        update = sql.SQL("update public.integrations set {} = null").format(sql.Identifier(row["name"]))
        if row["name"] in UPDATABLE - {"status", "scopes", "refresh_failures"}:
            await acting.run(update)
        else:
            with refused("23502" if row["name"] in UPDATABLE else "42501"):
                await acting.run(update)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("declared", [(), (STRANGER,)], ids=["nobody", "somebody-else"])
async def test_no_column_of_an_undeclared_user_is_reached(
    worker: Actor, operator: Actor, declared: tuple[UUID, ...]
) -> None:
    """Neither returned, nor compared, nor counted, nor written with it."""
    columns = await operator.run(
        "select attname::text as name from pg_attribute"
        " where attrelid = 'public.integrations'::regclass and attnum > 0 and not attisdropped"
    )
    assert len(columns) == 22
    acting = worker.acting(*declared)
    for row in columns:
        column = sql.Identifier(row["name"])
        read = sql.SQL("select {} from public.integrations where user_id = {}").format(column, OWNER)
        compared = sql.SQL("select count({0}) from public.integrations where user_id = {1}").format(column, OWNER)
        assert await acting.run(read) == []
        assert await acting.value(compared) == 0
    assert (
        await acting.run("update public.integrations set last_sync_at = now() where user_id = %s returning *", OWNER)
        == []
    )
    assert await acting.run("update public.integrations set status = display_name where user_id = %s", OWNER) == []
    untouched = await operator.row("select status, last_sync_at from public.integrations where user_id = %s", OWNER)
    assert untouched == {"status": "active", "last_sync_at": None}


@pytest.mark.usefixtures("rows")
async def test_it_reads_every_column_of_a_declared_user(worker: Actor, operator: Actor) -> None:
    seen = await worker.acting(OWNER).row("select * from public.integrations")
    assert seen == await operator.row("select * from public.integrations where user_id = %s", OWNER)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("declared", [(OWNER,), (OWNER, STRANGER)])
async def test_it_gives_no_connection_to_another_owner(
    worker: Actor, operator: Actor, declared: tuple[UUID, ...]
) -> None:
    acting = worker.acting(*declared)
    with refused("42501"):
        await acting.run("update public.integrations set user_id = %s where user_id = %s", STRANGER, OWNER)
    with refused("42501"):
        await acting.run(
            "insert into public.integrations (user_id, id, service_name, service_type)"
            " select %s, id, service_name, service_type from public.integrations"
            " on conflict (user_id, id) do update set user_id = excluded.user_id",
            STRANGER,
        )
    owners = await operator.run("select user_id from public.integrations")
    assert {row["user_id"] for row in owners} == {OWNER, STRANGER}


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.integrations (service_name, service_type) values ('demo_crm', 'crm')",
        "delete from public.integrations",
        "select state_hash from public.oauth_states",
        "select id from public.integration_events",
        "select claim from integrations_private.allowed_claims",
        "select state_hash from integrations_private.seen_states",
        "select id from auth.users",
    ],
)
async def test_everything_else_is_refused(worker: Actor, statement: str) -> None:
    with refused("42501"):
        await worker.acting(OWNER).run(sql.SQL(statement))


async def test_a_refresh_from_claim_to_write(owner: Actor, worker: Actor, fate: Actor) -> None:
    integration = await connect_service(owner, next_refresh_at="2020-01-01 00:00:00+00")
    await fate.run("update public.integrations set next_refresh_at = now() - interval '1 second'")
    lease = uuid4()

    (claimed,) = await worker.run("select * from integrations_private.claim_due_refreshes(10, %s)", lease)
    assert claimed == {"user_id": OWNER, "id": integration}

    acting = worker.acting(OWNER)
    sealed = await acting.row(
        "select credentials, credential_version from public.integrations where id = %s", integration
    )
    assert sealed == {"credentials": ENVELOPE, "credential_version": 1}
    (written,) = await acting.run(
        "update public.integrations set credentials = %s, status = 'active', last_refreshed_at = now(),"
        " next_refresh_at = now() + interval '1 hour', refresh_lease_owner = null, refresh_failures = 0"
        " where user_id = %s and id = %s and refresh_lease_owner = %s and credential_version = 1"
        " returning credential_version, refresh_lease_until",
        ENVELOPE + "new",
        OWNER,
        integration,
        lease,
    )
    assert written == {"credential_version": 2, "refresh_lease_until": None}


async def test_the_role_is_no_more_than_it_must_be(operator: Actor) -> None:
    role = await operator.row(
        "select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit"
        " from pg_roles where rolname = 'integrations_worker'"
    )
    assert not any(role.values())
