"""The worker as it logs in, once the operator's script has let it: what it tries to become, and still cannot read."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final, LiteralString
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from supabase_integrations.local.postgres_programs import EVERYWHERE, PostgresPrograms
from supabase_integrations.resources import migrations_dir
from tests.database.acts import OWNER, STRANGER, Actor, connect_service, refused
from tests.database.cluster import Cluster

SCRIPT: Final = migrations_dir().parent.parent / "sql" / "operations" / "worker_login.sql"

ROLE: LiteralString = """
    select rolcanlogin, rolconnlimit, rolconfig, rolbypassrls, rolsuper, rolcreaterole, rolinherit
    from pg_roles where rolname = 'integrations_worker'
"""


@pytest.fixture
async def password(cluster: Cluster, database: str) -> AsyncIterator[str]:
    """The operator ran the script with psql and typed this; roles are the server's, so it is undone."""
    password = secrets.token_urlsafe(16)
    await run_script(cluster.migrating_url(database), typed=password)
    yield password
    for statement in (
        "alter role integrations_worker nologin password null connection limit -1",
        "alter role integrations_worker reset all",
    ):
        await cluster.maintenance.execute(statement.encode())


@pytest.fixture
async def login(cluster: Cluster, database: str, password: str) -> AsyncIterator[Actor]:
    """The worker on a connection that was never anybody else's."""
    parts = urlsplit(cluster.url(database))
    netloc = f"integrations_worker:{quote(password, safe='')}@{parts.hostname}:{parts.port}"
    login = Actor(parts._replace(netloc=netloc).geturl(), "none")
    yield login
    for connection in login.opened:
        await connection.close()


@pytest.fixture
async def rows(owner: Actor, stranger: Actor) -> None:
    """One connection each."""
    await connect_service(owner, display_name="the owner's")
    await connect_service(stranger, display_name="the stranger's")


async def run_script(url: str, *, typed: str) -> None:
    """Run the script with the real psql; in a session without a terminal it reads the password from its input."""
    programs = PostgresPrograms.find()
    process = await asyncio.create_subprocess_exec(
        programs.folder / "psql", url, "--no-psqlrc", "--file", SCRIPT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        cwd=EVERYWHERE, env=programs.environment, start_new_session=True,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(f"{typed}\n{typed}\n".encode()), 30)
    assert process.returncode == 0, err.decode()
    assert typed not in (out + err).decode()


async def test_the_script_gives_a_login_and_nothing_else(cluster: Cluster, password: str, operator: Actor) -> None:
    assert await operator.row(ROLE) == {
        "rolcanlogin": True,
        "rolconnlimit": 20,
        "rolconfig": ["statement_timeout=30s", "idle_in_transaction_session_timeout=30s"],
        "rolbypassrls": False,
        "rolsuper": False,
        "rolcreaterole": False,
        "rolinherit": False,
    }
    cursor = await cluster.maintenance.execute(
        "select rolpassword from pg_authid where rolname = 'integrations_worker'"
    )
    (stored,) = await cursor.fetchone() or ("",)
    assert str(stored).startswith("SCRAM-SHA-256$")


async def test_another_password_is_refused(login: Actor, password: str) -> None:
    assert await login.value("select session_user") == "integrations_worker"
    wrong = replace(login, url=login.url.replace(quote(password, safe=""), "wrong"), _connection=None)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await wrong.connection()


@pytest.mark.usefixtures("rows")
async def test_it_reaches_rows_of_users_it_declares_alone(login: Actor) -> None:
    assert await login.run("select id from public.integrations") == []
    (row,) = await login.acting(OWNER).run("select * from public.integrations")
    assert row["user_id"] == OWNER


@pytest.mark.parametrize(
    "attempt",
    [
        "set role postgres",
        "set role service_role",
        "set role authenticated",
        "set role supabase_admin",
        "set session authorization postgres",
        "set session_replication_role = replica",
        "alter role integrations_worker bypassrls",
        "grant service_role to integrations_worker",
        "alter table public.integrations disable row level security",
        "alter table public.integrations disable trigger guard_integration_update",
        "alter function integrations_private.acting_for() volatile",
        'create policy "Mine" on public.integrations for select to integrations_worker using (true)',
        "create function public.mine() returns int language sql return 1",
        "create function integrations_private.mine() returns int language sql return 1",
        "grant select on public.integrations to anon",
        "set row_security = off; select id from public.integrations",
        "copy public.integrations to program 'true'",
        "lock table public.integrations in access exclusive mode",
        "truncate public.integrations",
        "select rolpassword from pg_catalog.pg_authid",
        "select pg_catalog.pg_read_file('/etc/hostname')",
    ],
)
@pytest.mark.usefixtures("rows")
async def test_it_cannot_give_itself_more(login: Actor, operator: Actor, attempt: str) -> None:
    with refused("42501"):
        await login.run(sql.SQL(attempt))
    assert await operator.value("select count(*) from public.integrations") == 2


@pytest.mark.usefixtures("rows")
async def test_a_function_of_its_own_is_shown_no_row_that_it_may_not_see(login: Actor) -> None:
    """A condition that costs nothing and tells what it is given runs after the policy all the same."""
    told: list[str] = []
    connection = await login.connection()
    connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    await connection.execute(
        "create function pg_temp.told(value text) returns boolean language plpgsql cost 0.0000001 as"
        " $$ begin raise notice '%', value; return true; end $$"
    )
    ask: LiteralString = "select id from public.integrations where pg_temp.told(display_name)"
    assert await login.run(ask) == []
    assert told == []
    assert len(await login.acting(STRANGER).run(ask)) == 1
    assert told == ["the stranger's"]
