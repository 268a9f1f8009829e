"""Key rotation in the very moment between the lease of a row and its writing."""

import asyncio
import time
from uuid import uuid4

import psycopg
import pytest

from supabase_integrations.adapters import key_rotation_store
from supabase_integrations.core.key_rotation import ResealedRow
from tests.worker.gate import a_gate
from tests.worker.rotating import NEW_ID, OLD_ID, Rotating


async def until_its_statement_has_ended(rotating: Rotating, process: int) -> None:
    """Wait until the session has nothing to do."""
    deadline = time.monotonic() + 90
    while True:
        cursor = await rotating.world.fate.database.execute(
            "select state from pg_stat_activity where pid = %s", [process]
        )
        if await cursor.fetchall() == [{"state": "idle"}]:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_rotation_that_is_ended_there_leaves_no_lease(rotating: Rotating) -> None:
    """Whoever rotated next, and every refresh, would wait a minute and a half for it."""
    (ref,) = await rotating.connect(1)
    async with rotating.database() as tables, a_gate(rotating.world, ref) as gate:
        run = asyncio.create_task(rotating.run(tables))
        await gate.until_reached()
        run.cancel()
        await gate.open()
        with pytest.raises(asyncio.CancelledError):
            await run
    (row,) = await rotating.rows()
    assert (row["key_id"], row["refresh_lease_owner"]) == (NEW_ID, None)


async def test_a_leased_row_that_is_locked_for_a_moment_is_written_after_all(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rotation, or a worker that claims, locks it to see that it is not free. Skipped for good, it would be
    held for a minute and a half."""
    monkeypatch.setattr(key_rotation_store, "_WRITE_PAUSES", (0.5,) * 200)
    (ref,) = await rotating.connect(1)
    url = rotating.world.cluster.url(rotating.world.database)
    async with (
        rotating.database() as tables,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
        a_gate(rotating.world, ref) as gate,
    ):
        page = await tables.read_sealed_under(OLD_ID, [ref])
        sealed = [
            ResealedRow(row.ref, row.version, f"v1.{NEW_ID}." + "x" * 60, row.next_refresh_at) for row in page.rows
        ]
        writing = asyncio.create_task(tables.write_resealed(sealed, uuid4()))
        writer = await gate.until_reached()
        async with other.transaction():
            await other.execute("select from public.integrations where id = %s for no key update", [ref.id])
            await gate.open()
            # It skips the row here, and tries again.
            await until_its_statement_has_ended(rotating, writer)
            assert not writing.done()
        written = await writing
    (row,) = await rotating.rows()
    assert (written, row["key_id"], row["refresh_lease_owner"]) == (1, NEW_ID, None)


async def test_a_leased_row_that_is_deleted_is_not_waited_for(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner removes the connection in that very moment. The second look finds it gone; there is no third."""
    monkeypatch.setattr(key_rotation_store, "_WRITE_PAUSES", (0.0, 3600.0))
    (ref,) = await rotating.connect(1)
    async with rotating.database() as tables:
        page = await tables.read_sealed_under(OLD_ID, [ref])
        sealed = [
            ResealedRow(row.ref, row.version, f"v1.{NEW_ID}." + "x" * 60, row.next_refresh_at) for row in page.rows
        ]
        async with a_gate(rotating.world, ref) as gate:
            writing = asyncio.create_task(tables.write_resealed(sealed, uuid4()))
            await gate.until_reached()
            await rotating.world.fate.database.execute("delete from public.integrations where id = %s", [ref.id])
            await gate.open()
            assert await asyncio.wait_for(writing, 90) == 0
    assert await rotating.rows() == []
