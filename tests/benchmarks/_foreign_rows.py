"""A few users' connections, strewn among those of very many others, quickly: about 15 s for a million rows.

The superuser takes indexes and constraints away, inserts past the triggers, and puts everything back as the catalog
had described it. Only checks and references come back unvalidated, which changes no plan. For a database that is thrown
away: the other users do not exist in `auth.users`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from _system import ADD_CONNECTIONS, LocalSystem, User, superuser_url

ROUNDS = 50
"""How often each of the others gets one more connection; in between the few users get some of theirs."""

_MAKE_OWNERS = """
    create temporary table owners on commit drop as
    select gen_random_uuid() as id from generate_series(1, %s)
"""
_ONE_MORE_EACH = """
    insert into public.integrations (
        user_id, service_name, service_type, external_account_id, display_name, config, scopes, expires_at, credentials,
        next_refresh_at, created_at
    )
    select
        id, (array['demo_crm', 'hubspot', 'shopify'])[1 + %(number)s %% 3], 'crm', 'account-' || %(number)s,
        'Account ' || %(number)s, '{"shop": "a-shop"}', '{contacts.read,contacts.write}', now() + interval '1 hour',
        'v1.0000ca9a.' || repeat('A', 300), now() + interval '1 hour', now() - %(number)s * interval '1 hour'
    from owners
"""
_CONSTRAINTS = """
    select conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid), contype in ('c', 'f')
    from pg_constraint
    where contype in ('c', 'f', 'p', 'u')
        and 'public.integrations'::regclass in (conrelid, confrelid)
    order by contype in ('c', 'f')
"""
_INDEXES = """
    select indexrelid::regclass::text, pg_get_indexdef(indexrelid)
    from pg_index
    where indrelid = 'public.integrations'::regclass
        and not exists (select from pg_constraint where conindid = indexrelid)
"""


async def fill(system: LocalSystem, foreign_rows: int, connections: Mapping[User, int]) -> None:
    """Insert the rows of others and these users' connections, and gather statistics that know of them."""
    async with await psycopg.AsyncConnection.connect(superuser_url(system), autocommit=True) as database:
        async with database.transaction():
            await database.execute("set local session_replication_role = replica")
            await database.execute("set local maintenance_work_mem = '256MB'")
            await database.execute(_MAKE_OWNERS, [foreign_rows // ROUNDS])
            async with _bare_table(database):
                for number in range(1, ROUNDS + 1):
                    await database.execute(_ONE_MORE_EACH, {"number": number})
                    for user, count in connections.items():
                        share = {"first": count * (number - 1) // ROUNDS + 1, "last": count * number // ROUNDS}
                        await database.execute(ADD_CONNECTIONS, {"user_id": user.id, **share})
        await database.execute("vacuum (analyze) public.integrations")


@asynccontextmanager
async def _bare_table(database: psycopg.AsyncConnection) -> AsyncIterator[None]:
    constraints = await _rows(database, _CONSTRAINTS)
    indexes = await _rows(database, _INDEXES)
    for table, name, *_ in reversed(constraints):
        await _run(database, f"alter table {table} drop constraint {name}")
    for name, _ in indexes:
        await _run(database, f"drop index {name}")
    yield
    for table, name, definition, unvalidated in constraints:
        suffix = "not valid" if unvalidated else ""
        await _run(database, f"alter table {table} add constraint {name} {definition} {suffix}")
    for _, definition in indexes:
        await _run(database, definition)


async def _rows(database: psycopg.AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    return await (await database.execute(query)).fetchall()


async def _run(database: psycopg.AsyncConnection, statement: str) -> None:
    # Made of what the catalog has quoted.
    await database.execute(statement)
