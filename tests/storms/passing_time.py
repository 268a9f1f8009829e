"""Lets time pass in the tables: what would be due in a minute is due now, and the leases of the dead end.

Who takes a lease is written down by a trigger of the tests' own: which process it was, and whether the row was due.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import dict_row

from supabase_integrations.core.models import IntegrationRef

_TICK: Final = 0.1

_WATCH_LEASES: Final = """
    create schema storms;
    create table storms.leases (
        worker text not null,
        owner uuid not null,
        user_id uuid not null,
        id uuid not null,
        version integer not null,
        due_at timestamptz,
        taken_at timestamptz not null default clock_timestamp()
    );
    create index on storms.leases (owner);
    create function storms.note_lease() returns trigger language plpgsql security definer set search_path = '' as $$
    begin
        insert into storms.leases (worker, owner, user_id, id, version, due_at)
        values (
            coalesce(current_setting('storms.worker', true), ''), new.refresh_lease_owner, new.user_id, new.id,
            old.credential_version, old.next_refresh_at
        );
        return null;
    end
    $$;
    create trigger note_lease after update of refresh_lease_owner on public.integrations
        for each row when (
            new.refresh_lease_owner is not null and new.refresh_lease_owner is distinct from old.refresh_lease_owner
        )
        execute function storms.note_lease();
"""
_MAKE_DUE: Final = """
    with due as (
        update public.integrations
        set next_refresh_at = now()
        where status in ('active', 'error')
            and next_refresh_at > now()
            and refresh_lease_owner is null
            and expires_at <= now() + interval '1 second'
        returning id
    )
    select pg_notify('integrations_due', floor(extract(epoch from now()))::bigint::text) from due limit 1
"""
_OWNED_BY: Final = "refresh_lease_owner in (select l.owner from storms.leases as l where l.worker = %s)"
_LEASED_BY: Final = f"select user_id, id from public.integrations where {_OWNED_BY}"  # noqa: S608
_END_LEASES: Final = f"""
    update public.integrations
    set refresh_lease_until = now() - interval '16 seconds', next_refresh_at = now()
    where {_OWNED_BY} and id = any(%s)
"""  # noqa: S608
_END_ORPHANED_LEASES: Final = """
    update public.integrations
    set refresh_lease_until = now() - interval '16 seconds', next_refresh_at = now()
    where refresh_lease_until > now() and refresh_lease_until < now() + interval '38 seconds' and id <> all(%s)
"""
"""Whose claim was answered into an outage, nobody knows of its leases. No living holder of these tests needs 22 s."""
_EARLY_LEASES: Final = "select worker, id from storms.leases where due_at > taken_at and worker <> 'last'"
_STATEMENTS_FROM_BEFORE: Final = """
    select count(*) as statements
    from pg_stat_activity
    where usename = 'integrations_worker' and state = 'active' and query_start < now() - interval '200 milliseconds'
"""
_END_ALL: Final = """
    update public.integrations
    set next_refresh_at = now(), refresh_lease_owner = null, refresh_lease_until = null
    where status in ('active', 'error')
"""


class PassingTime:
    """The superuser's hand on the clock. Everything waits for the database where it is away."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None
        self._turn = asyncio.Lock()

    async def run(self, statement: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        """Send one statement past all triggers; again, for as long as the database is away."""
        async with self._turn:
            while True:
                try:
                    connection = await self._open()
                    cursor = await connection.execute(statement, parameters or None)
                    return await cursor.fetchall() if cursor.description else []
                except psycopg.OperationalError:
                    await self.close()
                    await asyncio.sleep(_TICK)

    async def watch_leases(self) -> None:
        """From here on, note who takes which lease."""
        await self.run(_WATCH_LEASES)

    async def pass_by(self, kept: Callable[[], set[IntegrationRef]]) -> None:
        """Make due what is to be due, forever. The rows that a journal has replies for keep their leases."""
        while True:
            await self.run(_MAKE_DUE)
            await self.run(_END_ORPHANED_LEASES, [ref.id for ref in kept()])
            await asyncio.sleep(_TICK)

    async def leased_by(self, worker: str) -> set[IntegrationRef]:
        """The rows whose leases a worker holds, once its last statement has ended one way or the other."""
        await asyncio.sleep(0.2)
        while (await self.run(_STATEMENTS_FROM_BEFORE))[0]["statements"]:  # noqa: ASYNC110 - no event tells of them
            await asyncio.sleep(_TICK)
        return {IntegrationRef(row["user_id"], row["id"]) for row in await self.run(_LEASED_BY, worker)}

    async def leases(self) -> Counter[IntegrationRef]:
        """How many leases were given for each row."""
        found = await self.run("select user_id, id from storms.leases")
        return Counter(IntegrationRef(row["user_id"], row["id"]) for row in found)

    async def early_leases(self) -> list[dict[str, Any]]:
        """The leases that a worker got for a row which was not due."""
        return await self.run(_EARLY_LEASES)

    async def end_leases(self, worker: str, refs: set[IntegrationRef]) -> None:
        """75 seconds after its death: nobody waits for it any longer."""
        await self.run(_END_LEASES, worker, [ref.id for ref in refs])

    async def end_everything(self) -> None:
        """A day later: no lease lives, no service is waited for."""
        await self.run(_END_ALL)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                await self._connection.close()
            self._connection = None

    async def _open(self) -> psycopg.AsyncConnection[dict[str, Any]]:
        if self._connection is None:
            connection = await psycopg.AsyncConnection.connect(self._url(), autocommit=True, row_factory=dict_row)
            await connection.execute("set session_replication_role = replica")
            self._connection = connection
        return self._connection


@asynccontextmanager
async def passing_time(url: Callable[[], str]) -> AsyncIterator[PassingTime]:
    """Note leases, and have time at hand, for as long as the block lasts."""
    time = PassingTime(url)
    await time.watch_leases()
    try:
        yield time
    finally:
        await time.close()
