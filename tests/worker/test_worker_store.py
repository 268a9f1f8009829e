"""The worker's door against a real Postgres: what it sees, what it may not do, and what a statement leaves behind."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from supabase_integrations.adapters.worker_pool import NOBODY, WorkerPool, declaration, open_worker_pool
from supabase_integrations.adapters.worker_store import PostgresWorkerDatabase
from supabase_integrations.core.errors import (
    ConfigurationError,
    ForbiddenError,
    IntegrationBusyError,
    IntegrationNotFoundError,
    QuotaExceededError,
    SchemaMissingError,
    StoreUnavailableError,
)
from supabase_integrations.core.models import CredentialReplacement, IntegrationStatus, RefreshFailure
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.hosted import set_password
from tests.worker.wire import a_wire_to
from tests.worker.world import ROLE, World

REPLACEMENT = CredentialReplacement(
    envelope="v1.5ea1ed00." + "canary-credentials_" * 4, scopes=("a", "b"), expires_at=None, next_refresh_at=None
)


@pytest.fixture
async def pool(world: World) -> AsyncIterator[WorkerPool]:
    """One connection, so that every statement follows the others on it."""
    async with open_worker_pool(world.worker_database, connections=1) as opened:
        yield opened


@pytest.fixture
def worker(pool: WorkerPool) -> PostgresWorkerDatabase:
    """The tables as the worker reaches them."""
    return PostgresWorkerDatabase(pool)


async def test_a_row_is_found_under_its_owner_and_under_nobody_else(
    world: World, worker: PostgresWorkerDatabase
) -> None:
    mine, theirs = await world.connect(2)

    assert (await worker.for_user(mine.user_id).get_sealed(mine.id)).integration.ref == mine
    for user_id, integration_id in ((theirs.user_id, mine.id), (mine.user_id, theirs.id), (uuid4(), mine.id)):
        with pytest.raises(IntegrationNotFoundError):
            await worker.for_user(user_id).get_sealed(integration_id)
        with pytest.raises(IntegrationNotFoundError):
            await worker.for_user(user_id).take_lease(integration_id, uuid4())


async def test_policies_hide_undeclared_rows_whatever_a_statement_asks_for(world: World, pool: WorkerPool) -> None:
    """A forgotten filter, or a mistaken one, reaches the declared user's rows only."""
    mine, _ = await world.connect(2)
    everything = "select to_json(id) from public.integrations"

    assert await pool.values(NOBODY, everything) == []
    assert await pool.values(declaration([mine.user_id]), everything) == [str(mine.id)]
    assert await pool.values(declaration([mine.user_id]), "update public.integrations set scopes = '{x}'") == []
    changed = await world.fate.database.execute("select id from public.integrations where scopes = '{x}'")
    assert [row["id"] for row in await changed.fetchall()] == [mine.id]


async def test_a_declaration_ends_with_its_statement(world: World, pool: WorkerPool) -> None:
    """Asked of the server itself, on the same connection, past the pool's own way of sending."""
    (mine,) = await world.connect(1)
    await pool.values(declaration([mine.user_id]), "select 1")

    line = await pool._connections.take()
    cursor = await line.connection.execute(
        "select coalesce(current_setting('integrations.acting_for', true), ''),"
        " (select count(*) from public.integrations)"
    )
    assert await cursor.fetchall() == [("", 0)]
    await pool._connections.give_back(line)


async def test_a_declaration_ends_with_a_statement_that_fails_and_with_one_that_is_cancelled(
    world: World, pool: WorkerPool
) -> None:
    (mine,) = await world.connect(1)
    declared = declaration([mine.user_id])
    with pytest.raises(ForbiddenError):
        await pool.values(declared, "delete from public.integrations")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await pool.values(declared, "select pg_sleep(20)")

    assert await pool.values(NOBODY, "select to_json(id) from public.integrations") == []


async def test_a_transaction_keeps_its_declaration_to_its_end(world: World, pool: WorkerPool) -> None:
    mine, _ = await world.connect(2)
    everything = "select to_json(id) from public.integrations"

    async with pool.transaction(declaration([mine.user_id])) as transaction:
        assert await transaction.values(everything) == [str(mine.id)]
        assert await transaction.values(everything) == [str(mine.id)]
    assert await pool.values(NOBODY, everything) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "insert into public.integrations (service_name, service_type) values ('meta', 'crm')",
        "delete from public.integrations",
        "truncate public.integrations",
        "update public.integrations set user_id = gen_random_uuid()",
        "update public.integrations set external_account_id = 'mine'",
        "update public.integrations set config = '{}'",
        "update public.integrations set display_name = 'x'",
        "update public.integrations set credential_version = 9",
        "select to_json(flow) from public.oauth_states",
        "select to_json(id) from public.integration_events",
        "select to_json(id) from auth.users",
        "select set_config('role', 'authenticated', true)",
        "set role postgres",
        "alter table public.integrations disable row level security",
    ],
)
async def test_the_worker_is_refused_what_is_not_its_business(world: World, pool: WorkerPool, attempt: str) -> None:
    (mine,) = await world.connect(1)

    with pytest.raises((ForbiddenError, SchemaMissingError)):
        await pool.values(declaration([mine.user_id]), attempt)


async def test_more_than_five_hundred_users_at_once_are_refused(world: World, pool: WorkerPool) -> None:
    await world.connect(1)
    with pytest.raises(QuotaExceededError):
        await pool.values(declaration(uuid4() for _ in range(501)), "select to_json(id) from public.integrations")


async def test_a_read_is_one_message_and_writes_nothing(world: World) -> None:
    (mine,) = await world.connect(1)
    state = "select xmin, ctid, updated_at from public.integrations where id = %s"
    before = await (await world.fate.database.execute(state, [mine.id])).fetchone()
    port = int(world.url().rpartition(":")[2].split("/")[0])
    async with (
        a_wire_to(port) as wire,
        open_worker_pool(DatabaseUrl.parse(world.url(port=wire.port)), connections=1) as pool,
    ):
        store = PostgresWorkerDatabase(pool).for_user(mine.user_id)
        await store.get_sealed(mine.id)
        wire.sent.clear()
        for _ in range(10):
            await store.get_sealed(mine.id)
        assert wire.sent == {"Q": 10}
    after = await (await world.fate.database.execute(state, [mine.id])).fetchone()
    assert after == before


async def test_the_lease_has_one_holder_who_alone_may_write(world: World, worker: PostgresWorkerDatabase) -> None:
    (ref,) = await world.connect(1)
    store, owner = worker.for_user(ref.user_id), uuid4()
    leased = await store.take_lease(ref.id, owner)
    version = leased.integration.credential_version

    with pytest.raises(IntegrationBusyError):
        await store.take_lease(ref.id, uuid4())
    with pytest.raises(IntegrationBusyError):
        await store.replace_credentials(ref.id, REPLACEMENT, lease_owner=uuid4(), seen_version=version)
    with pytest.raises(IntegrationBusyError):
        await store.replace_credentials(ref.id, REPLACEMENT, lease_owner=owner, seen_version=version + 1)
    failure = RefreshFailure(IntegrationStatus.ERROR, "invalid_client", None, 1)
    await store.record_failure(ref.id, failure, lease_owner=uuid4(), seen_version=version)
    await store.reschedule(ref.id, None, lease_owner=uuid4())
    await store.release_lease(ref.id, uuid4())
    assert (await store.get_sealed(ref.id)) == leased

    written = await store.replace_credentials(ref.id, REPLACEMENT, lease_owner=owner, seen_version=version)

    assert (written.credential_version, written.refresh_lease_owner) == (version + 1, None)
    assert written.scopes == ("a", "b")
    assert written.last_refreshed_at is not None


async def test_name_and_settings_stay_their_users(world: World, worker: PostgresWorkerDatabase) -> None:
    (ref,) = await world.connect(1)
    store, owner = worker.for_user(ref.user_id), uuid4()
    await store.take_lease(ref.id, owner)
    for changed in (replace(REPLACEMENT, display_name="x"), replace(REPLACEMENT, config={"shop": "x"})):
        with pytest.raises(ForbiddenError):
            await store.replace_credentials(ref.id, changed, lease_owner=owner, seen_version=1)


@pytest.mark.parametrize("stays", [IntegrationStatus.ERROR, None], ids=["operator", "passing"])
async def test_a_pause_outlasts_a_failure_that_ends_without_its_user(
    world: World, worker: PostgresWorkerDatabase, stays: IntegrationStatus | None
) -> None:
    """Otherwise the worker, which goes on with it once the operator has mended it, would end the pause."""
    paused, active = await world.connect(2)
    for ref in (paused, active):
        store, owner = worker.for_user(ref.user_id), uuid4()
        await store.take_lease(ref.id, owner)
        if ref == paused:
            await world.fate.database.execute(
                "update public.integrations set status = 'inactive' where id = %s", [ref.id]
            )
        failure = RefreshFailure(stays, "invalid_client", None, 2)
        await store.record_failure(ref.id, failure, lease_owner=uuid4(), seen_version=1)
        assert (await store.get_sealed(ref.id)).integration.refresh_lease_owner == owner
        await store.record_failure(ref.id, failure, lease_owner=owner, seen_version=1)
        row = (await store.get_sealed(ref.id)).integration
        expected = IntegrationStatus.INACTIVE if ref == paused else stays or IntegrationStatus.ACTIVE
        assert (row.status, row.last_error_code, row.refresh_failures) == (expected, "invalid_client", 2)
        assert row.refresh_lease_owner is None


async def test_a_failure_and_a_new_date_are_written_with_the_end_of_the_lease(
    world: World, worker: PostgresWorkerDatabase
) -> None:
    (ref,) = await world.connect(1)
    store, owner = worker.for_user(ref.user_id), uuid4()
    later = datetime.now(UTC) + timedelta(hours=2)

    await store.take_lease(ref.id, owner)
    failure = RefreshFailure(IntegrationStatus.NEEDS_REAUTHORIZATION, "invalid_grant", None, 3)
    await store.record_failure(ref.id, failure, lease_owner=owner, seen_version=1)
    row = (await store.get_sealed(ref.id)).integration
    assert (row.status, row.last_error_code) == (IntegrationStatus.NEEDS_REAUTHORIZATION, "invalid_grant")
    assert (row.refresh_failures, row.next_refresh_at, row.refresh_lease_owner) == (3, None, None)

    await store.take_lease(ref.id, owner)
    await store.reschedule(ref.id, later, lease_owner=owner)
    row = (await store.get_sealed(ref.id)).integration
    assert (row.next_refresh_at, row.refresh_lease_owner) == (later, None)


async def test_claimed_rows_are_leased_and_read_together(world: World, worker: PostgresWorkerDatabase) -> None:
    refs = set(await world.connect(3, each=2))
    owner = uuid4()

    first = await worker.claim_due(4, owner, ())
    rest = await worker.claim_due(4, uuid4(), [first[0].user_id] * 2)

    assert {*first, *rest} == refs
    assert (len(first), len(rest)) == (4, 2)
    await world.fate.database.execute("delete from public.integrations where id = %s", [first[0].id])
    rows = await worker.get_many_sealed(first)
    assert {row.integration.ref for row in rows} == set(first[1:])
    assert {row.integration.refresh_lease_owner for row in rows} == {owner}
    assert await worker.get_many_sealed(()) == ()


async def test_a_read_survives_the_end_of_every_connection(world: World) -> None:
    (ref,) = await world.connect(1)
    async with open_worker_pool(world.worker_database, connections=3) as pool:
        store = PostgresWorkerDatabase(pool).for_user(ref.user_id)
        await asyncio.gather(*(store.get_sealed(ref.id) for _ in range(30)))
        await world.fate.database.execute(
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = %s and datname = %s",
            [ROLE, world.database],
        )

        found = await asyncio.gather(*(store.get_sealed(ref.id) for _ in range(10)))

    assert {row.integration.ref for row in found} == {ref}


async def test_a_name_in_any_script_is_read_whatever_the_servers_default_is(world: World) -> None:
    """A claim reads many users' rows at once: one that could not be sent would take all the others with it."""
    named, other = await world.connect(2)
    await world.fate.database.execute(
        "update public.integrations set display_name = '\U0001f642 \u0416' where id = %s", [named.id]
    )
    await world.fate.database.execute(
        sql.SQL("alter role {} in database {} set client_encoding = 'LATIN1'").format(
            sql.Identifier(ROLE), sql.Identifier(world.database)
        )
    )
    async with open_worker_pool(world.worker_database) as pool:
        rows = await PostgresWorkerDatabase(pool).get_many_sealed([named, other])
    assert {row.integration.display_name for row in rows} == {"\U0001f642 \u0416", None}


async def test_a_role_that_is_not_the_workers_is_refused(world: World) -> None:
    for url in (
        world.cluster.url(world.database),
        world.url(user="postgres", password=world.cluster.migrating_password),
    ):
        with pytest.raises(ConfigurationError, match=r"must log in as integrations_worker"):
            async with open_worker_pool(DatabaseUrl.parse(url)):
                pytest.fail("a pool was opened")


@pytest.mark.parametrize(
    ("give", "take"),
    [
        ("alter role integrations_worker bypassrls", "alter role integrations_worker nobypassrls"),
        ("alter role integrations_worker superuser", "alter role integrations_worker nosuperuser"),
        ("grant service_role to integrations_worker", "revoke service_role from integrations_worker"),
    ],
)
async def test_a_worker_that_was_given_more_is_refused(world: World, give: str, take: str) -> None:
    await world.fate.database.execute(give.encode())
    try:
        with pytest.raises(ConfigurationError, match="may do more than the worker must"):
            async with open_worker_pool(world.worker_database):
                pytest.fail("a pool was opened")
    finally:
        await world.fate.database.execute(take.encode())


async def test_a_database_without_our_tables_says_so(world: World) -> None:
    url = world.url().replace(world.database, "postgres")
    with pytest.raises(SchemaMissingError):
        async with open_worker_pool(DatabaseUrl.parse(url)):
            pytest.fail("a pool was opened")


async def test_a_refused_password_is_not_repeated(world: World) -> None:
    wrong = SecretStr("canary-wrong-password-17")
    with pytest.raises(StoreUnavailableError, match=r"authentication failed.*worker_login\.sql") as refusal:
        async with open_worker_pool(DatabaseUrl.parse(world.url(password=wrong))):
            pytest.fail("a pool was opened")
    assert wrong.get_secret_value() not in repr(refusal.value)
    assert refusal.value.__cause__ is None


async def test_a_password_that_is_accepted_late_is_waited_for(world: World) -> None:
    """Supabase's pooler remembers the old one for a while after a change."""
    (ref,) = await world.connect(1)
    new = SecretStr(secrets.token_urlsafe(16))
    told: list[str] = []
    database = DatabaseUrl.parse(world.url(password=new))

    async def change(password: SecretStr) -> None:
        async with await psycopg.AsyncConnection.connect(world.cluster.url("postgres"), autocommit=True) as connection:
            await set_password(connection, ROLE, password)

    async def open_and_read() -> None:
        async with open_worker_pool(database, patience=timedelta(seconds=60), on_wait=told.append) as pool:
            await PostgresWorkerDatabase(pool).for_user(ref.user_id).get_sealed(ref.id)

    opening = asyncio.create_task(open_and_read())
    try:
        async with asyncio.timeout(60):
            while not told:  # noqa: ASYNC110 - it tells by calling
                await asyncio.sleep(0.05)
        await change(new)
        await opening
    finally:
        await change(world.worker_password)
