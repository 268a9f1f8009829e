"""Keeping a token reply in the journal, and all that one renewal asks of it, on this disk and on slower ones.

A slower disk is this one with every fsync delayed. A real one would share a flush among those who wait for it, so it
would do better than this.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from _table import print_table

from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.file_journal import FileJournal, open_file_journal
from supabase_integrations.adapters.journal_log import JournalLogger
from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import Caller, IntegrationRef
from supabase_integrations.core.secret import SecretStr

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

DELAYS_MS = (0, 5, 20, 40)
SECONDS_EACH = 2.0


def reply() -> JournalEntry:
    """A rotated token of usual size, asked for with a usual JWT."""
    now, user = SystemClock().now().replace(microsecond=0), uuid4()
    until = now + timedelta(hours=1)
    tokens = OAuthCredentials(
        SecretStr("a" * 280), now, refresh_token=SecretStr("r" * 80), expires_at=until, scopes=("contacts", "deals")
    )
    payload = CredentialPayload("hubspot", "", tokens)
    caller = Caller(user, SecretStr("j" * 1_000), until, str(uuid4()))
    return JournalEntry(IntegrationRef(user, uuid4()), 7, uuid4(), payload, caller, now)


@contextmanager
def slow_disk(delay_ms: int) -> Iterator[None]:
    """Every fsync takes this much longer."""
    fsync = os.fsync

    def slower(fd: "FileDescriptorLike") -> None:
        fsync(fd)
        time.sleep(delay_ms / 1000)

    os.fsync = slower if delay_ms else fsync
    try:
        yield
    finally:
        os.fsync = fsync


async def write(journal: FileJournal, entry: JournalEntry) -> None:
    """Keep a reply."""
    await journal.write(entry)


async def renewal(journal: FileJournal, entry: JournalEntry) -> None:
    """Ask for room, look for an earlier reply, keep this one, forget it."""
    if await journal.find(entry.ref, entry.seen_version) is not None or not await journal.has_room():
        raise AssertionError("the journal is not as this benchmark needs it")
    await journal.write(entry)
    await journal.remove(entry)


async def per_second(
    journal: FileJournal, operation: Callable[[FileJournal, JournalEntry], Awaitable[None]], in_flight: int
) -> float:
    """How many of an operation finish a second with so many under way."""
    begun = time.perf_counter()
    done = 0

    async def keep_going() -> None:
        nonlocal done
        while time.perf_counter() - begun < SECONDS_EACH:
            await operation(journal, reply())
            done += 1

    await asyncio.gather(*(keep_going() for _ in range(in_flight)))
    return done / (time.perf_counter() - begun)


async def measure(delay_ms: int) -> Sequence[str]:
    """One line of the table."""
    with slow_disk(delay_ms), tempfile.TemporaryDirectory() as folder:
        encryption = Encryption(Keyring.from_hex(SecretStr(Encryption.generate_key())))
        figures = []
        for operation, in_flight in ((write, 1), (write, 50), (renewal, 1), (renewal, 50)):
            place = Path(folder) / f"{operation.__name__}-{in_flight}"
            async with open_file_journal(place, encryption, SystemClock(), JournalLogger()) as journal:
                figures.append(f"{await per_second(journal, operation, in_flight):,.0f}")
    return [f"{delay_ms} ms more" if delay_ms else "as it is", *figures]


async def main() -> None:
    """Measure and print."""
    lines = [await measure(delay) for delay in DELAYS_MS]
    columns = ("fsync", "writes, 1 at a time", "writes, 50", "renewals, 1 at a time", "renewals, 50")
    print_table("The journal, per second", columns, lines, packages=("cryptography", "orjson"))


if __name__ == "__main__":
    asyncio.run(main())
