"""A gate in a test's database, at which a key rotation stands still between the lease of a row and its writing."""

import time
from asyncio import sleep
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from supabase_integrations.core.models import IntegrationRef
from tests.worker.world import World

_WAIT_SECONDS: Final = 90.0
"""Against hanging only."""
_LOCK: Final = 7_301
_BUILD: Final = sql.SQL("""
    create function public.pass_gate() returns boolean language plpgsql volatile security definer set search_path = ''
    as $$
    begin
        if exists (select from public.integrations where id = {row} and refresh_lease_owner is not null) then
            perform pg_catalog.pg_advisory_xact_lock_shared({lock});
        end if;
        return true;
    end
    $$;
    create policy "The worker passes a gate" on public.integrations as restrictive for select to integrations_worker
    using (id <> {row} or public.pass_gate());
""")
_LOCK_IT: Final = sql.SQL("select pg_advisory_lock({})").format(_LOCK)
_UNLOCK_IT: Final = sql.SQL("select pg_advisory_unlock({})").format(_LOCK)
_WHO_WAITS: Final = sql.SQL(
    "select pid from pg_locks where locktype = 'advisory' and objid = {} and not granted"
    " and database = (select oid from pg_database where datname = current_database())"
).format(_LOCK)


@dataclass(frozen=True, slots=True)
class Gate:
    """Shut. Whoever looks at the row as the worker, while it is leased, waits for it to be opened."""

    keeper: psycopg.AsyncConnection

    async def until_reached(self) -> int:
        """Wait until somebody waits there: the lease is committed, and the row not yet written; whose session it is."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            waits = await (await self.keeper.execute(_WHO_WAITS)).fetchone()
            if waits:
                return int(waits[0])
            assert time.monotonic() < deadline, "nobody came to the gate"
            await sleep(0.01)

    async def open(self) -> None:
        """Let everybody pass from now on."""
        await self.keeper.execute(_UNLOCK_IT)


@asynccontextmanager
async def a_gate(world: World, ref: IntegrationRef) -> AsyncIterator[Gate]:
    """Shut for this row until it is opened, at the end of the block at the latest."""
    url = world.cluster.url(world.database)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as keeper:
        await keeper.execute(_LOCK_IT)
        await keeper.execute(_BUILD.format(row=sql.Literal(ref.id), lock=_LOCK))
        yield Gate(keeper)
