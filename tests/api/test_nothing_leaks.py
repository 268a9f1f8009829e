"""After everything else has run: none of the secrets that were used stands in the database or in any log."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests import canaries
from tests.local_system import LocalSystem
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService

pytestmark = pytest.mark.last


async def dump(database_url: str) -> Iterator[str]:
    """Every row of every table of ours, as text."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        tables = await connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_type = 'BASE TABLE' and table_schema in ('public', 'integrations_private')"
        )
        rows = [
            str(row)
            for schema, table in await tables.fetchall()
            for row in await (
                await connection.execute(sql.SQL("select t::text from {} as t").format(sql.Identifier(schema, table)))
            ).fetchall()
        ]
    return iter(rows)


def forms(secret: str) -> list[str]:
    """A secret as it could stand somewhere: plain, or as bytes that Postgres shows in hex."""
    return [secret, secret.encode().hex()]


async def test_a_dump_of_the_database_holds_no_secret(ada: Person, scripted: ScriptedService) -> None:
    await _use_every_secret(ada, scripted)
    rows = list(await dump(ada.system.database_url))
    assert any("v1." in row for row in rows), "nothing sealed was found, so nothing was searched"
    assert [row[:80] for row in rows for secret in canaries.SECRETS for form in forms(secret) if form in row] == []
    assert [row[:80] for row in rows if ada.access_token in row] == []


async def test_no_log_holds_a_secret(ada: Person, scripted: ScriptedService, local_system: LocalSystem) -> None:
    await _use_every_secret(ada, scripted)
    logs = sorted(local_system.log_dir.glob("*.log"))
    assert {"api.log", "postgres.log", "supabase.log", "demo_crm.log"} <= {log.name for log in logs}
    ours = [log for log in logs if log.name in ("api.log", "dev.log")]
    found = [f"{log.name}: {secret}" for log in logs for secret in canaries.SECRETS if secret in _text(log)]
    assert found == []
    assert [log.name for log in ours if ada.access_token in _text(log) or local_system.jwt_secret in _text(log)] == []
    assert [log.name for log in ours if "/callback?" in _text(log)] == []


async def test_every_line_of_the_apis_log_is_one_json_object(local_system: LocalSystem) -> None:
    """A traceback would not be: its messages could hold what was being sent."""
    lines = _text(local_system.log_dir / "api.log").splitlines()
    assert [line for line in lines if not (line.startswith("{") and line.endswith("}"))] == []
    assert [line for line in lines if '"request.failed"' in line] == []


async def _use_every_secret(person: Person, scripted: ScriptedService) -> None:
    """Through successes and failures, in bodies, in queries and in the service's own answers."""
    started = await person.initiate("scripted")
    state = started.json()["auth_url"].partition("state=")[2].partition("&")[0]
    query = {"code": canaries.CODE, "state": state}
    await person.http.get("/api/integrations/oauth/callback", params=query)
    assert (await person.finish(params=query)).status_code == 200
    page = f"<html>{canaries.ACCESS_TOKEN}</html>".encode()
    scripted.scripts["/token"] = lambda _: Answer(500, page, {"content-type": "text/html"})
    again = await person.initiate("scripted")
    state = again.json()["auth_url"].partition("state=")[2].partition("&")[0]
    refused = await person.finish(params={"code": canaries.CODE, "state": state})
    assert refused.status_code == 502
    await person.connect_with_key()
    broken = {"service_name": "keyed", "credentials": {"api_key": canaries.API_KEY, "password": canaries.PASSWORD}}
    refused = await person.http.post("/api/integrations", json=broken)
    assert refused.status_code == 422
    assert canaries.API_KEY not in refused.text
    await asyncio.sleep(0.2)


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace")
