"""The `integrations` command as an operator runs it, against the running system."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests import canaries
from tests.local_system import LocalSystem, free_ports

Environment = Mapping[str, str]


@pytest.fixture
def environment(local_system: LocalSystem, local_environment: Environment) -> Environment:
    """What an operator would set for this system."""
    names = ("PATH", "HOME", "LANG")
    return {
        **{name: os.environ[name] for name in names if name in os.environ},
        **local_environment,
        "ENVIRONMENT": "development",
        "SUPABASE_URL": local_system.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": local_system.publishable_key,
        "APP_URL": local_system.api_url,
        "DATABASE_URL": local_system.database_url,
        "COLUMNS": "120",
    }


def run(*arguments: str, environment: Environment, **changes: str | None) -> "subprocess.CompletedProcess[str]":
    changed = {**environment, **changes}
    given = {name: value for name, value in changed.items() if value is not None}
    command = [sys.executable, "-m", "supabase_integrations", *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=240, check=False)


def test_a_generated_key_is_64_hex_digits(environment: Environment) -> None:
    first, second = (run("generate-key", environment=environment).stdout.strip() for _ in range(2))
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert first != second


def test_services_says_what_is_missing_and_what_to_register(environment: Environment) -> None:
    told = run("services", environment=environment)
    assert told.returncode == 0
    assert "GOOGLE_CLIENT_ID" in told.stdout
    assert "HUBSPOT_CLIENT_ID" not in told.stdout
    assert f"{environment['APP_URL']}/api/integrations/oauth/callback\n" in told.stdout
    assert canaries.CLIENT_SECRET not in told.stdout


def test_doctor_finds_a_system_that_works_healthy(environment: Environment) -> None:
    told = run("doctor", environment=environment)
    assert told.returncode == 0, told.stdout + told.stderr
    checks = [line.split()[:2] for line in told.stdout.splitlines()]
    assert checks == [["ok", name] for name in ("settings", "keys", "services", "migrations", "database", "auth")]
    assert canaries.ENCRYPTION_KEY not in told.stdout


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ENCRYPTION_KEY": None}, "integrations generate-key"),
        ({"SUPABASE_URL": "http://127.0.0.1:1"}, "SUPABASE_URL"),
        ({"DATABASE_URL": "postgresql://x:canary-password-4e6d@127.0.0.1:1/x"}, "fail migrations"),
        ({"PROVIDERS_FILE": "nowhere.toml"}, "PROVIDERS_FILE nowhere.toml"),
    ],
)
def test_doctor_says_what_to_do(environment: Environment, changes: dict[str, str | None], told: str) -> None:
    ill = run("doctor", environment=environment, **changes)
    assert ill.returncode == 1
    assert told in ill.stdout
    assert canaries.PASSWORD not in ill.stdout + ill.stderr
    assert "Traceback" not in ill.stderr


def test_doctor_lists_what_is_missing_line_by_line_below_each_other(environment: Environment) -> None:
    told = run("doctor", environment=environment, ENCRYPTION_KEY=None, APP_URL=None).stdout.splitlines()
    assert [line[18:].partition(" ")[0] for line in told] == ["ENCRYPTION_KEY", "APP_URL"]
    assert [line[:18].split() for line in told] == [["fail", "settings"], []]


@pytest.mark.parametrize("command", ["migrate", "doctor", "audit"])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://postgres:canary#pa/ss@127.0.0.1:1/x", "Percent-encode the password"),
        ("postgresql://postgres:can%ary@127.0.0.1:1/x", "Percent-encode the password"),
        ("postgresql://postgres:canary@ary@127.0.0.1:1/x", "Percent-encode the password"),
        ("postgresql://postgres:canary@127.0.0.1:1/x?sslmode=canary", "127.0.0.1:1/x cannot be reached"),
        ("postgresql://postgres:canary%23ary@127.0.0.1:1/x", "127.0.0.1:1/x cannot be reached"),
    ],
)
def test_no_command_repeats_the_password_of_a_database(
    environment: Environment, command: str, url: str, told: str
) -> None:
    refused = run(command, environment=environment, DATABASE_URL=url)
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert told in said
    assert "Traceback" not in said
    assert not [part for part in ("canary", "can%ary", "pa/ss") if part in said]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ENCRYPTION_KEY": None}, "integrations generate-key"),
        ({"ENCRYPTION_KEY": "canary"}, "integrations generate-key"),
        ({"ENVIRONMENT": None, "SUPABASE_JWT_SECRET": "canary-jwt-secret"}, "SUPABASE_JWT_SECRET"),
        ({"ENVIRONMENT": None, "SUPABASE_SERVICE_ROLE_KEY": "canary"}, "SUPABASE_SERVICE_ROLE_KEY"),
        ({"SUPABASE_PUBLISHABLE_KEY": "sb_secret_canary"}, "SUPABASE_PUBLISHABLE_KEY"),
        ({"APP_URL": None}, "APP_URL"),
        ({"PROXY_ALLOW": "hubspot"}, "PROXY_ALLOW"),
        ({"STATE_DIR": "/dev/null"}, "STATE_DIR: /dev/null/journal cannot be used (Not a directory)"),
    ],
)
def test_serve_refuses_to_start_and_says_why(
    environment: Environment, changes: dict[str, str | None], told: str
) -> None:
    refused = run("serve", environment=environment, **changes)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert "canary" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_serve_names_a_port_that_is_taken(environment: Environment) -> None:
    port = environment["APP_URL"].rpartition(":")[2]
    refused = run("serve", environment=environment, PORT=port)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Cannot listen on 127.0.0.1, port {port} (Address already in use): end what uses it, or set HOST and PORT.\n"
    )


@pytest.mark.parametrize("arguments", [["audit"], ["migrate"], ["explain", str(uuid4())]], ids=lambda words: words[0])
def test_a_login_that_may_not_read_the_tables_is_told_which_one_may(
    environment: Environment, local_system: LocalSystem, arguments: list[str]
) -> None:
    refused = run(*arguments, environment=environment, DATABASE_URL=local_system.worker_database_url)
    assert refused.returncode == 1
    assert "connect as the role that pushed the migrations" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_serve_says_where_it_listens(environment: Environment, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = {**environment, "PORT": str(port), "STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "supabase_integrations", "serve"]
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        line = json.loads(serving.stdout.readline())
        serving.terminate()
    assert (line["event"], line["host"], line["port"]) == ("serve.listening", "127.0.0.1", port)
    assert line["app_url"] == environment["APP_URL"]


def test_the_audits_pass_on_the_running_system(environment: Environment) -> None:
    audited = run("audit", environment=environment)
    assert audited.returncode == 0, audited.stdout


async def test_an_audit_names_its_objects_unbroken_in_a_narrow_pipe(
    environment: Environment, local_system: LocalSystem
) -> None:
    view = "public.a_view_that_somebody_gave_a_name_longer_than_any_column"
    async with await psycopg.AsyncConnection.connect(local_system.database_url, autocommit=True) as connection:
        await connection.execute(f"create view {view} as table public.integrations".encode())
        audited = run("audit", environment=environment, COLUMNS="40")
        await connection.execute(f"drop view {view}".encode())
    assert audited.returncode == 1
    assert f"ERROR {view} (views_past_rls)\n" in audited.stdout
    assert f"  alter view {view} set (security_invoker = true);\n" in audited.stdout


def test_migrating_again_changes_nothing(environment: Environment) -> None:
    again = run("migrate", environment=environment)
    assert again.returncode == 0, again.stderr
    assert "already" in again.stdout
    password = environment["DATABASE_URL"].partition(":")[2].partition("@")[0].rpartition(":")[2]
    assert password not in again.stdout + again.stderr
