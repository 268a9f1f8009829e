"""What must hold before the local system says it is ready: else tests would pass here and leak on a hosted project.

Over the Data API a visitor must be refused and a signed-in stranger must find nothing; after that the catalogs must
still say what the migrations say, and the API roles must be no more than hosted Supabase makes them.
"""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import psycopg

from supabase_integrations.core.secret import SecretStr

from .catalog import ExposedTable, Snapshot, exposed_tables, overpowered_roles, take_snapshot
from .errors import LocalStackError
from .postgres import RunningPostgres
from .pristine import pristine_database

_STRANGER_SECONDS = 60


class BrokenGuaranteeError(LocalStackError):
    """The running database does not protect what the migrations protect."""

    code = "broken_guarantee"


@dataclass(frozen=True, slots=True)
class DataApi:
    """Where the Data API is, and what it takes to ask as a visitor and as a signed-in user."""

    url: str
    publishable_key: SecretStr
    jwt_secret: SecretStr


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the migrations alone make of a database."""

    catalog: Snapshot
    tables: tuple[ExposedTable, ...]


async def read_expectation(postgres: RunningPostgres, migrations: Path, migrating_password: SecretStr) -> Expectation:
    """Apply the migrations to a scratch database and read its catalogs."""
    async with pristine_database(postgres, migrations, migrating_password=migrating_password) as pristine:
        return Expectation(await take_snapshot(pristine), tuple(await exposed_tables(pristine)))


async def require_guarantees(
    http: httpx.AsyncClient, data_api: DataApi, postgres: RunningPostgres, expected: Expectation
) -> None:
    """Compare the running system with what is expected of it.

    Raises:
        BrokenGuaranteeError: with every difference, and what to do.
    """
    # The requests come first: they are what makes the server try its GRANTs.
    broken = await _open_doors(http, data_api, expected.tables)
    async with await psycopg.AsyncConnection.connect(postgres.url(), autocommit=True) as connection:
        broken += await overpowered_roles(connection)
        broken += (await take_snapshot(connection)).differences(expected.catalog)
    if broken:
        raise BrokenGuaranteeError(
            "The database is not what the migrations make of it, so this system would not show what a hosted project "
            "does:\n" + "\n".join(f"  - {line}" for line in broken) + "\n"
            "Undo the change, put it into a migration of its own, or start over with RESET=1 (local data is lost)."
        )


async def _open_doors(http: httpx.AsyncClient, data_api: DataApi, tables: Iterable[ExposedTable]) -> list[str]:
    """Ask for every table as a visitor and as a signed-in user who owns nothing."""
    visitor = {"apikey": data_api.publishable_key.get_secret_value()}
    stranger = visitor | {"Authorization": f"Bearer {_stranger_token(data_api.jwt_secret)}"}
    broken = []
    for table in tables:
        reply = await _read(http, data_api, table, visitor)
        if reply.status_code not in (401, 403):
            broken.append(f"a visitor asking for {table.name} gets {reply.status_code} instead of a refusal")
        reply = await _read(http, data_api, table, stranger)
        if reply.status_code == 200 and reply.json() != []:
            broken.append(f"a stranger can read rows of {table.name}")
        elif reply.status_code != 200 and table.readable_columns:
            broken.append(f"a signed-in user asking for {table.name} gets {reply.status_code}: {reply.text}")
    return broken


async def _read(
    http: httpx.AsyncClient, data_api: DataApi, table: ExposedTable, headers: dict[str, str]
) -> httpx.Response:
    query = {"select": ",".join(table.readable_columns) or "*", "limit": "1"}
    return await http.get(f"{data_api.url}/rest/v1/{table.name}", params=query, headers=headers)


def _stranger_token(jwt_secret: SecretStr) -> str:
    """A token like those of Supabase Auth for a user who does not exist, so that nobody needs to be signed up."""
    now = int(time.time())
    claims = {
        "sub": str(uuid.uuid4()),
        "aud": "authenticated",
        "role": "authenticated",
        "iat": now,
        "exp": now + _STRANGER_SECONDS,
    }
    return jwt.encode(claims, jwt_secret.get_secret_value(), algorithm="HS256")
