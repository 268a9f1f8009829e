"""The journal on a real disk: what it keeps, for whom, and who may read it."""

import asyncio
import os
import stat
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from supabase_integrations.adapters.file_journal import FileJournal
from tests.unit.adapters.journal_disk import Disk, another, name_of
from tests.unit.core.test_journal_entry import ENTRY

# --- what is kept ----------------------------------------------------------------------------------------------------


async def test_a_reply_outlives_its_process(disk: Disk) -> None:
    async with disk.open() as first:
        await first.write(ENTRY)

    async with disk.open() as second:
        assert await second.find(ENTRY.ref, ENTRY.seen_version) == ENTRY
        assert await second.entries() == (ENTRY,)


async def test_a_reply_is_for_its_version_only(journal: FileJournal) -> None:
    await journal.write(ENTRY)

    assert await journal.find(ENTRY.ref, ENTRY.seen_version + 1) is None
    assert await journal.find(ENTRY.ref, ENTRY.seen_version - 1) is None


async def test_a_second_reply_for_the_same_version_replaces_the_first(disk: Disk, journal: FileJournal) -> None:
    later = replace(ENTRY, lease_owner=UUID(int=77))
    await journal.write(ENTRY)
    await journal.write(later)

    assert await journal.entries() == (later,)
    assert [path.name for path in disk.files()] == [name_of(ENTRY)]


async def test_entries_come_oldest_first(journal: FileJournal) -> None:
    entries = [replace(another(), written_at=ENTRY.written_at + timedelta(seconds=age)) for age in (3, 1, 2)]
    for entry in entries:
        await journal.write(entry)

    assert await journal.entries() == (entries[1], entries[2], entries[0])


async def test_what_is_removed_is_gone_for_everybody_and_removing_it_twice_is_silent(disk: Disk) -> None:
    async with disk.open() as one, disk.open() as other:
        await one.write(ENTRY)
        await other.remove(ENTRY)
        await one.remove(ENTRY)

        assert await one.find(ENTRY.ref, ENTRY.seen_version) is None
    assert disk.files() == []
    assert disk.told.lines == []


async def test_many_writers_of_two_processes_lose_nothing(disk: Disk) -> None:
    entries = [another() for _ in range(200)]
    async with disk.open() as one, disk.open() as other:
        await asyncio.gather(*(writer.write(entry) for entry in entries for writer in (one, other)))
        await asyncio.gather(*(writer.remove(entry) for entry in entries[:100] for writer in (one, other)))

        assert {entry.ref for entry in await one.entries()} == {entry.ref for entry in entries[100:]}
    assert len(disk.files()) == 100


# --- who may read it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_files_are_private_whatever_the_umask(disk: Disk, umask: int) -> None:
    disk.path.mkdir()
    before = os.umask(umask)
    try:
        async with disk.open() as journal:
            await journal.write(ENTRY)
    finally:
        os.umask(before)

    assert [stat.S_IMODE(path.stat().st_mode) for path in disk.files()] == [0o600]
    assert stat.S_IMODE(disk.journal.stat().st_mode) == 0o700


async def test_no_secret_is_on_the_disk_in_the_clear(disk: Disk, journal: FileJournal) -> None:
    await journal.write(ENTRY)

    content = b"".join(path.read_bytes() for path in disk.files())
    assert len(content) > 200
    for secret in (b"canary", b"access_token", b"hubspot", b"session"):
        assert secret not in content
