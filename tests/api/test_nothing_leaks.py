"""After everything else has run: none of the secrets that were used stands in the database or in any log."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.credentials import OAuthCredentials, from_json
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.local.postgres import SUPERUSER
from tests import canaries
from tests.consent import pass_consent, query_of
from tests.local_system import LocalSystem
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService

pytestmark = pytest.mark.last

PUBLIC = {"publishable_key", "demo_client_id"}
"""What `secrets.json` holds beside secrets."""

Row = tuple[str, str]
"""A table's schema, and one of its rows as text."""


YOUNG_SECONDS = 5.1
"""A token that is younger is not renewed on request."""


@pytest.fixture(scope="module")
async def person(local_system: LocalSystem) -> AsyncIterator[Person]:
    """The user of everything secret."""
    person = await Person.sign_up(local_system)
    yield person
    await person.http.aclose()


@pytest.fixture(scope="module")
async def secrets(person: Person, scripted_service: ScriptedService) -> Mapping[str, str]:
    """What must be nowhere after it was used, by the names that a failure shows."""
    scripted_service.reset()
    return await _use_every_secret(person, scripted_service)


async def dump(system: LocalSystem) -> list[Row]:
    """Every row of every table that is not Postgres' own catalog, as text, whoever may read it."""
    everything = make_conninfo(
        system.database_url, user=SUPERUSER, password=_kept(system)["superuser_password"], dbname="postgres"
    )
    async with await psycopg.AsyncConnection.connect(everything) as connection:
        tables = await connection.execute(
            "select n.nspname, c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')"
        )
        return [
            (schema, row)
            for schema, table in await tables.fetchall()
            for (row,) in await (
                await connection.execute(sql.SQL("select t::text from {} as t").format(sql.Identifier(schema, table)))
            ).fetchall()
        ]


async def test_a_dump_of_the_database_holds_no_secret(person: Person, secrets: Mapping[str, str]) -> None:
    rows = await dump(person.system)
    for schema in ("auth", "public", "integrations_private"):
        assert any(person.user_id in row for found, row in rows if found == schema), f"{schema} was not searched"
    assert any("v1." in row for _, row in rows), "nothing sealed was found, so nothing was searched"

    assert [(row[:80], name) for _, row in rows for name in _named_in(row, secrets)] == []
    # Sessions and users' password hashes are Supabase Auth's, in its own schema; a token is nobody's to keep.
    assert [row[:80] for schema, row in rows if schema != "auth" and person.access_token in row] == []


async def test_no_log_holds_a_secret(person: Person, secrets: Mapping[str, str]) -> None:
    logs = sorted(person.system.log_dir.glob("*.log"))
    assert {"api.log", "postgres.log", "supabase.log", "demo_crm.log", "dev.log"} <= {log.name for log in logs}
    assert [f"{log.name}: {name}" for log in logs for name in _named_in(_text(log), secrets)] == []
    assert [log.name for log in logs if person.access_token in _text(log)] == []
    ours = [log for log in logs if log.name.startswith(("api", "dev"))]
    assert [log.name for log in ours if "/callback?" in _text(log)] == []


async def test_every_line_of_the_apis_log_is_one_json_object(local_system: LocalSystem) -> None:
    """A traceback would not be: its messages could hold what was being sent."""
    whole_lines, _, _ = _text(local_system.log_dir / "api.log").rpartition("\n")
    lines = whole_lines.splitlines()
    assert [line for line in lines if not (line.startswith("{") and line.endswith("}"))] == []
    assert [line for line in lines if '"request.failed"' in line] == []


async def _use_every_secret(person: Person, scripted: ScriptedService) -> dict[str, str]:
    """Through successes and failures, in bodies, in queries and in the service's own answers."""
    issued = await _connect_and_renew_the_demo_service(person)
    await _send_the_canaries(person, scripted)
    kept = {name: value for name, value in _kept(person.system).items() if name not in PUBLIC}
    assert person.system.jwt_secret in kept.values()
    searched = {name: value for name, value in vars(canaries).items() if name.isupper() and isinstance(value, str)}
    assert set(searched.values()) == set(canaries.SECRETS)
    await asyncio.sleep(0.2)
    return issued | kept | searched


async def _connect_and_renew_the_demo_service(person: Person) -> dict[str, str]:
    """The code, the state and both generations of tokens of a flow through a real OAuth server."""
    started = await person.initiate("demo_crm")
    query = query_of(await pass_consent(started.json()["auth_url"]))
    finished = await person.finish(params=query)
    assert finished.status_code == 200, finished.text
    row = finished.json()["integration_id"]
    first = await _tokens(person, row)
    await asyncio.sleep(YOUNG_SECONDS)
    assert (await person.http.post(f"/api/integrations/{row}/refresh-token")).status_code == 200
    second = await _tokens(person, row)
    assert first["access_token"] != second["access_token"]
    assert first["refresh_token"] != second["refresh_token"]
    found = {"code": query["code"], "state": query["state"]}
    found |= {f"first {name}": value for name, value in first.items()}
    return {f"demo {name}": value for name, value in {**found, **second}.items()}


async def _tokens(person: Person, integration_id: str) -> dict[str, str]:
    """What the demo service issued, from the sealed row, with the key that the API runs with."""
    async with person.data_api() as curl:
        (row,) = (await curl.get(f"/integrations?id=eq.{integration_id}&select=*")).json()
    place = AssociatedData(
        purpose=Purpose.CREDENTIALS,
        table="integrations",
        column="credentials",
        id=row["id"],
        user_id=person.user_id,
        service_name="demo_crm",
        credential_version=row["credential_version"],
    )
    opened = from_json(Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY)).decrypt_object(row["credentials"], place))
    credentials = opened.credentials
    assert isinstance(credentials, OAuthCredentials)
    assert credentials.refresh_token is not None
    return {
        "access_token": credentials.access_token.get_secret_value(),
        "refresh_token": credentials.refresh_token.get_secret_value(),
    }


async def _send_the_canaries(person: Person, scripted: ScriptedService) -> None:
    started = await person.initiate("scripted")
    query = {"code": canaries.CODE, "state": query_of(started.json()["auth_url"])["state"]}
    await person.http.get("/api/integrations/oauth/callback", params=query)
    assert (await person.finish(params=query)).status_code == 200
    page = f"<html>{canaries.ACCESS_TOKEN}</html>".encode()
    scripted.scripts["/token"] = lambda _: Answer(500, page, {"content-type": "text/html"})
    again = await person.initiate("scripted")
    state = query_of(again.json()["auth_url"])["state"]
    refused = await person.finish(params={"code": canaries.CODE, "state": state})
    assert refused.status_code == 502
    await person.connect_with_key()
    broken = {"service_name": "keyed", "credentials": {"api_key": canaries.API_KEY, "password": canaries.PASSWORD}}
    refused = await person.http.post("/api/integrations", json=broken)
    assert refused.status_code == 422
    assert canaries.API_KEY not in refused.text


def _kept(system: LocalSystem) -> dict[str, str]:
    """The secrets this system was started with."""
    kept: dict[str, str] = json.loads((system.state_dir / "secrets.json").read_text("utf-8"))
    return kept


def _named_in(text: str, secrets: Mapping[str, str]) -> Iterable[str]:
    """The names of the secrets that stand in a text: plain, or as bytes that Postgres shows in hex."""
    return (name for name, secret in secrets.items() if secret in text or secret.encode().hex() in text)


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace")
