"""`integrations explain`, on rows and histories that the real triggers wrote."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import CliRunner, Result

from supabase_integrations.adapters.worker_pool import open_worker_pool
from supabase_integrations.adapters.worker_store import PostgresWorkerDatabase
from supabase_integrations.cli.commands import app
from supabase_integrations.core.models import IntegrationRef, IntegrationStatus, RefreshFailure
from tests import canaries
from tests.database.acts import Actor, Row, change, connect_service, user_claims
from tests.worker.world import World


async def explained(world: World, *arguments: object, url: str | None = None) -> Result:
    """Run the command as the migrating role, in a thread of its own: it starts its own event loop."""
    environment = {"DATABASE_URL": url or world.cluster.migrating_url(world.database)}
    return await asyncio.to_thread(CliRunner(env=environment).invoke, app, ["explain", *map(str, arguments)])


OpenActor = Callable[..., Actor]


@pytest.fixture
async def actor(world: World) -> AsyncIterator[OpenActor]:
    """Makes actors whose connections are closed at the end."""
    opened: list[psycopg.AsyncConnection[Row]] = []

    def open_actor(role: str, user_id: UUID | None = None) -> Actor:
        claims = user_claims(user_id) if user_id else None
        return Actor(world.cluster.url(world.database), role, claims, opened=opened)

    yield open_actor
    for connection in opened:
        await connection.close()


@pytest.fixture
async def owner(world: World, actor: OpenActor) -> Actor:
    """A signed-in user at the Data API."""
    user = uuid4()
    await world.fate.sign_up([user])
    return actor("authenticated", user)


async def fail(world: World, ref: IntegrationRef, failure: RefreshFailure) -> None:
    """A refresh that fails, as the worker records it."""
    async with open_worker_pool(world.worker_database, connections=1) as pool:
        store, lease = PostgresWorkerDatabase(pool).for_user(ref.user_id), uuid4()
        await store.take_lease(ref.id, lease)
        await store.record_failure(ref.id, failure, lease_owner=lease, seen_version=1)


async def test_it_says_why_a_connection_stopped_and_what_to_do(world: World, owner: Actor) -> None:
    integration = await connect_service(owner, service_name="hubspot", display_name="Acme", external_account_id="4711")
    refused = RefreshFailure(IntegrationStatus.NEEDS_REAUTHORIZATION, "invalid_grant", None, 1)
    await fail(world, IntegrationRef(owner.id, integration), refused)
    result = await explained(world, integration)

    assert result.exit_code == 0, result.output
    for words in (
        f'hubspot (crm), account 4711, called "Acme", of user {owner.id}',
        "sealed under key 5ea1ed00, version 1",
        "Status: needs_reauthorization. The service refused the refresh token",
        "the user connected it; then it was active",
        "the worker changed its status",
        "needs_reauthorization (invalid_grant)",
        "POST /api/integrations/oauth/initiate with this integration_id",
    ):
        assert words in result.output


async def test_neither_credentials_nor_settings_are_shown(world: World, owner: Actor) -> None:
    integration = await connect_service(owner, config='{"note": "canary-setting"}')
    await change(owner, integration, config='{"note": "canary-changed"}')
    result = await explained(world, integration)
    assert "changed config" in result.output
    for secret in ("canary-setting", "canary-changed", "canary-credentials", "note", *canaries.SECRETS):
        assert secret not in result.output


async def test_a_deleted_connection_is_told_from_its_history(world: World, owner: Actor) -> None:
    integration = await connect_service(owner)
    await owner.run("delete from public.integrations where id = %s", integration)
    result = await explained(world, integration)
    assert result.exit_code == 0
    assert "The connection is deleted; only its history is left." in result.output
    assert "the user deleted it" in result.output


async def test_a_deleted_user_is_told_from_the_history(world: World, owner: Actor, actor: OpenActor) -> None:
    integration = await connect_service(owner)
    await actor("supabase_auth_admin").run("delete from auth.users where id = %s", owner.id)
    result = await explained(world, integration)
    assert "Supabase Auth deleted the user, and it with them" in result.output


async def test_an_unknown_id_fails_and_says_what_to_check(world: World) -> None:
    result = await explained(world, uuid4())
    assert result.exit_code == 1
    assert "There is and was no connection" in result.output
    assert "right project" in result.output


async def test_two_users_with_one_id_are_told_apart(world: World, owner: Actor, actor: OpenActor) -> None:
    """Clients choose ids: a stranger who knows one may use it for a row of their own."""
    other = uuid4()
    await world.fate.sign_up([other])
    integration = await connect_service(owner, display_name="Mine")
    await connect_service(actor("authenticated", other), id=integration, display_name="Theirs")

    both = await explained(world, integration)
    assert "2 users have or had a connection with this id" in both.output
    assert ("Mine" in both.output, "Theirs" in both.output) == (True, True)
    one = await explained(world, integration, "--user", owner.id)
    assert ("Mine" in one.output, "Theirs" in one.output) == (True, False)


async def test_nothing_that_a_terminal_obeys_comes_through(world: World, owner: Actor) -> None:
    """Marks that turn text around pass the table's check; controls are put past it, as an older release may have."""
    integration = await connect_service(owner, display_name="\u202eexe.txt [bold red]Click[/]")
    first = await explained(world, integration)
    assert "\u202e" not in first.output
    assert "\\u202eexe.txt [bold red]Click[/]" in first.output

    await world.fate.database.execute("alter table public.integrations drop constraint integrations_display_name_check")
    await world.fate.database.execute(
        "update public.integrations set display_name = %s where id = %s", ["\x1b]0;owned\x07", integration]
    )
    second = await explained(world, integration)
    assert "\x1b" not in second.output
    assert "\\u001b]0;owned\\u0007" in second.output


async def test_a_long_history_is_told_from_its_end(world: World, owner: Actor) -> None:
    integration = await connect_service(owner)
    await world.fate.database.execute(
        "insert into public.integration_events (user_id, integration_id, service_name, event, actor_role, created_at)"
        " select %s, %s, 'demo_crm', 'integration.updated', 'integrations_worker', now() + n * interval '1 minute'"
        " from generate_series(1, 119) as n",
        [owner.id, integration],
    )
    result = await explained(world, integration)
    assert "20 older events are not shown." in result.output
    assert "connected it" not in result.output
    assert result.output.count("the worker") == 100


async def test_it_reads_in_a_transaction_that_cannot_write(world: World, owner: Actor) -> None:
    """A view in the table's place whose reading writes: the command must fail, and nothing be written."""
    integration = await connect_service(owner)
    superuser = world.fate.database
    await superuser.execute("create table public.touched (at timestamptz)")
    await superuser.execute(
        "create function public.touch() returns boolean language sql volatile security definer as"
        " 'insert into public.touched values (now()); select true'"
    )
    await superuser.execute("alter table public.integrations rename to integrations_beneath")
    await superuser.execute(
        "create view public.integrations as select * from public.integrations_beneath where public.touch()"
    )
    await superuser.execute("grant select on public.integrations to postgres")
    result = await explained(world, integration)
    assert result.exit_code == 1
    cursor = await superuser.execute("select count(*) as rows from public.touched")
    assert await cursor.fetchall() == [{"rows": 0}]


async def test_without_the_tables_it_says_so(world: World) -> None:
    postgres = world.cluster.migrating_url("postgres")
    result = await explained(world, uuid4(), url=postgres)
    assert result.exit_code == 1
    assert "integrations migrate" in str(result.exception)
