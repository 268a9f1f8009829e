"""What the tables hold of one id, for the operator: read as the migrating role, in one read-only transaction.

Neither credentials nor settings leave the database: of the former only the id of the key is asked for.
"""

from typing import Any, Final
from uuid import UUID

import orjson
import psycopg

from ..core.errors import IntegrationError, SchemaMissingError
from ..core.explanation import Record
from ..core.models import Integration, IntegrationEvent
from ..database_url import DatabaseUrl
from .database_connection import CONNECT_AS_OWNER, Connection, connect
from .integration_rows import EVENT_COLUMNS, INTEGRATION_COLUMNS, read, to_event, to_integration

EVENTS: Final = 100
"""How many events are told, the newest."""

_COLUMNS: Final = ", ".join(
    "'{}'::jsonb as config" if name == "config" else name for name in INTEGRATION_COLUMNS.split(",")
)
_ROWS: Final = f"""
    select to_json(r)::text from (
        select {_COLUMNS}, split_part(credentials, '.', 2) as key_id
        from public.integrations
        where id = %(id)s and (%(user_id)s::uuid is null or user_id = %(user_id)s)
    ) as r
"""  # noqa: S608
_EVENTS: Final = f"""
    select to_json(r)::text from (
        select {EVENT_COLUMNS}, user_id, older
        from (
            select
                e.*, row_number() over (partition by e.user_id order by e.id desc) as place,
                count(*) over (partition by e.user_id) - %(events)s as older
            from public.integration_events as e
            where e.integration_id = %(id)s and (%(user_id)s::uuid is null or e.user_id = %(user_id)s)
        ) as e
        where place <= %(events)s
        order by e.id
    ) as r
"""  # noqa: S608
_SCHEMA_IS_MISSING: Final = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)


async def find_records(database: DatabaseUrl, integration_id: UUID, user_id: UUID | None) -> tuple[Record, ...]:
    """What there is of an id, for each owner: ids are chosen by clients, so that two users may have the same one.

    Raises StoreUnavailableError, SchemaMissingError, and IntegrationError where the role may not read the tables.
    """
    parameters = {"id": integration_id, "user_id": user_id, "events": EVENTS}
    async with await connect(database) as connection:
        await connection.set_read_only(True)
        try:
            rows = await _values(connection, _ROWS, parameters)
            events = await _values(connection, _EVENTS, parameters)
        except _SCHEMA_IS_MISSING:
            raise SchemaMissingError from None
        except psycopg.Error as error:
            code = error.sqlstate or type(error).__name__
            raise IntegrationError(
                f"The tables at {database.shown} could not be read ({code}): {CONNECT_AS_OWNER}"
            ) from None
    return _records(integration_id, rows, events)


async def _values(connection: Connection, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    cursor = await connection.execute(statement.encode(), parameters)
    return [orjson.loads(str(text)) for (text,) in await cursor.fetchall()]


def _records(integration_id: UUID, rows: list[dict[str, Any]], events: list[dict[str, Any]]) -> tuple[Record, ...]:
    found = dict(read(rows, _to_row))
    told: dict[UUID, list[IntegrationEvent]] = {user_id: [] for user_id in found}
    older = {}
    for user_id, event, count in read(events, _to_event):
        told.setdefault(user_id, []).append(event)
        older[user_id] = max(count, 0)
    records = []
    for user_id, listed in sorted(told.items()):
        row, key_id = found.get(user_id, (None, None))
        records.append(Record(user_id, integration_id, row, key_id, tuple(listed), older.get(user_id, 0)))
    return tuple(records)


def _to_row(row: Any) -> tuple[UUID, tuple[Integration, str | None]]:
    integration = to_integration(row)
    return integration.user_id, (integration, row["key_id"])


def _to_event(row: Any) -> tuple[UUID, IntegrationEvent, int]:
    return UUID(row["user_id"]), to_event(row), int(row["older"])
