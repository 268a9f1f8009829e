"""Key rotation in the very moment between the lease of a row and its writing."""

import asyncio
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

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


@pytest.fixture
def rotating(world: World, service: ScriptedService, tmp_path: Path) -> Rotating:
    """A world whose key is being changed."""
    return Rotating(world, tmp_path / "state", service.url)


async def until_it_is_leased(rotating: Rotating) -> None:
    """Wait until the only row has been leased."""
    while (await rotating.rows())[0]["refresh_lease_owner"] is None:  # noqa: ASYNC110 - only the table knows
        await asyncio.sleep(0.01)


async def test_a_rotation_that_is_ended_there_leaves_no_lease(rotating: Rotating) -> None:
    """Whoever rotated next, and every refresh, would wait a minute and a half for it."""
    await rotating.connect(1)
    async with rotating.database() as tables:
        await rotating.world.fate.database.execute(SLOW_LOOKS)
        run = asyncio.create_task(rotating.run(tables))
        await until_it_is_leased(rotating)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    (row,) = await rotating.rows()
    assert (row["key_id"], row["refresh_lease_owner"]) == (NEW_ID, None)


async def test_a_leased_row_that_is_locked_for_a_moment_is_written_after_all(
    rotating: Rotating,
) -> None:
    """Another rotation, or a worker that claims, locks it to see that it is not free. Skipped for good, it would be
    held for a minute and a half."""
    (ref,) = await rotating.connect(1)
    other = await psycopg.AsyncConnection.connect(rotating.world.cluster.url(rotating.world.database))

    async def look() -> None:
        async with other:
            await other.set_autocommit(True)
            await until_it_is_leased(rotating)
            async with other.transaction():
                await other.execute("select from public.integrations where id = %s for no key update", [ref.id])
                await asyncio.sleep(0.5)

    async with rotating.database() as tables:
        page = await tables.read_sealed_under(OLD_ID, [ref])
        await rotating.world.fate.database.execute(SLOW_LOOKS)
        sealed = [
            ResealedRow(row.ref, row.version, f"v1.{NEW_ID}." + "x" * 60, row.next_refresh_at) for row in page.rows
        ]
        written, _ = await asyncio.gather(tables.write_resealed(sealed, uuid4()), look())
    (row,) = await rotating.rows()
    assert (written, row["key_id"], row["refresh_lease_owner"]) == (1, NEW_ID, None)
