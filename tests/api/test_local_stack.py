"""The local system as a developer meets it: started, stopped, killed, disturbed; real processes throughout.

One system serves the whole file. A test that needs it running starts it again when an earlier one has stopped it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.local.hosted import prepare_hosted
from supabase_integrations.local.postgres import PostgresServer
from supabase_integrations.local.supabase_cli import push_migrations, run_advisors
from supabase_integrations.resources import migrations_dir
from tests.local_system import DevProcess, LocalSystem, is_alive

PASSWORD = "canary-password-of-a-local-user"
EMAIL = "keeper@example.com"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """A system of this file's own, which its tests may stop."""
    dev = DevProcess(tmp_path_factory.mktemp("stack") / "state")
    yield dev
    dev.stop()


@pytest.fixture
def running(dev: DevProcess) -> LocalSystem:
    """The system, started if it is not running."""
    if dev.process is None:
        return dev.start()
    return LocalSystem.read(dev.dev_json)


@pytest.fixture
def stopped(dev: DevProcess) -> DevProcess:
    """The system, stopped but started before: there is a state directory."""
    if dev.process is None and not dev.state_dir.exists():
        dev.start()
    dev.stop()
    return dev


def ended(pids: dict[str, int], seconds: float = 15) -> bool:
    """Whether all processes end within the time."""
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids.values()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def superuser_url(dev: DevProcess, database: str = "postgres") -> str:
    password = json.loads((dev.state_dir / "secrets.json").read_text())["superuser_password"]
    return f"postgresql://supabase_admin:{password}@127.0.0.1:{dev.ports['DB_PORT']}/{database}?sslmode=disable"


def integrations(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "supabase_integrations", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def sign_in(system: LocalSystem, kind: str = "token?grant_type=password") -> httpx.Response:
    return httpx.post(
        f"{system.supabase_url}/auth/v1/{kind}",
        json={"email": EMAIL, "password": PASSWORD},
        headers={"apikey": system.publishable_key},
    )


def test_a_ready_system_describes_itself_to_its_owner_only(running: LocalSystem) -> None:
    """dev.json has the keys that outside tools rely on, and nobody else can read it."""
    dev_json = running.state_dir / "dev.json"
    said = json.loads(dev_json.read_text())

    assert dev_json.stat().st_mode & 0o777 == 0o600
    assert set(said) >= {
        "api_url", "supabase_url", "publishable_key", "database_url", "jwt_secret", "demo_url", "pids",
    }  # fmt: skip
    assert set(said["pids"]) == {"dev", "postgres", "supabase", "demo_crm", "api"}
    assert all(is_alive(pid) for pid in said["pids"].values())
    assert httpx.get(f"{running.api_url}/healthz").status_code == 200


def test_the_secrets_of_a_system_are_readable_by_its_owner_only(running: LocalSystem) -> None:
    """The files that open the database and the credentials are private, and so are the logs."""
    private = [running.state_dir / "secrets.json", running.state_dir / "demo-crm.jsonl", *running.log_dir.glob("*.log")]

    assert {path.name: oct(path.stat().st_mode & 0o077) for path in private if path.name != "dev.log"} == {
        path.name: "0o0" for path in private if path.name != "dev.log"
    }


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

    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"apikey": "sb_secret_canary"}).status_code == 401
    assert httpx.get(url, headers={"apikey": running.publishable_key}).status_code == 401


def test_the_advisors_find_nothing_in_the_running_database(running: LocalSystem) -> None:
    """What the dashboard's own advisors say of our tables, at the level that people act upon."""
    findings = asyncio.run(run_advisors(running.database_url, level="warn"))

    assert [finding for finding in findings if "integration" in finding.detail] == []


def test_a_state_directory_belongs_to_one_running_system(running: LocalSystem, dev: DevProcess) -> None:
    """A second start says that the first is running, and where."""
    second = dev.run_to_its_end()

    assert second.returncode == 1
    assert "already running" in second.stderr
    assert running.api_url in second.stderr
    assert is_alive(running.pids["dev"])


@pytest.mark.parametrize("setting", ["PORT", "SUPABASE_PORT", "DB_PORT", "DEMO_PORT"])
def test_a_busy_port_is_named_with_its_setting(
    running: LocalSystem, dev: DevProcess, setting: str, tmp_path: Path
) -> None:
    """The message tells which port and which setting, and nothing is left of the attempt."""
    other = DevProcess(tmp_path / "state")

    attempt = other.run_to_its_end(**{setting: str(dev.ports[setting])})

    assert attempt.returncode == 1
    assert f"port {dev.ports[setting]} is already in use" in attempt.stderr
    assert f"with {setting}" in attempt.stderr
    assert not other.dev_json.exists()


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
    asyncio.run(push_migrations(database_url, own.parent))

    refused = integrations("migrate", "--database-url", database_url)
    copied = integrations("migrations", "copy", str(app))
    pushed = asyncio.run(push_migrations(database_url, own.parent))
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_system_leaves_no_process_and_keeps_its_data(
    running: LocalSystem, dev: DevProcess, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM end everything in order; who signed up before can sign in after the next start."""
    if number is signal.SIGINT:
        assert sign_in(running, "signup").status_code == 200
    else:
        assert sign_in(running).status_code == 200

    os.kill(running.pids["dev"], number)

    assert dev.process is not None
    assert dev.process.wait(20) == 0
    dev.process = None
    assert ended(running.pids, 0)
    assert not dev.dev_json.exists()


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(running: LocalSystem, dev: DevProcess) -> None:
    """kill -9 leaves dev.json behind, but nothing that runs; the next start is not put off by it."""
    os.kill(running.pids["dev"], signal.SIGKILL)
    assert dev.process is not None
    dev.process.wait(5)

    assert ended(running.pids)
    assert dev.dev_json.exists()
    dev.dev_json.unlink()
    assert sign_in(dev.start()).status_code == 200


def test_a_killed_parent_ends_the_system(stopped: DevProcess) -> None:
    """As `make dev` starts it: when make is killed, nothing stays."""
    script = f'"{sys.executable}" -m supabase_integrations dev --parent $$ & wait'
    parent = subprocess.Popen(
        ["sh", "-c", script],
        env=stopped.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not stopped.dev_json.exists():
        assert parent.poll() is None
        time.sleep(0.05)
    system = LocalSystem.read(stopped.dev_json)

    parent.kill()
    parent.wait()

    assert ended(system.pids)
    assert not stopped.dev_json.exists()


def test_a_child_that_dies_ends_the_system_and_is_named(running: LocalSystem, dev: DevProcess) -> None:
    """Half a system would mislead: the rest stops, and the message shows which process it was and its log."""
    os.kill(running.pids["supabase"], signal.SIGKILL)

    assert dev.process is not None
    assert dev.process.wait(20) == 1
    dev.process = None
    assert ended(running.pids, 0)
    assert "supabase ended by itself with status -9" in dev.log.read_text()


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


def test_grants_by_the_data_api_server_are_noticed(stopped: DevProcess) -> None:
    """Were it a member of the tables' owner, its GRANT ALL would succeed; the start tells what it opened."""
    asyncio.run(_alter(stopped, ("grant postgres to supabase_lite with inherit true",)))

    refused = stopped.run_to_its_end()

    assert refused.returncode == 1
    assert "relation public.integrations: anon may truncate" in refused.stderr
    assert "relation public.oauth_states: authenticated may update" in refused.stderr


def test_a_lock_file_of_another_programs_process_is_no_obstacle(stopped: DevProcess) -> None:
    """After a crash the recorded number may belong to anybody; here it is the test's own."""
    asyncio.run(_alter(stopped, ()))
    (stopped.state_dir / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    asyncio.run(_alter(stopped, ()))

    assert not (stopped.state_dir / "postgres" / "postmaster.pid").exists()


def test_reset_starts_over(stopped: DevProcess) -> None:
    """The user of the earlier tests is gone, and so are the old keys."""
    old_keys = (stopped.state_dir / "secrets.json").read_text()

    system = stopped.start(RESET="1")

    assert sign_in(system).status_code == 400
    assert (stopped.state_dir / "secrets.json").read_text() != old_keys


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
