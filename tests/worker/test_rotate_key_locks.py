"""Key rotation beside somebody who locks a row in the very moment between its lease and its writing."""

import asyncio
from pathlib import Path
from uuid import uuid4

import psycopg

from supabase_integrations.core.key_rotation import ResealedRow
from tests.scripted_service import ScriptedService
from tests.worker.rotating import NEW_ID, OLD_ID, Rotating
from tests.worker.world import World

# The worker's every look at a row takes its time here, so that there is time between the lease and the writing.
SLOW_LOOKS = """
    create function public.take_time() returns boolean language plpgsql volatile as $$
    begin
        perform pg_catalog.pg_sleep(0.3);
        return true;
    end
    $$;
    grant execute on function public.take_time() to integrations_worker;
    create policy "The worker takes its time" on public.integrations as restrictive for select to integrations_worker
    using (public.take_time());
"""


async def test_a_leased_row_that_is_locked_for_a_moment_is_written_after_all(
    world: World, service: ScriptedService, tmp_path: Path
) -> None:
    """Another rotation, or a worker that claims, locks it to see that it is not free. Skipped for good, it would be
    held for a minute and a half."""
    rotating = Rotating(world, tmp_path / "state", service.url)
    (ref,) = await rotating.connect(1)
    other = await psycopg.AsyncConnection.connect(world.cluster.url(world.database))

    async def look() -> None:
        async with other:
            await other.set_autocommit(True)
            while (await rotating.rows())[0]["refresh_lease_owner"] is None:  # noqa: ASYNC110 - only the table knows
                await asyncio.sleep(0.01)
            async with other.transaction():
                await other.execute("select from public.integrations where id = %s for no key update", [ref.id])
                await asyncio.sleep(0.5)

    async with rotating.database() as tables:
        page = await tables.read_sealed_under(OLD_ID, [ref])
        await world.fate.database.execute(SLOW_LOOKS)
        sealed = [
            ResealedRow(row.ref, row.version, f"v1.{NEW_ID}." + "x" * 60, row.next_refresh_at) for row in page.rows
        ]
        written, _ = await asyncio.gather(tables.write_resealed(sealed, uuid4()), look())
    (row,) = await rotating.rows()
    assert (written, row["key_id"], row["refresh_lease_owner"]) == (1, NEW_ID, None)
