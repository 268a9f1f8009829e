"""The journal in files: one sealed token reply each, named after the row and the version it is for.

A file's name says where its content belongs and the content is sealed to that place, so a file under another name, or
changed, or made up by somebody without the key, does not open.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import orjson

from ..core.encryption import Encryption
from ..core.encryption_errors import (
    DecryptionError,
    MalformedEnvelopeError,
    UnexpectedContentError,
    UnknownKeyError,
    UnsealableValueError,
)
from ..core.errors import JournalUnavailableError
from ..core.journal_entry import JournalEntry, entry_from_json, entry_to_json, place_of
from ..core.models import IntegrationRef
from ..core.plaintext import MAX_LENGTH, from_object
from ..port import Clock, JournalLog
from .journal_place import KEY_ID_BYTES, Place, is_blank, place_of_file
from .private_directory import PrivateDirectory

MAX_FILES: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_FOR: Final = timedelta(days=30)
"""What nobody could store for so long is removed: refresh tokens rarely outlive it, and its user has reconnected."""

_FOLDER: Final = "journal"
_MAX_FILE: Final = MAX_LENGTH + 32
"""Bytes of the largest sealed entry: key id, nonce and tag come to 32."""
_COUNT_EVERY: Final = timedelta(seconds=10)
_RETRY_AFTER: Final = timedelta(seconds=1)
_THREADS: Final = 32
"""Writes under way at once. Each waits for the disk twice: where a wait is 40 ms, 300 a second pass, and half as many
with half the threads.
"""
_T = TypeVar("_T")
_Result: TypeAlias = JournalEntry | str


def check_state_dir(state_dir: Path) -> None:
    """Raise the ConfigurationError that opening the journal in `state_dir` would raise."""
    PrivateDirectory.open(state_dir / _FOLDER).close()


@asynccontextmanager
async def open_file_journal(
    state_dir: Path, encryption: Encryption, clock: Clock, log: JournalLog
) -> AsyncIterator["FileJournal"]:
    """Hold the journal in `state_dir` for as long as the block lasts. Raises ConfigurationError."""
    directory = await asyncio.to_thread(PrivateDirectory.open, state_dir / _FOLDER)
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="journal")
    try:
        journal = FileJournal(directory, threads, encryption, clock, log)
        await journal.has_room()
        yield journal
    finally:
        await asyncio.to_thread(threads.shutdown)
        directory.close()


class FileJournal:
    """Implements `port.Journal`. Several processes may share the directory."""

    def __init__(
        self,
        directory: PrivateDirectory,
        threads: ThreadPoolExecutor,
        encryption: Encryption,
        clock: Clock,
        log: JournalLog,
    ) -> None:
        self._directory = directory
        self._threads = threads
        self._encryption = encryption
        self._clock = clock
        self._log = log
        self._files = self._bytes = 0
        self._trouble: str | None = None
        self._next_count = clock.now()
        self._unreadable: set[Place] = set()

    async def has_room(self) -> bool:
        """Whether another reply could be kept: the disk takes writes, and the bounds leave room for the largest one.

        Looks at the disk every 10 s, and counts from there what this process adds and removes. The replies of requests
        that were allowed are kept even where they exceed the bounds together.
        """
        now = self._clock.now()
        # A moment before that span says that the clock was set back: nobody would look until it has caught up.
        if not self._next_count - _COUNT_EVERY <= now < self._next_count:
            self._next_count = now + _COUNT_EVERY
            try:
                await self._count(now)
            except JournalUnavailableError:
                return False
        return self._trouble is None and self._fullness() is None

    async def write(self, entry: JournalEntry) -> None:
        """Keep a reply; it is on the disk when this returns. Raises JournalUnavailableError."""
        written = await self._in_thread(lambda: self._seal_and_write(entry))
        if written is None:
            raise JournalUnavailableError("The service's reply is too large to be kept.")
        size, replaced = written
        self._files += replaced is None
        self._bytes += size - (replaced or 0)

    async def find(self, ref: IntegrationRef, seen_version: int) -> JournalEntry | None:
        """The reply that was kept for a row at a version, if there is one and it opens.

        Raises JournalUnavailableError where the disk cannot tell, and UnknownKeyError where there is one that another
        key would open: asking the service instead could spend a token twice.
        """
        place = Place(ref, seen_version)
        content = await self._in_thread(lambda: self._directory.read(place.file_name, _MAX_FILE))
        if content is None:
            return None
        result = self._open(place, content)
        entry = self._reported(place, result)
        if result == UnknownKeyError.code:
            raise UnknownKeyError(content[:KEY_ID_BYTES].hex())
        return entry

    async def remove(self, entry: JournalEntry) -> None:
        """Forget a reply. One that stays because the disk fails does no harm: its version has passed."""
        name = Place(entry.ref, entry.seen_version).file_name
        try:
            size = await self._in_thread(lambda: self._directory.remove(name))
        except JournalUnavailableError:
            return
        if size is not None:
            self._files -= 1
            self._bytes -= size

    async def entries(self) -> tuple[JournalEntry, ...]:
        """All replies that are kept and open, the oldest first. Raises JournalUnavailableError."""
        now = self._clock.now()
        found = await self._in_thread(lambda: list(self._read_all(now)))
        opened = [entry for place, result in found if (entry := self._reported(place, result))]
        return tuple(sorted(opened, key=lambda entry: entry.written_at))

    async def _count(self, now: datetime) -> None:
        files, expired = await self._in_thread(lambda: self._look(now))
        self._files, self._bytes = len(files), sum(files.values())
        self._unreadable.intersection_update(files)
        for place in expired:
            self._log.expired(place.ref, place.seen_version)
        self._note(self._fullness())

    def _look(self, now: datetime) -> tuple[dict[Place, int], list[Place]]:
        """The sizes of what is kept, and what was removed because of its age."""
        self._directory.probe(_MAX_FILE)
        files, expired = {}, []
        for file in self._directory.files(now):
            place = place_of_file(file.name)
            if place is None or file.size > _MAX_FILE:
                continue
            if file.modified_at >= now - KEPT_FOR:
                files[place] = file.size
            elif self._directory.remove(file.name) is not None:
                expired.append(place)
        return files, expired

    def _seal_and_write(self, entry: JournalEntry) -> tuple[int, int | None] | None:
        place = Place(entry.ref, entry.seen_version)
        sealed = self._seal(entry)
        return None if sealed is None else (len(sealed), self._directory.write(place.file_name, sealed))

    def _seal(self, entry: JournalEntry) -> bytes | None:
        """The sealed entry; None where it is too large. Apart from writing, whose errors have frames that stay."""
        try:
            place = place_of(entry.ref, entry.seen_version)
            return self._encryption.seal_bytes(from_object(entry_to_json(entry)), place)
        except UnsealableValueError:
            return None

    def _read_all(self, now: datetime) -> Iterator[tuple[Place, _Result]]:
        for file in self._directory.files(now):
            place = place_of_file(file.name)
            if place is None:
                continue
            try:
                content = self._directory.read(file.name, _MAX_FILE)
            except OSError:
                yield place, JournalUnavailableError.code
                continue
            if content is not None:
                yield place, self._open(place, content)

    def _open(self, place: Place, content: bytes) -> _Result:
        """The entry, or the code that says why it does not open. Nothing is raised that could hold what was opened."""
        if is_blank(content):
            return MalformedEnvelopeError.code
        try:
            opened = orjson.loads(self._encryption.open_bytes(content, place_of(place.ref, place.seen_version)))
            return entry_from_json(opened, place.ref, place.seen_version)
        except DecryptionError as error:
            return error.code
        except orjson.JSONDecodeError:
            return UnexpectedContentError.code

    def _reported(self, place: Place, result: _Result) -> JournalEntry | None:
        """The entry, if that is what it is; what does not open is left where it is, and told once."""
        if isinstance(result, JournalEntry):
            return result
        if place not in self._unreadable:
            self._unreadable.add(place)
            self._log.unreadable(place.ref, place.seen_version, result)
        return None

    def _fullness(self) -> str | None:
        if self._files >= MAX_FILES or self._bytes + _MAX_FILE > MAX_BYTES:
            return f"it holds {self._files} replies in {self._bytes} bytes"
        return None

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and self._trouble is None:
            self._log.unavailable(trouble)
        self._trouble = trouble

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Do what waits for the disk. Raises JournalUnavailableError where it fails."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            self._note(error.strerror or type(error).__name__)
            self._next_count = min(self._next_count, self._clock.now() + _RETRY_AFTER)
            raise JournalUnavailableError from None
