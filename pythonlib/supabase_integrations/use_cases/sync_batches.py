"""Gathers records into batches that are written with where the list goes on after them."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

from ..core.errors import InvalidValueError, QuotaExceededError
from ..core.json_types import JsonObject
from ..core.sync import SkipReason, SyncRecord, SyncRef, record_of
from ..port_sync import SyncLog, SyncStore

BATCH_RECORDS: Final = 500
_BATCH_BYTES: Final = 4 * 1024 * 1024


class Counts(Protocol):
    """Where what an attempt did is added up."""

    records: int
    skipped: int
    is_partial: bool


class SyncBatches:
    """The batches of one attempt, of which one is held at a time.

    Pages are as large as services make them: a batch may be several pages or a part of one. `cursor` is where the page
    begins that is being gathered, and what is stored with a batch: after a kill that page is asked for again, and its
    records take their own places.
    """

    def __init__(
        self,
        store: SyncStore,
        ref: SyncRef,
        owner: UUID,
        log: SyncLog,
        counts: Counts,
        *,
        cursor: str | None,
        stored: int,
    ) -> None:
        self.cursor = self._stored_cursor = cursor
        self.stored = stored
        self.has_begun = False
        self._store = store
        self._ref = ref
        self._owner = owner
        self._log = log
        self._counts = counts
        self._batch: dict[str, SyncRecord] = {}
        self._bytes = 0
        self._skipped: Counter[SkipReason] = Counter()
        self._moved = False

    async def add(self, found: JsonObject, id_of: Callable[[JsonObject], object]) -> None:
        """Put a record into the batch, or count it where it cannot be stored."""
        self.has_begun = True
        record = record_of(found, id_of(found))
        if isinstance(record, SkipReason):
            self._skipped[record] += 1
            return
        self._batch[record.external_id] = record
        self._bytes += len(record.data)
        if len(self._batch) >= BATCH_RECORDS or self._bytes >= _BATCH_BYTES:
            await self.flush()

    async def end_page(self, cursor: str | None, *, is_partial: bool = False) -> None:
        """The page is gathered, and the next one begins at `cursor`; None after the last one. `is_partial`: the service
        has refused a part of the list.
        """
        self.has_begun = True
        self._counts.is_partial |= is_partial
        if cursor is not None:
            self.cursor, self._moved = cursor, True

    async def flush(self) -> None:
        """Write the batch, and where the list goes on."""
        if not (self._batch or self._skipped or self._moved):
            return
        records, skipped = tuple(self._batch.values()), self._skipped
        self._batch, self._bytes, self._skipped, self._moved = {}, 0, Counter(), False
        await self._write(records, self.cursor, skipped.total())
        for reason, count in skipped.items():
            self._log.skipped(self._ref, reason, count)
        self._counts.skipped += skipped.total()

    def restart(self) -> None:
        """The list is asked for from its beginning."""
        self.cursor = self._stored_cursor = None
        self.stored = 0

    async def _write(self, records: Sequence[SyncRecord], cursor: str | None, skipped: int) -> None:
        """Where the database refuses a batch, its halves are tried: one record must not keep the others out."""
        try:
            await self._store.write(self._ref, self._owner, records, cursor=cursor, skipped=skipped)
        except (InvalidValueError, QuotaExceededError):
            if not records:
                raise
            if len(records) == 1:
                self._log.skipped(self._ref, SkipReason.REFUSED, 1)
                self._counts.skipped += 1
                await self._write((), cursor, skipped + 1)
                return
            middle = len(records) // 2
            # Between the halves the list still goes on before both.
            await self._write(records[:middle], self._stored_cursor, 0)
            await self._write(records[middle:], cursor, skipped)
            return
        self._stored_cursor = cursor
        self.stored += len(records)
        self._counts.records += len(records)
