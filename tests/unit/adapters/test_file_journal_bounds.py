"""How much the journal keeps and for how long, and that it outlives a disk that fails and a process that is killed."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from supabase_integrations.adapters.file_journal import MAX_FILES, FileJournal
from supabase_integrations.core.errors import JournalUnavailableError
from supabase_integrations.core.plaintext import MAX_LENGTH
from supabase_integrations.core.secret import SecretStr
from tests.unit.adapters.journal_disk import KEY, LARGEST, Disk, another, name_of
from tests.unit.core.test_journal_entry import ENTRY


@contextmanager
def no_room_for_files() -> Iterator[None]:
    """A disk that takes no byte of a file: the kernel refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- how much --------------------------------------------------------------------------------------------------------


async def test_there_is_room_for_ten_thousand_replies_and_no_more(disk: Disk) -> None:
    disk.fill(MAX_FILES - 1)

    async with disk.open() as journal:
        assert await journal.has_room()
        await journal.write(ENTRY)
        assert not await journal.has_room()
        await journal.write(another())  # of a request that was allowed before
        assert len(disk.files()) == MAX_FILES + 1
        await journal.remove(ENTRY)
        assert not await journal.has_room()


async def test_there_is_room_for_64_mebibytes_and_no_more(disk: Disk) -> None:
    disk.fill(64 * 1024 * 1024 // LARGEST - 1, LARGEST)

    async with disk.open() as journal:
        assert await journal.has_room()
        disk.fill(1, LARGEST)
        assert await journal.has_room()
        disk.clock.moment += timedelta(seconds=10)
        assert not await journal.has_room()
    assert [kind for kind, *_ in disk.told.lines] == ["unavailable"]


async def test_room_that_another_process_makes_is_seen(disk: Disk, journal: FileJournal) -> None:
    disk.fill(MAX_FILES)
    disk.clock.moment += timedelta(seconds=10)
    assert not await journal.has_room()

    disk.files()[0].unlink()
    assert not await journal.has_room()
    disk.clock.moment += timedelta(seconds=10)
    assert await journal.has_room()


async def test_a_clock_that_is_set_back_delays_no_look(disk: Disk, journal: FileJournal) -> None:
    """Tokens that are spent by their use would not be renewed for as long as it was ahead."""
    disk.fill(MAX_FILES)
    disk.clock.moment += timedelta(seconds=10)
    assert not await journal.has_room()

    disk.files()[0].unlink()
    disk.clock.moment -= timedelta(hours=1)
    assert await journal.has_room()


async def test_what_is_not_ours_takes_no_room(disk: Disk, journal: FileJournal) -> None:
    os.truncate(disk.put("backup.tar", b""), 1 << 30)
    os.truncate(disk.put(name_of(another()), b""), 1 << 30)
    disk.clock.moment += timedelta(seconds=10)

    assert await journal.has_room()


async def test_a_reply_beyond_what_can_be_sealed_is_refused(disk: Disk, journal: FileJournal) -> None:
    assert ENTRY.caller
    huge = replace(ENTRY, caller=replace(ENTRY.caller, access_token=SecretStr("canary" * MAX_LENGTH)))

    with pytest.raises(JournalUnavailableError, match="too large") as raised:
        await journal.write(huge)

    assert raised.value.__context__ is None
    assert disk.files() == []
    assert await journal.has_room()


# --- how long --------------------------------------------------------------------------------------------------------


async def test_a_reply_is_removed_after_30_days(disk: Disk, journal: FileJournal) -> None:
    old, young = another(), another()
    await journal.write(old)
    await journal.write(young)
    Disk.age(disk.journal / name_of(old), disk.clock.now() - timedelta(days=30, seconds=1))
    Disk.age(disk.journal / name_of(young), disk.clock.now() - timedelta(days=30) + timedelta(minutes=1))

    disk.clock.moment += timedelta(seconds=10)
    await journal.has_room()

    assert await journal.entries() == (young,)
    assert disk.told.lines == [("expired", str(old.ref.id), "7")]


# --- when the disk fails ---------------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_once_and_there_is_room_again_afterwards(disk: Disk, journal: FileJournal) -> None:
    await journal.write(ENTRY)
    with no_room_for_files():
        for _ in range(3):
            with pytest.raises(JournalUnavailableError):
                await journal.write(another())
            assert not await journal.has_room()
            disk.clock.moment += timedelta(seconds=1)
            assert not await journal.has_room()

    disk.clock.moment += timedelta(seconds=1)
    assert await journal.has_room()
    assert disk.told.lines == [("unavailable", "File too large")]
    assert await journal.entries() == (ENTRY,)
    assert [path.name for path in disk.files()] == [name_of(ENTRY)]


async def test_a_full_disk_is_noticed_before_a_reply_depends_on_it(disk: Disk, journal: FileJournal) -> None:
    disk.clock.moment += timedelta(seconds=10)
    with no_room_for_files():
        assert not await journal.has_room()


async def test_a_directory_that_was_removed_has_no_room(disk: Disk, journal: FileJournal) -> None:
    disk.journal.rmdir()

    with pytest.raises(JournalUnavailableError):
        await journal.write(ENTRY)
    disk.clock.moment += timedelta(seconds=10)
    assert not await journal.has_room()
    with pytest.raises(JournalUnavailableError):
        await journal.entries()


# --- when the process dies -------------------------------------------------------------------------------------------

_KILLED_IN_A_WRITE = """
import asyncio, os, signal, sys
from pathlib import Path
from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.file_journal import open_file_journal
from supabase_integrations.adapters.journal_log import JournalLogger
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from tests.unit.core.test_journal_entry import ENTRY

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def main(path, key, moment):
    encryption = Encryption(Keyring.from_hex(key))
    async with open_file_journal(Path(path), encryption, SystemClock(), JournalLogger()) as journal:
        if moment == "before the rename":
            os.rename = die
        await journal.write(ENTRY)
        die()

asyncio.run(main(*sys.argv[1:]))
"""


def killed(disk: Disk, moment: str) -> int:
    """The exit status of a process that keeps a reply and is killed at this moment."""
    command = [sys.executable, "-c", _KILLED_IN_A_WRITE, str(disk.path), KEY, moment]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, timeout=60, check=False, env=environment).returncode


async def test_a_reply_outlives_a_process_that_is_killed_once_it_is_kept(disk: Disk) -> None:
    assert killed(disk, "after the write") == -signal.SIGKILL

    async with disk.open() as journal:
        assert await journal.entries() == (ENTRY,)


async def test_what_a_process_left_that_was_killed_while_writing_is_removed_an_hour_later(disk: Disk) -> None:
    assert killed(disk, "before the rename") == -signal.SIGKILL
    (draft,) = disk.files()
    assert draft.name.endswith(".draft")
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600

    Disk.age(draft, disk.clock.now() - timedelta(minutes=59))
    async with disk.open() as journal:
        assert await journal.entries() == ()
        assert disk.files() == [draft]

    Disk.age(draft, disk.clock.now() - timedelta(minutes=61))
    async with disk.open():
        assert disk.files() == []
