"""The audit trail: what happened to a connection, by whom and why; names of columns, words, and no user's values."""

from typing import LiteralString
from uuid import uuid4

import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.database.acts import ENVELOPE, Actor, Row, change, connect_service, refused

TRAIL: LiteralString = "select * from public.integration_events order by id"


def told(events: list[Row]) -> list[tuple[str, list[str]]]:
    """What the events say."""
    return [(event["event"], event["changed_columns"]) for event in events]


async def test_the_life_of_a_connection(owner: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(owner, integration, credentials=ENVELOPE + "2", status="active", refresh_lease_owner=None)
    await change(owner, integration, status="inactive")
    await change(owner, integration, config=Jsonb({"shop": "canary-value"}), display_name="Ada", scopes=["read"])
    await change(owner, integration, last_error_code="provider_unavailable", last_error_at="now")
    await owner.run("delete from public.integrations")

    events = await owner.run(TRAIL)
    assert told(events) == [
        ("integration.created", []),
        ("credentials.replaced", ["credentials"]),
        ("status.changed", ["status"]),
        ("integration.updated", ["config", "display_name", "scopes"]),
        ("integration.updated", ["last_error_code"]),
        ("integration.deleted", []),
    ]
    for event in events:
        assert event["user_id"] == event["actor_id"] == owner.id
        assert (event["integration_id"], event["service_name"]) == (integration, "demo_crm")
        assert event["actor_role"] == "authenticated"


async def test_it_says_why_a_connection_stopped(owner: Actor, worker: Actor) -> None:
    """The state that each change left, also where a later one took the reason away again."""
    integration = await connect_service(owner)
    acting = worker.acting(owner.id)
    await change(acting, integration, last_error_code="provider_unavailable", refresh_failures=1)
    await change(acting, integration, status="needs_reauthorization", last_error_code="invalid_grant")
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(
        owner, integration, credentials=f"{ENVELOPE}2", status="active", last_error_code=None, refresh_lease_owner=None
    )
    await change(owner, integration, display_name="Ada")

    events = await owner.run(TRAIL)
    assert [(event["event"], event["status"], event["error_code"]) for event in events] == [
        ("integration.created", "active", None),
        ("integration.updated", "active", "provider_unavailable"),
        ("status.changed", "needs_reauthorization", "invalid_grant"),
        ("credentials.replaced", "active", None),
        ("integration.updated", "active", None),
    ]


async def test_credentials_that_are_removed_are_not_told_as_replaced(owner: Actor) -> None:
    """And those that come later, into the empty row, are."""
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(owner, integration, credentials=None, status="revoked", refresh_lease_owner=None)
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(owner, integration, credentials=ENVELOPE + "2", status="active", refresh_lease_owner=None)

    events = await owner.run(TRAIL)
    assert told(events)[1:] == [
        ("credentials.discarded", ["credentials", "status"]),
        ("credentials.replaced", ["credentials", "status"]),
    ]
    assert [event["status"] for event in events] == ["active", "revoked", "active"]


async def test_a_deletion_tells_what_became_of_the_revocation(owner: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, status="revoked", last_error_code="revocation_skipped_shared_grant")
    await owner.run("delete from public.integrations")

    last = (await owner.run(TRAIL))[-1]
    assert last["event"] == "integration.deleted"
    assert (last["status"], last["error_code"]) == ("revoked", "revocation_skipped_shared_grant")


@pytest.mark.parametrize(("column", "value"), [("status", "canary"), ("error_code", "Not A Word")])
async def test_not_even_the_operator_puts_free_text_beside_an_event(operator: Actor, column: str, value: str) -> None:
    insert = sql.SQL(
        "insert into public.integration_events (user_id, integration_id, service_name, event, actor_role, {})"
        " values (gen_random_uuid(), gen_random_uuid(), 'demo_crm', 'integration.updated', 'postgres', %s)"
    )
    with refused("23514", f"integration_events_{column}_check"):
        await operator.run(insert.format(sql.Identifier(column)), value)


async def test_no_value_of_a_user_reaches_the_trail(owner: Actor, fate: Actor) -> None:
    integration = await connect_service(owner, external_account_id="canary-account")
    await change(owner, integration, display_name="canary-name", config=Jsonb({"canary-key": "canary-value"}))
    trail = await fate.value("select string_agg(e::text, ' ') from public.integration_events as e")
    assert "canary" not in str(trail)


async def test_keeping_a_connection_alive_is_no_event(owner: Actor) -> None:
    integration = await connect_service(owner)
    await change(owner, integration, refresh_lease_owner=uuid4())
    await change(owner, integration, refresh_lease_owner=None, next_refresh_at="2100-01-01 00:00:00+00")
    await change(owner, integration, last_sync_at="now")
    await change(owner, integration, last_refreshed_at="now", last_error_at="now", refresh_failures=3)
    await change(owner, integration, status="active", display_name=None)
    assert told(await owner.run(TRAIL)) == [("integration.created", [])]


async def test_every_column_is_either_told_or_known_to_be_silent(operator: Actor) -> None:
    """A column added later must be put on one of the two lists."""
    told_columns = await operator.run(
        "select a.attname::text as name from pg_trigger as t"
        " join pg_attribute as a on a.attrelid = t.tgrelid and a.attnum = any (t.tgattr)"
        " where t.tgname = 'record_integration_change'"
    )
    silent = {
        "credential_version",
        "last_error_at",
        "last_refreshed_at",
        "last_sync_at",
        "next_refresh_at",
        "refresh_failures",
        "refresh_lease_owner",
        "refresh_lease_until",
        "updated_at",
    }
    fixed = {"user_id", "id", "service_name", "created_at"}
    columns = await operator.run(
        "select attname::text as name from pg_attribute"
        " where attrelid = 'public.integrations'::regclass and attnum > 0 and not attisdropped"
    )
    assert {row["name"] for row in columns} == {row["name"] for row in told_columns} | silent | fixed


async def test_the_worker_is_named_as_the_actor(owner: Actor, worker: Actor) -> None:
    await connect_service(owner)
    await worker.acting(owner.id).run("update public.integrations set status = 'needs_reauthorization'")

    event = (await owner.run(TRAIL))[-1]
    assert (event["event"], event["actor_role"], event["actor_id"]) == ("status.changed", "integrations_worker", None)


async def test_a_login_that_took_no_other_role_is_named(migrating_login: Actor, owner: Actor) -> None:
    await connect_service(owner)
    await migrating_login.run("update public.integrations set status = 'error'")
    assert (await owner.run(TRAIL))[-1]["actor_role"] == "postgres"


async def test_the_trail_outlives_the_user_and_is_then_the_operators(
    owner: Actor, stranger: Actor, visitor: Actor, worker: Actor, service_role: Actor, auth: Actor, operator: Actor
) -> None:
    for account in ("first", "second"):
        await connect_service(owner, external_account_id=account)
    await connect_service(stranger)
    await owner.run("insert into public.oauth_states (state_hash, flow) values (%s, %s)", "ab" * 32, ENVELOPE)
    await auth.run("delete from auth.users where id = %s", owner.id)

    assert [row["user_id"] for row in await operator.run("select user_id from public.integrations")] == [stranger.id]
    assert await operator.value("select count(*) from public.oauth_states") == 0
    assert {row["user_id"] for row in await stranger.run(TRAIL)} == {stranger.id}
    for nobody in (visitor, service_role, worker, worker.acting(owner.id), auth):
        with refused("42501"):
            await nobody.run(TRAIL)
    events = await operator.run("select * from public.integration_events where user_id = %s order by id", owner.id)
    assert told(events) == [("integration.created", [])] * 2 + [("integration.deleted", [])] * 2
    assert {(event["actor_role"], event["actor_id"]) for event in events[-2:]} == {("supabase_auth_admin", None)}
    assert {event["status"] for event in events} == {"active"}


async def test_a_refused_change_leaves_no_event(owner: Actor, stranger: Actor) -> None:
    integration = await connect_service(owner)
    assert await change(stranger, integration, status="revoked") == []
    assert len(await owner.run(TRAIL)) == 1
    assert await stranger.run(TRAIL) == []


async def test_changing_many_rows_tells_of_each(owner: Actor) -> None:
    ids = {await connect_service(owner, external_account_id=str(number)) for number in range(5)}
    await owner.run("update public.integrations set status = 'inactive'")
    events = await owner.run("select * from public.integration_events where event = 'status.changed'")
    assert {event["integration_id"] for event in events} == ids
