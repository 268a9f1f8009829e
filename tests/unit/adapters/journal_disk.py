"""A state directory on a real disk, for the tests of the journal in it."""

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from supabase_integrations.adapters.file_journal import FileJournal, open_file_journal
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.plaintext import MAX_LENGTH
from tests.unit.core.test_journal_entry import ENTRY
from tests.unit.fakes import FakeClock

KEY = "c0ffee" * 10 + "0001"
LARGEST = MAX_LENGTH + 32
"""Bytes of the largest entry, sealed."""


@dataclass
class Told:
    """Implements `port.JournalLog`: what the operator was told."""

    lines: list[tuple[str, ...]] = field(default_factory=list)

    def unavailable(self, reason: str) -> None:
        self.lines.append(("unavailable", reason))

    def unreadable(self, ref: IntegrationRef, seen_version: int, code: str) -> None:
        self.lines.append(("unreadable", str(ref.id), str(seen_version), code))

    def expired(self, ref: IntegrationRef, seen_version: int) -> None:
        self.lines.append(("expired", str(ref.id), str(seen_version)))

    def left(self, entry: JournalEntry, code: str) -> None:
        self.lines.append(("left", str(entry.ref.id), code))


@dataclass
class Disk:
    """A state directory and those who open the journal in it."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    told: Told = field(default_factory=Told)
    encryption: Encryption = field(default_factory=lambda: Encryption(Keyring.from_hex(KEY)))

    def open(self, encryption: Encryption | None = None) -> AbstractAsyncContextManager[FileJournal]:
        """The journal, as another process would open it."""
        return open_file_journal(self.path, encryption or self.encryption, self.clock, self.told)

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    def files(self) -> list[Path]:
        return sorted(self.journal.iterdir())

    def put(self, name: str, content: bytes, modified_at: datetime | None = None) -> Path:
        """A file, as somebody else would put it there."""
        path = self.journal / name
        path.write_bytes(content)
        self.age(path, modified_at or self.clock.now())
        return path

    def fill(self, count: int, size: int = 0) -> None:
        """So many files under names of replies, which hold nothing."""
        self.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(self.journal, os.O_RDONLY)
        for _ in range(count):
            file = os.open(name_of(another()), os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory)
            os.truncate(file, size)
            os.close(file)
        os.close(directory)

    @staticmethod
    def age(path: Path, modified_at: datetime) -> None:
        os.utime(path, (modified_at.timestamp(),) * 2)


def name_of(entry: JournalEntry) -> str:
    return f"{entry.ref.user_id}.{entry.ref.id}.{entry.seen_version}.reply"


def another(entry: JournalEntry = ENTRY) -> JournalEntry:
    """An entry for another row of the same user."""
    return replace(entry, ref=IntegrationRef(entry.ref.user_id, uuid4()))
