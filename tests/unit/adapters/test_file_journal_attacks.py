"""Somebody who can write to the journal's directory, and has no key, changes no row.

They stop nobody either, but by what says of a row's very version that another key would open it: with that the journal
waits for the key, as it must where one was dropped too early.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from supabase_integrations.adapters.file_journal import FileJournal
from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import UnknownKeyError
from supabase_integrations.core.journal_entry import JournalEntry, entry_to_json, place_of
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from tests.unit.adapters.journal_disk import KEY, LARGEST, Disk, another, name_of
from tests.unit.core.test_journal_entry import ENTRY, ROW, USER

OTHER_ROW, OTHER_USER = UUID(int=18), UUID(int=19)
OTHER_KEY = "c0ffee" * 10 + "0002"


async def found(journal: FileJournal, entry: JournalEntry) -> JournalEntry | None:
    """What is kept for the entry's row and version; a journal that waits for an attacker fails the test."""
    async with asyncio.timeout(60):
        return await journal.find(entry.ref, entry.seen_version)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(replace(ENTRY, seen_version=8), id="the next version"),
        pytest.param(replace(ENTRY, seen_version=6), id="the version before"),
        pytest.param(replace(ENTRY, ref=IntegrationRef(USER, OTHER_ROW)), id="another row"),
        pytest.param(replace(ENTRY, ref=IntegrationRef(OTHER_USER, ROW)), id="another user"),
        pytest.param(replace(ENTRY, ref=IntegrationRef(OTHER_USER, OTHER_ROW)), id="another user's row"),
    ],
)
async def test_a_reply_under_another_name_does_not_open(disk: Disk, journal: FileJournal, place: JournalEntry) -> None:
    await journal.write(ENTRY)
    (disk.journal / name_of(ENTRY)).rename(disk.journal / name_of(place))

    assert await found(journal, place) is None
    assert await found(journal, ENTRY) is None
    assert await journal.entries() == ()
    # Left where it is, and told once.
    assert [path.name for path in disk.files()] == [name_of(place)]
    assert disk.told.lines == [("unreadable", str(place.ref.id), str(place.seen_version), "decryption_failed")]


async def test_two_users_replies_that_change_places_open_for_neither(disk: Disk, journal: FileJournal) -> None:
    other = replace(ENTRY, ref=IntegrationRef(OTHER_USER, OTHER_ROW))
    await journal.write(ENTRY)
    await journal.write(other)
    mine, theirs = disk.journal / name_of(ENTRY), disk.journal / name_of(other)
    content = mine.read_bytes()
    mine.write_bytes(theirs.read_bytes())
    theirs.write_bytes(content)

    assert await journal.entries() == ()
    assert await found(journal, ENTRY) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda _: b"", "truncated_envelope", id="emptied"),
        pytest.param(lambda content: content[:31], "truncated_envelope", id="31 bytes"),
        pytest.param(lambda content: content[:-1], "decryption_failed", id="a byte short"),
        pytest.param(lambda content: content + b"\0", "decryption_failed", id="a byte long"),
        pytest.param(
            lambda content: content[:4] + bytes([content[4] ^ 1]) + content[5:], "decryption_failed", id="nonce"
        ),
        pytest.param(
            lambda content: content[:99] + bytes([content[99] ^ 128]) + content[100:], "decryption_failed", id="text"
        ),
        pytest.param(lambda content: content[:-1] + bytes([content[-1] ^ 1]), "decryption_failed", id="tag"),
        pytest.param(lambda content: bytes(len(content)), "malformed_envelope", id="lost in a crash"),
        pytest.param(
            lambda content: bytes(32) + content[32:], "malformed_envelope", id="its beginning lost in a crash"
        ),
    ],
)
async def test_a_changed_reply_does_not_open(
    disk: Disk, journal: FileJournal, change: Callable[[bytes], bytes], code: str
) -> None:
    await journal.write(ENTRY)
    path = disk.journal / name_of(ENTRY)
    path.write_bytes(change(path.read_bytes()))

    assert await found(journal, ENTRY) is None
    assert await journal.entries() == ()
    assert await found(journal, ENTRY) is None
    assert disk.told.lines == [("unreadable", str(ROW), "7", code)]
    assert disk.files() == [path]


@pytest.mark.parametrize(
    ("change", "key_id"),
    [
        pytest.param(lambda content: b"\x0d\xdb\xa1\x1d" + content[4:], "0ddba11d", id="another key id"),
        pytest.param(lambda _: b'{"payload":{}}' * 9, "7b227061", id="in the clear"),
        pytest.param(lambda _: b"\x0d\xdb\xa1\x1d".ljust(32, b"\0"), "0ddba11d", id="no more than a key id"),
    ],
)
async def test_a_reply_that_names_a_key_which_is_not_here_stops_its_row_at_its_version_alone(
    disk: Disk, journal: FileJournal, change: Callable[[bytes], bytes], key_id: str
) -> None:
    """It may hold the only token that lives. Whoever puts such a file there could as well fill the disk."""
    other, later = another(), replace(ENTRY, seen_version=ENTRY.seen_version + 1)
    for entry in (ENTRY, other):
        await journal.write(entry)
    path = disk.journal / name_of(ENTRY)
    path.write_bytes(change(path.read_bytes()))

    for _ in range(2):
        with pytest.raises(UnknownKeyError) as refused:
            await found(journal, ENTRY)
        assert refused.value.key_id == key_id
    assert refused.value.__context__ is None
    assert await found(journal, other) == other
    assert await found(journal, later) is None
    assert await journal.entries() == (other,)
    assert await journal.has_room()
    assert disk.told.lines == [("unreadable", str(ROW), "7", "unknown_encryption_key")]

    path.unlink()
    assert await found(journal, ENTRY) is None


async def test_something_else_that_the_same_key_sealed_does_not_open(disk: Disk, journal: FileJournal) -> None:
    """A cookie or a handle, which users hold, is no reply, whatever it says."""
    place = place_of(ENTRY.ref, ENTRY.seen_version)
    for purpose in set(Purpose) - {Purpose.JOURNAL}:
        sealed_for = AssociatedData(
            purpose, id=place.id, user_id=place.user_id, credential_version=place.credential_version
        )
        disk.put(name_of(ENTRY), disk.encryption.seal_bytes(b"{}", sealed_for))
        assert await found(journal, ENTRY) is None


async def test_a_reply_sealed_under_another_key_opens_once_that_key_is_listed(disk: Disk) -> None:
    async with disk.open(Encryption(Keyring.from_hex(OTHER_KEY))) as before:
        await before.write(ENTRY)

    async with disk.open() as without:
        assert await without.entries() == ()
        with pytest.raises(UnknownKeyError, match="ENCRYPTION_KEYS_RETIRED"):
            await found(without, ENTRY)
        assert disk.told.lines == [("unreadable", str(ROW), "7", "unknown_encryption_key")]
    async with disk.open(Encryption(Keyring.from_hex(KEY, [OTHER_KEY]))) as after:
        assert await after.entries() == (ENTRY,)


async def test_an_unreadable_reply_does_not_hide_the_others(disk: Disk, journal: FileJournal) -> None:
    await journal.write(ENTRY)
    disk.put(name_of(another()), b"rubbish" * 9)

    assert await journal.entries() == (ENTRY,)


async def test_a_reply_takes_the_place_of_what_somebody_put_under_its_name(
    disk: Disk, journal: FileJournal, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (disk.journal / name_of(ENTRY)).symlink_to(target)

    await journal.write(ENTRY)

    assert await found(journal, ENTRY) == ENTRY
    assert target.read_bytes() == b"precious"


def link_to_a_genuine_reply(disk: Disk, path: Path) -> None:
    genuine = disk.path / "genuine"
    content = orjson.dumps(entry_to_json(ENTRY))
    genuine.write_bytes(disk.encryption.seal_bytes(content, place_of(ENTRY.ref, ENTRY.seen_version)))
    path.symlink_to(genuine)


def sparse(size: int) -> Callable[[Disk, Path], None]:
    """Puts a file of this many bytes there that takes no room."""

    def put(disk: Disk, path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return put


@pytest.mark.parametrize(
    "put",
    [
        pytest.param(link_to_a_genuine_reply, id="a link"),
        pytest.param(lambda _, path: path.symlink_to("/dev/zero"), id="a link to a device"),
        pytest.param(lambda _, path: path.symlink_to("nowhere"), id="a dangling link"),
        pytest.param(lambda _, path: os.mkfifo(path), id="a FIFO"),
        pytest.param(lambda _, path: path.mkdir(), id="a directory"),
        pytest.param(sparse(LARGEST + 1), id="a byte too large"),
        pytest.param(sparse(1 << 32), id="four gibibytes"),
    ],
)
async def test_what_is_no_file_of_ours_is_ignored(
    disk: Disk, journal: FileJournal, put: Callable[[Disk, Path], None]
) -> None:
    put(disk, disk.journal / name_of(ENTRY))

    async with asyncio.timeout(60):
        assert await journal.find(ENTRY.ref, ENTRY.seen_version) is None
        assert await journal.entries() == ()
        disk.clock.moment += timedelta(seconds=10)
        assert await journal.has_room()
    assert disk.told.lines == []
    assert [path.name for path in disk.files()] == [name_of(ENTRY)]


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        f"{USER}.{ROW}.7.reply.bak",
        f" {USER}.{ROW}.7.reply",
        f"{USER}.{ROW}.07.reply",
        f"{USER}.{ROW}.0.reply",
        f"{USER}.{ROW}.-7.reply",
        f"{USER}.{ROW}.٧.reply",
        f"{USER}.{ROW}.{10**19}.reply",
        f"{USER}.7.reply",
        f"{UUID(int=0xABCDEF)}.{ROW}.7.reply".upper(),
        f"{USER}.{ROW}.7.reply\n",
    ],
)
async def test_files_of_other_names_are_ignored(disk: Disk, journal: FileJournal, name: str) -> None:
    """Every place has one name, so that there is one file to find, to replace and to remove."""
    await journal.write(ENTRY)
    (disk.journal / name_of(ENTRY)).rename(disk.journal / name)
    Disk.age(disk.journal / name, disk.clock.now() - timedelta(days=365))
    disk.clock.moment += timedelta(seconds=10)

    assert await journal.has_room()
    assert await journal.entries() == ()
    assert [path.name for path in disk.files()] == [name]
