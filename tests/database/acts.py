"""Who acts in the database tests, and how a refusal looks.

An actor sends each statement in a transaction of its own, under a role and a token's claims, as the Data API does.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, LiteralString, Self
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow, dict_row

OWNER: Final = UUID("0a11ce00-0000-4000-8000-000000000001")
STRANGER: Final = UUID("0e7e0000-0000-4000-8000-000000000002")

ENVELOPE: Final = "v1.5ea1ed00." + "canary-credentials_" * 4
"""Looks like an envelope, as far as the database can tell."""

Statement = LiteralString | sql.Composed | sql.SQL
Row = DictRow


@dataclass
class Actor:
    """Somebody with a role, perhaps a token's claims, and one connection, opened at the first statement."""

    url: str = field(repr=False)
    role: str
    claims: Mapping[str, object] | None = None
    acting_for: Sequence[UUID] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    opened: list[psycopg.AsyncConnection[Row]] = field(default_factory=list, repr=False)
    """Connections of this actor and those made from it, for whoever closes them."""
    _connection: psycopg.AsyncConnection[Row] | None = None

    @property
    def id(self) -> UUID:
        """The user the claims name."""
        return UUID(str((self.claims or {})["sub"]))

    async def run(self, statement: Statement, *parameters: object) -> list[Row]:
        """Run one statement, commit, and return its rows, if it has any."""
        async with (await self.connection()).transaction(), self._cursor() as cursor:
            await self.begin(cursor)
            await cursor.execute(statement, parameters or None)
            return await cursor.fetchall() if cursor.description else []

    async def row(self, statement: Statement, *parameters: object) -> Row:
        """The one row that the statement must give."""
        (row,) = await self.run(statement, *parameters)
        return row

    async def value(self, statement: Statement, *parameters: object) -> object:
        """The one value that the statement must give."""
        (value,) = (await self.row(statement, *parameters)).values()
        return value

    async def connection(self) -> psycopg.AsyncConnection[Row]:
        """The actor's connection, where nothing is set yet."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self.url, row_factory=dict_row, autocommit=True)
            self.opened.append(self._connection)
        return self._connection

    async def begin(self, cursor: psycopg.AsyncCursor[Row]) -> None:
        """Become the actor, for the rest of the transaction."""
        local = dict(self.settings)
        if self.claims is not None:
            local["request.jwt.claims"] = json.dumps(self.claims)
        if self.acting_for:
            local["integrations.acting_for"] = "{" + ",".join(map(str, self.acting_for)) + "}"
        for name, value in local.items():
            await cursor.execute("select set_config(%s, %s, true)", [name, value])
        await cursor.execute("select set_config('role', %s, true)", [self.role])

    def again(self) -> Self:
        """The same actor on a connection of its own, for races."""
        return replace(self, _connection=None)

    def carrying(self, **claims: object) -> Self:
        """The same user with further claims in the token."""
        return replace(self, claims={**(self.claims or {}), **claims}, _connection=None)

    def acting(self, *users: UUID) -> Self:
        """The worker, having declared these users."""
        return replace(self, acting_for=users, _connection=self._connection)

    def _cursor(self) -> psycopg.AsyncCursor[Row]:
        assert self._connection is not None
        return self._connection.cursor()


def user_claims(user_id: UUID) -> dict[str, object]:
    """What Supabase Auth says about a signed-in user."""
    return {"sub": str(user_id), "role": "authenticated", "aud": "authenticated", "is_anonymous": False}


@contextmanager
def refused(sqlstate: str, rule: str | None = None) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """The block must fail with this SQLSTATE, and by this rule (a constraint or one of our guards)."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    assert caught.value.sqlstate == sqlstate, caught.value
    if rule is not None:
        assert caught.value.diag.constraint_name == rule


async def connect_service(actor: Actor, columns: Mapping[str, object] | None = None, **more: object) -> UUID:
    """Insert a connection as `actor` and return its id."""
    defaults = {"id": uuid4(), "service_name": "demo_crm", "service_type": "crm", "credentials": ENVELOPE}
    values = {**defaults, **(columns or {}), **more}
    statement = sql.SQL("insert into public.integrations ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join([sql.Placeholder()] * len(values))
    )
    await actor.run(statement, *values.values())
    return UUID(str(values["id"]))


async def change(actor: Actor, integration_id: UUID, **columns: object) -> list[Row]:
    """Update a connection as `actor`, as a PATCH of the Data API does, and return the rows that were changed."""
    statement = sql.SQL("update public.integrations set {} where id = %s returning *").format(
        sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
    )
    return await actor.run(statement, *columns.values(), integration_id)
