"""Every verb on every table, by everyone: what the grants and policies leave to each."""

from typing import Final, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.database.acts import ENVELOPE, OWNER, Actor, connect_service, refused
from tests.database.conftest import OpenActor

PERMISSION_DENIED: Final = "42501"

STATE_HASH: Final = "ab" * 32

STATEMENTS: Final[dict[str, LiteralString]] = {
    "integrations select": "select * from public.integrations",
    "integrations insert": (
        "insert into public.integrations (service_name, service_type) values ('demo_crm', 'crm') returning *"
    ),
    "integrations update": "update public.integrations set status = 'inactive' returning *",
    "integrations delete": "delete from public.integrations returning *",
    "integrations truncate": "truncate public.integrations cascade",
    "oauth_states select": "select * from public.oauth_states",
    "oauth_states insert": (
        "insert into public.oauth_states (state_hash, flow)"
        " values (repeat('cd', 32), 'v1.5ea1ed00.' || repeat('a', 40)) returning *"
    ),
    "oauth_states update": "update public.oauth_states set flow = flow returning *",
    "oauth_states delete": "delete from public.oauth_states returning *",
    "oauth_states truncate": "truncate public.oauth_states",
    "integration_events select": "select * from public.integration_events",
    "integration_events insert": (
        "insert into public.integration_events (user_id, integration_id, service_name, event, actor_role)"
        " values (gen_random_uuid(), gen_random_uuid(), 'demo_crm', 'integration.created', 'postgres') returning *"
    ),
    "integration_events update": "update public.integration_events set event = 'integration.updated' returning *",
    "integration_events delete": "delete from public.integration_events returning *",
    "integration_events truncate": "truncate public.integration_events",
    "synced_records select": "select * from public.synced_records",
    "synced_records select keys": "select resource, external_id, synced_at from public.synced_records",
    "synced_records insert": (
        "insert into public.synced_records (user_id, integration_id, resource, external_id, data, synced_at)"
        " select user_id, id, 'contacts', 'second', '{}', now() from public.integrations returning external_id"
    ),
    "synced_records update": "update public.synced_records set data = '{}' returning external_id",
    "synced_records rename": "update public.synced_records set external_id = 'another' returning external_id",
    "synced_records delete": "delete from public.synced_records returning external_id",
    "synced_records truncate": "truncate public.synced_records",
    "sync_cursors select": "select * from public.sync_cursors",
    "sync_cursors insert": (
        "insert into public.sync_cursors (integration_id, resource)"
        " select id, 'deals' from public.integrations returning resource"
    ),
    "sync_cursors insert for a user": (
        "insert into public.sync_cursors (user_id, integration_id, resource)"
        " select user_id, id, 'deals' from public.integrations returning resource"
    ),
    "sync_cursors update": "update public.sync_cursors set cursor = 'b' returning resource",
    "sync_cursors delete": "delete from public.sync_cursors returning resource",
    "event numbers": "select nextval('public.integration_events_id_seq')",
    "allowed_claims select": "select * from integrations_private.allowed_claims",
    "allowed_claims insert": "insert into integrations_private.allowed_claims values ('client_id', 'mine')",
    "seen_states select": "select * from integrations_private.seen_states",
    "seen_states delete": "delete from integrations_private.seen_states",
}

OWNER_MAY: Final = {
    "integrations select",
    "integrations insert",
    "integrations update",
    "integrations delete",
    "oauth_states select",
    "oauth_states insert",
    "oauth_states delete",
    "integration_events select",
    "synced_records select",
    "synced_records select keys",
    "synced_records delete",
    "sync_cursors select",
    "sync_cursors insert",
    "sync_cursors delete",
}

WORKER_MAY: Final = {
    "integrations select",
    "integrations update",
    "synced_records select keys",
    "synced_records insert",
    "synced_records update",
    "synced_records delete",
    "sync_cursors select",
    "sync_cursors insert for a user",
    "sync_cursors update",
}


@pytest.fixture(autouse=True)
async def _rows_of_the_owner(owner: Actor, worker: Actor) -> None:
    integration_id = await connect_service(owner, external_account_id="first")
    await owner.run(
        "insert into public.sync_cursors (integration_id, resource) values (%s, 'contacts')", integration_id
    )
    await worker.acting(owner.id).run(
        "insert into public.synced_records (user_id, integration_id, resource, external_id, data, synced_at)"
        " values (%s, %s, 'contacts', 'first', '{}', now())",
        owner.id,
        integration_id,
    )
    await owner.run("insert into public.oauth_states (state_hash, flow) values (%s, %s)", STATE_HASH, ENVELOPE)


async def test_owners_do_what_is_granted_and_meet_their_own_rows(owner: Actor) -> None:
    assert await _outcomes(owner) == {name: 1 if name in OWNER_MAY else "42501" for name in STATEMENTS}


async def test_strangers_may_say_the_same_and_meet_nobodys_rows(stranger: Actor) -> None:
    own_insert = {"integrations insert": 1, "oauth_states insert": 1}
    may = {name: own_insert.get(name, 0) for name in OWNER_MAY}
    assert await _outcomes(stranger) == {name: may.get(name, "42501") for name in STATEMENTS}


async def test_the_worker_meets_nobodys_rows_until_it_declares_somebody(worker: Actor) -> None:
    # Without rows no default is computed, which would be refused.
    may = WORKER_MAY | {"sync_cursors insert"}
    assert await _outcomes(worker) == {name: 0 if name in may else "42501" for name in STATEMENTS}


async def test_the_worker_reads_and_changes_what_it_declared_and_does_nothing_else(worker: Actor) -> None:
    assert await _outcomes(worker.acting(OWNER)) == {name: 1 if name in WORKER_MAY else "42501" for name in STATEMENTS}


@pytest.mark.parametrize("role", ["anon", "service_role", "authenticator"])
async def test_everybody_else_is_refused_everything(actor: OpenActor, auth: Actor, role: str) -> None:
    assert await _outcomes(actor(role, OWNER)) == dict.fromkeys(STATEMENTS, "42501")


async def _outcomes(actor: Actor) -> dict[str, int | str | None]:
    """For each statement the number of rows it gave, or the SQLSTATE it was refused with; nothing is kept."""
    outcomes: dict[str, int | str | None] = {}
    for name, statement in STATEMENTS.items():
        connection = await actor.connection()
        async with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            await actor.begin(cursor)
            try:
                await cursor.execute(statement)
                outcomes[name] = len(await cursor.fetchall()) if cursor.description else 0
            except psycopg.Error as error:
                outcomes[name] = error.sqlstate
    return outcomes


@pytest.mark.parametrize("column", ["user_id", "credential_version", "refresh_lease_until", "created_at", "updated_at"])
async def test_what_the_database_decides_cannot_be_inserted(owner: Actor, column: str) -> None:
    with refused(PERMISSION_DENIED):
        await connect_service(owner, columns={column: None})


@pytest.mark.parametrize(
    "column",
    [
        "user_id",
        "id",
        "service_name",
        "service_type",
        "external_account_id",
        "credential_version",
        "refresh_lease_until",
        "created_at",
        "updated_at",
    ],
)
async def test_what_the_database_decides_cannot_be_updated(owner: Actor, worker: Actor, column: str) -> None:
    update = sql.SQL("update public.integrations set {0} = {0}").format(sql.Identifier(column))
    with refused(PERMISSION_DENIED):
        await owner.run(update)
    with refused(PERMISSION_DENIED):
        await worker.acting(owner.id).run(update)


@pytest.mark.parametrize("column", ["user_id", "expires_at"])
async def test_a_state_takes_its_owner_and_expiry_from_the_database(owner: Actor, column: str) -> None:
    insert = sql.SQL("insert into public.oauth_states (state_hash, flow, {}) values (%s, %s, null)")
    with refused(PERMISSION_DENIED):
        await owner.run(insert.format(sql.Identifier(column)), "ef" * 32, ENVELOPE)


async def test_an_upsert_cannot_take_over_a_foreign_row(owner: Actor, stranger: Actor) -> None:
    mine = await owner.row("select id, service_name, external_account_id from public.integrations")
    await stranger.run(
        "insert into public.integrations (id, service_name, service_type, external_account_id)"
        " values (%s, %s, 'crm', %s) on conflict (user_id, id) do update set status = 'revoked'",
        mine["id"],
        mine["service_name"],
        mine["external_account_id"],
    )

    assert [row["status"] for row in await owner.run("select status from public.integrations")] == ["active"]
    assert len(await stranger.run("select id from public.integrations")) == 1


async def test_an_unknown_id_and_a_foreign_id_answer_alike(owner: Actor, stranger: Actor) -> None:
    foreign = await owner.value("select id from public.integrations")
    read: LiteralString = "select * from public.integrations where id = %s"
    update: LiteralString = "update public.integrations set status = 'error' where id = %s returning *"
    delete: LiteralString = "delete from public.integrations where id = %s returning *"

    for statement in (read, update, delete):
        assert await stranger.run(statement, foreign) == await stranger.run(statement, uuid4()) == []
    await connect_service(stranger, id=foreign, external_account_id="same id, other owner")


async def test_a_reference_to_an_unknown_id_and_to_a_foreign_id_answer_alike(owner: Actor, stranger: Actor) -> None:
    foreign, unknown = await owner.value("select id from public.integrations"), uuid4()
    insert: LiteralString = (
        "insert into public.oauth_states (state_hash, flow, integration_id) values (repeat('12', 32), %s, %s)"
    )
    with refused("23503", "oauth_states_integration_id_fkey") as for_foreign:
        await stranger.run(insert, ENVELOPE, foreign)
    with refused("23503", "oauth_states_integration_id_fkey") as for_unknown:
        await stranger.run(insert, ENVELOPE, unknown)

    assert str(for_foreign.value).replace(str(foreign), "ID") == str(for_unknown.value).replace(str(unknown), "ID")


async def test_no_function_of_ours_can_be_called_through_the_data_api(
    owner: Actor, visitor: Actor, service_role: Actor, operator: Actor
) -> None:
    functions = await operator.run(
        "select oid::regprocedure::text as name from pg_proc where pronamespace = 'integrations_private'::regnamespace"
    )
    assert len(functions) >= 12

    for actor in (owner, visitor, service_role):
        with refused(PERMISSION_DENIED):
            await actor.run("select integrations_private.token_is_allowed()")
        executable = await actor.run(
            "select oid::regprocedure::text as name from pg_proc"
            " where pronamespace = 'integrations_private'::regnamespace and has_function_privilege(oid, 'execute')"
        )
        assert [row["name"] for row in executable] in ([], ["integrations_private.token_is_allowed()"])


async def test_a_user_without_claims_reaches_nothing(owner: Actor) -> None:
    owner.claims = {"role": "authenticated"}

    assert await owner.run("select id from public.integrations") == []
    with refused(PERMISSION_DENIED):
        await connect_service(owner)
