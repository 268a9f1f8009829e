"""What the local system guarantees about its database, and what it says when that does not hold."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.hosted import prepare_hosted
from supabase_integrations.local.postgres import PostgresServer
from supabase_integrations.local.supabase_cli import push_migrations, run_advisors
from supabase_integrations.resources import migrations_dir
from tests.api.local_stack.keeper import sign_in, sign_up
from tests.local_system import DevProcess, LocalSystem

_LOOSEN = (
    "grant select on public.integrations to anon",
    "alter table public.oauth_states disable row level security",
    "create policy anyone on public.integrations for select to anon using (true)",
    "alter role authenticated bypassrls",
)
_TIGHTEN = (
    "revoke select on public.integrations from anon",
    "alter table public.oauth_states enable row level security",
    "drop policy anyone on public.integrations",
    "alter role authenticated nobypassrls",
)


def superuser_url(dev: DevProcess, database: str = "postgres") -> str:
    password = json.loads((dev.state_dir / "secrets.json").read_text())["superuser_password"]
    return f"postgresql://supabase_admin:{password}@127.0.0.1:{dev.ports['DB_PORT']}/{database}?sslmode=disable"


def integrations(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "supabase_integrations", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_the_migrating_role_is_hosted_like(running: LocalSystem) -> None:
    """Migrations that work here must not need more than a hosted project gives them."""
    with psycopg.connect(running.database_url) as connection:
        role = connection.execute(
            "select rolname, rolsuper, rolcreaterole, rolbypassrls from pg_roles where rolname = current_user"
        ).fetchone()

        assert role == ("postgres", False, True, True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("grant authenticated to integrations_worker")


def test_no_secret_key_opens_the_data_api(running: LocalSystem) -> None:
    """Nobody acts as service_role: neither without a key nor with a token that claims it under another secret."""
    url = f"{running.supabase_url}/rest/v1/integrations?select=id"

    assert httpx.get(url, timeout=60).status_code == 401
    assert httpx.get(url, headers={"apikey": "sb_secret_canary"}, timeout=60).status_code == 401
    assert httpx.get(url, headers={"apikey": running.publishable_key}, timeout=60).status_code == 401


def test_the_advisors_find_nothing_in_the_running_database(running: LocalSystem) -> None:
    """What the dashboard's own advisors say of our tables, at the level that people act upon."""
    findings = asyncio.run(run_advisors(DatabaseUrl.parse(running.database_url), level="warn"))

    assert [finding for finding in findings if "integration" in finding.detail] == []


def test_foreign_migration_history_is_refused_and_the_way_out_works(
    running: LocalSystem, dev: DevProcess, tmp_path: Path
) -> None:
    """`migrate` leaves another app's history alone; after `migrations copy` that app's own push applies ours."""
    app = tmp_path / "app"
    own = app / "supabase" / "migrations" / "20250101000000_their_own.sql"
    own.parent.mkdir(parents=True)
    own.write_text("create table public.their_own (id uuid primary key);")
    asyncio.run(_create_hosted_project(dev, "foreign_app"))
    login = urlsplit(running.database_url).netloc
    database_url = f"postgresql://{login}/foreign_app?sslmode=disable"
    asyncio.run(push_migrations(DatabaseUrl.parse(database_url), own.parent))

    refused = integrations("migrate", "--database-url", database_url)
    copied = integrations("migrations", "copy", str(app))
    pushed = asyncio.run(push_migrations(DatabaseUrl.parse(database_url), own.parent))
    again = integrations("migrations", "copy", str(app))

    assert refused.returncode == 1
    assert "integrations migrations copy" in refused.stderr
    assert login.split(":")[1].split("@")[0] not in refused.stderr + refused.stdout
    assert copied.returncode == 0
    assert "supabase db push" in copied.stdout
    assert len(pushed) == len(list(migrations_dir().glob("*.sql")))
    assert min(pushed) > own.name
    assert "already" in again.stdout


def test_migrate_changes_nothing_the_second_time(running: LocalSystem) -> None:
    """The database of the running system has every migration."""
    answer = integrations("migrate", "--database-url", running.database_url)

    assert answer.returncode == 0
    assert "every migration already" in answer.stdout
    assert str(urlsplit(running.database_url).password) not in answer.stdout


def test_a_loosened_database_is_refused(stopped: DevProcess) -> None:
    """Grants, row security, policies, triggers and roles that are not the migrations' are each named."""
    asyncio.run(_alter(stopped, _LOOSEN))

    refused = stopped.run_to_its_end()

    asyncio.run(_alter(stopped, _TIGHTEN))
    assert refused.returncode == 1
    assert not stopped.dev_json.exists()
    assert "a visitor asking for integrations gets 200" in refused.stderr
    assert "relation public.integrations: anon may select" in refused.stderr
    assert "relation public.oauth_states: has row security off" in refused.stderr
    assert "has the permissive policy anyone" in refused.stderr
    assert "role authenticated: bypasses row security" in refused.stderr
    assert "RESET=1" in refused.stderr


@pytest.mark.parametrize(
    ("loosen", "tighten", "told"),
    [
        (
            "grant select on public.integrations to anon",
            "revoke select on public.integrations from anon",
            "Strangers may read public.integrations!",
        ),
        (
            # Nothing that a stranger's request would show.
            "create view public.every_row as select id from public.integrations",
            "drop view public.every_row",
            "ERROR public.every_row: It reads our tables with its owner's rights",
        ),
    ],
)
def test_a_loosened_supabase_of_ones_own_is_refused(
    running: LocalSystem, tmp_path: Path, loosen: str, tighten: str, told: str
) -> None:
    """Be it Docker's or hosted: what is wrong is told, and Ready is not."""
    second = DevProcess(tmp_path / "state")
    own = {
        "SUPABASE_URL": running.supabase_url,
        "SUPABASE_ANON_KEY": running.publishable_key,
        "DATABASE_URL": running.database_url,
    }
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(loosen.encode())
        refused = second.run_to_its_end(**own)
        connection.execute(tighten.encode())

    assert refused.returncode == 1
    assert told in refused.stderr
    assert "Ready" not in refused.stdout
    assert not second.dev_json.exists()


def test_a_supabase_of_ones_own_that_protects_our_tables_is_used(running: LocalSystem, tmp_path: Path) -> None:
    """Only the demo service, the API and, where its role has a login, the worker are started beside it."""
    second = DevProcess(tmp_path / "state")

    system = second.start(
        SUPABASE_URL=running.supabase_url,
        SUPABASE_PUBLISHABLE_KEY=running.publishable_key,
        DATABASE_URL=running.database_url,
        WORKER_DATABASE_URL=running.worker_database_url,
    )
    second.stop()

    assert set(system.pids) == {"dev", "demo_crm", "api", "worker"}
    assert system.supabase_url == running.supabase_url


def test_a_lock_file_of_another_programs_process_is_no_obstacle(stopped: DevProcess) -> None:
    """After a crash the recorded number may belong to anybody; here it is the test's own."""
    asyncio.run(_alter(stopped, ()))
    (stopped.state_dir / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    asyncio.run(_alter(stopped, ()))

    assert not (stopped.state_dir / "postgres" / "postmaster.pid").exists()


def test_grants_by_the_data_api_server_are_noticed_and_a_reset_repairs_them(
    running: LocalSystem, dev: DevProcess
) -> None:
    """Were it a member of the tables' owner, its GRANT ALL would succeed; RESET=1 starts over, without users."""
    assert sign_up(running).status_code == 200
    dev.stop()
    old_keys = (dev.state_dir / "secrets.json").read_text()
    asyncio.run(_alter(dev, ("grant postgres to supabase_lite with inherit true",)))

    refused = dev.run_to_its_end()
    repaired = dev.start(RESET="1")

    assert refused.returncode == 1
    assert "relation public.integrations: anon may truncate" in refused.stderr
    assert "relation public.oauth_states: authenticated may update" in refused.stderr
    assert sign_in(repaired).status_code == 400
    assert (dev.state_dir / "secrets.json").read_text() != old_keys


async def _alter(dev: DevProcess, statements: tuple[str, ...]) -> None:
    secrets = json.loads((dev.state_dir / "secrets.json").read_text())
    server = PostgresServer(
        data_dir=dev.state_dir / "postgres",
        port=dev.ports["DB_PORT"],
        superuser_password=SecretStr(secrets["superuser_password"]),
    )
    async with server.running() as postgres, await psycopg.AsyncConnection.connect(postgres.url()) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def _create_hosted_project(dev: DevProcess, database: str) -> None:
    secrets = json.loads((dev.state_dir / "secrets.json").read_text())
    async with await psycopg.AsyncConnection.connect(superuser_url(dev), autocommit=True) as connection:
        await connection.execute(f"create database {database}".encode())
    await prepare_hosted(
        superuser_url(dev, database),
        migrating_password=SecretStr(secrets["migrating_password"]),
        auth_schema=True,
    )
