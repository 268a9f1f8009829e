"""One user's list beside 1,000,000 rows of other users, against the same list beside 1,000.

Two systems run side by side and take turns. What Postgres does is measured on a connection of its own, with the user's
role and claims; then the list over HTTP, as a client sees it. The plans are printed below the table.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import orjson
import psycopg
import uvloop
from _foreign_rows import fill
from _load import Request, Sample, ratio_by_turns, take_turns, together
from _system import LocalSystem, User, running_system, sign_up, superuser_url
from _table import print_table
from psycopg import sql

from integrations_api import cursors
from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.adapters.integration_rows import INTEGRATION_COLUMNS
from supabase_integrations.core.models import ListQuery

FEW, MANY = 1_000, 1_000_000
TURNS = 5
SQL_SECONDS, HTTP_SECONDS = 0.1, 0.3
EXPLAINED = "200 connections, first page"

_LIST = sql.SQL("""
    select {columns}
    from public.integrations
    where {after} and {named}
    order by created_at desc, id desc
    limit 51
""")
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, INTEGRATION_COLUMNS.split(",")))


@dataclass(frozen=True, slots=True)
class Case:
    """A list: whose, and of what."""

    user: User
    query: ListQuery

    @property
    def parameters(self) -> Mapping[str, str]:
        """The list as the API is asked for it."""
        after = {"cursor": cursors.encode(self.query.after)} if self.query.after else {}
        named = {"service_name": self.query.service_name} if self.query.service_name else {}
        return after | named

    @property
    def statement(self) -> sql.Composed:
        """The list as Postgres is asked for it by the Data API."""
        after = "created_at <= %(moment)s and (created_at < %(moment)s or id < %(id)s)" if self.query.after else "true"
        named = "service_name = %(service_name)s" if self.query.service_name else "true"
        return _LIST.format(columns=_COLUMNS, after=sql.SQL(after), named=sql.SQL(named))

    @property
    def values(self) -> dict[str, object]:
        """What the SQL's placeholders stand for."""
        after = self.query.after
        position = {"moment": after.created_at, "id": after.id} if after else {}
        return {**position, "service_name": self.query.service_name}


class Subject:
    """One system with its foreign rows, its users and its connections."""

    def __init__(self, system: LocalSystem, http: httpx.AsyncClient, connections: AsyncExitStack) -> None:
        self._system = system
        self._http = http
        self._connections = connections
        self._acting: dict[User, psycopg.AsyncConnection] = {}

    async def prepare(self, foreign_rows: int) -> dict[str, Case]:
        """Add the rows, and say which lists there are."""
        modest, busy = await sign_up(self._system), await sign_up(self._system)
        await fill(self._system, foreign_rows, {modest: 10, busy: 200})
        for user in (modest, busy):
            self._acting[user] = await self._connections.enter_async_context(acting_as(self._system, user))
        first_page = orjson.loads((await self._get(busy, {})).content)
        return {
            "10 connections": Case(modest, ListQuery()),
            EXPLAINED: Case(busy, ListQuery()),
            "200 connections, second page": Case(busy, ListQuery(after=cursors.decode(first_page["next_cursor"]))),
            "200 connections, one service": Case(busy, ListQuery(service_name="shopify")),
        }

    def from_postgres(self, case: Case) -> Request:
        """The list from Postgres."""

        async def read() -> None:
            rows = await (await self._acting[case.user].execute(case.statement, case.values, prepare=False)).fetchall()
            require(len(rows) in (10, 51))

        return read

    def from_api(self, case: Case) -> Request:
        """The list from the API."""

        async def read() -> None:
            reply = await self._get(case.user, case.parameters)
            require(reply.content.count(b'"display_name"') in (10, 50))

        return read

    async def plan(self, case: Case) -> str:
        """What Postgres did for a list, and how long it took."""
        explain = sql.SQL("explain (analyze, buffers, costs off) ") + case.statement
        lines = await (await self._acting[case.user].execute(explain, case.values)).fetchall()
        return "\n".join(line for (line,) in lines)

    async def _get(self, user: User, parameters: Mapping[str, str]) -> httpx.Response:
        address = f"{self._system.api_url}/api/integrations"
        return (await self._http.get(address, params=parameters, headers=user.authorization)).raise_for_status()


def main() -> None:
    """Measure and print."""
    with running_system() as beside_few, running_system() as beside_many:
        rows, plans = uvloop.run(measure({FEW: beside_few, MANY: beside_many}))
    print_table(
        "A user's list beside other users' rows, p50 in ms",
        ("", f"beside {FEW:,}", f"beside {MANY:,}", "ratio"),
        rows,
        packages=("psycopg",),
    )
    for foreign_rows, plan in plans.items():
        print(f"{EXPLAINED}, beside {foreign_rows:,}\n\n{plan}\n")


async def measure(systems: Mapping[int, LocalSystem]) -> tuple[list[tuple[str, ...]], dict[int, str]]:
    """The lines of the table, and the plans by number of foreign rows."""
    rows = []
    async with open_http_pool() as http, AsyncExitStack() as connections:
        subjects = {count: Subject(system, http, connections) for count, system in systems.items()}
        loaded = await asyncio.gather(*(subject.prepare(count) for count, subject in subjects.items()))
        cases = dict(zip(subjects, loaded, strict=True))
        for name in cases[FEW]:
            by_sql = {str(count): subject.from_postgres(cases[count][name]) for count, subject in subjects.items()}
            rows.append(await compare(f"Postgres: {name}", by_sql, SQL_SECONDS))
        for name in cases[FEW]:
            by_http = {str(count): subject.from_api(cases[count][name]) for count, subject in subjects.items()}
            rows.append(await compare(f"GET /api/integrations: {name}", by_http, HTTP_SECONDS))
        plans = {count: await subject.plan(cases[count][EXPLAINED]) for count, subject in subjects.items()}
    return rows, plans


async def compare(name: str, requests: Mapping[str, Request], seconds: float) -> tuple[str, ...]:
    """One line of the table."""
    samples = await take_turns(requests, in_flight=1, turns=TURNS, seconds=seconds)
    few, many = (samples[str(count)] for count in (FEW, MANY))
    return name, f"{p50(together(few)):.2f}", f"{p50(together(many)):.2f}", f"{ratio_by_turns(many, few, p50):.2f}"


def p50(sample: Sample) -> float:
    """The median latency in milliseconds."""
    return sample.milliseconds(0.5)


@asynccontextmanager
async def acting_as(system: LocalSystem, user: User) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in a transaction with the role and the claims that the Data API gives the user's requests."""
    claims = orjson.dumps({"sub": str(user.id), "role": "authenticated"}).decode()
    async with await psycopg.AsyncConnection.connect(superuser_url(system)) as database:
        await database.execute("set local role authenticated")
        # Supabase's auth.uid() reads either of them, Supabase Lite's only the first.
        await database.execute("select set_config('request.jwt.claim.sub', %s, true)", [str(user.id)])
        await database.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        yield database


def require(condition: bool) -> None:
    """A list that is not the expected one measures something else."""
    if not condition:
        raise AssertionError("The list has another number of rows than it should have.")


if __name__ == "__main__":
    main()
