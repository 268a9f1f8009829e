"""Sealing all stored credentials under the primary key, beside running services.

Each batch is complete in itself: whoever starts again, after whatever end, goes on with what is left. Nothing is locked
or leased while a batch is opened and sealed; it is written where the rows are still as they were read, and a row that
a refresh holds is come back to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Final, TypeVar
from uuid import UUID, uuid4

from ..core.encryption import Encryption
from ..core.encryption_errors import UnknownKeyError
from ..core.errors import StoreUnavailableError
from ..core.key_rotation import ResealedRow, RotatingPage, UnreadableRow, reseal
from ..core.keyring import Keyring
from ..core.models import IntegrationRef
from ..core.service import ServiceDefinition
from ..port import Clock, KeptReplies, KeyRotationDatabase
from ..uninterrupted import uninterrupted

LISTED: Final = 200
"""How many unreadable rows are named; the rest is counted."""

_BATCH: Final = 500
"""Rows of one transaction, and so at most that many users."""
_COME_BACK: Final = timedelta(minutes=2)
"""How long rows that others hold are waited for: twice what a lease lasts."""
_COME_BACK_PAUSE: Final = 2.0
_OUTAGE_WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt at a batch while the database is away."""
_ALL_USERS: Final = 1 << 128
_LAST_ID: Final = UUID(int=_ALL_USERS - 1)

Progress = Callable[[int], None]
"""Is told how many more rows have been looked at and need not be come back to."""
T = TypeVar("T")


@dataclass(slots=True)
class RotationReport:
    """What came of a rotation so far. It is filled while the rotation runs, so that an interrupted one has it too."""

    resealed: int = 0
    unreadable: int = 0
    unreadable_rows: list[UnreadableRow] = field(default_factory=list)
    """The first 200 of them."""
    held: int = 0
    """Rows that others were holding whenever they were come to."""

    def add_unreadable(self, row: UnreadableRow) -> None:
        """Count a row, and name it if it is one of the first."""
        self.unreadable += 1
        if len(self.unreadable_rows) < LISTED:
            self.unreadable_rows.append(row)

    def begin_pass(self) -> None:
        """Forget what the pass before left, for this one will find it again."""
        self.unreadable = self.held = 0
        self.unreadable_rows.clear()


class KeyRotation:
    """Re-seals what is sealed under any other key than the primary one. `lanes` batches are under way at once."""

    def __init__(
        self,
        database: KeyRotationDatabase,
        kept_replies: KeptReplies,
        keyring: Keyring,
        services: Mapping[str, ServiceDefinition],
        clock: Clock,
        *,
        lanes: int,
    ) -> None:
        self._database = database
        self._kept_replies = kept_replies
        self._keyring = keyring
        self._encryption = Encryption(keyring)
        self._services = services
        self._clock = clock
        self._lanes = lanes

    async def run(self, report: RotationReport, progress: Progress) -> None:
        """Re-seal every row that opens, and come back to rows that others hold for up to two minutes.

        `report` says afterwards what is left. Raises StoreUnavailableError where the database stays away.
        """
        give_up_at = None
        while True:
            report.begin_pass()
            counts = await self._persistently(self._database.count_by_key)
            for key_id in sorted(counts.keys() - {self._keyring.primary_id}):
                if key_id in self._keyring.key_ids:
                    await self._reseal_key(key_id, report, progress)
                else:
                    await self._name_unknown(key_id, counts[key_id], report)
            if not report.held:
                return
            give_up_at = give_up_at or self._clock.now() + _COME_BACK
            if self._clock.now() >= give_up_at:
                return
            await self._clock.sleep(_COME_BACK_PAUSE)

    async def _reseal_key(self, key_id: str, report: RotationReport, progress: Progress) -> None:
        """One pass over a key's rows, in as many lanes as there are: each has an equal part of all possible users."""
        bounds = [_ALL_USERS * lane // self._lanes for lane in range(self._lanes + 1)]
        try:
            async with asyncio.TaskGroup() as lanes:
                for first, end in pairwise(bounds):
                    before = IntegrationRef(UUID(int=first - 1), _LAST_ID) if first else None
                    lanes.create_task(self._lane(key_id, before, UUID(int=end - 1), report, progress))
        except ExceptionGroup as group:
            # The others were cancelled for the first of them.
            raise group.exceptions[0] from None

    async def _lane(
        self, key_id: str, after: IntegrationRef | None, last_user: UUID, report: RotationReport, progress: Progress
    ) -> None:
        while True:
            listed = await self._persistently(lambda: self._database.list_sealed_under(key_id, after, _BATCH))  # noqa: B023
            refs = [ref for ref in listed if ref.user_id <= last_user]
            if not refs:
                return
            after = await self._persistently(lambda: self._batch(key_id, refs, report, progress))  # noqa: B023

    async def _batch(
        self, key_id: str, refs: Sequence[IntegrationRef], report: RotationReport, progress: Progress
    ) -> IntegrationRef:
        """Re-seal some of the rows; the position from which to go on."""
        page = await self._database.read_sealed_under(key_id, refs)
        resealed: list[ResealedRow] = []
        unreadable: list[UnreadableRow] = []
        free = await self._free(page)
        for row in page.rows:
            if row.ref not in free:
                continue
            match reseal(row, self._services, self._encryption):
                case ResealedRow() as sealed:
                    resealed.append(sealed)
                case UnreadableRow() as closed:
                    unreadable.append(closed)
        written = 0
        if resealed:
            # Between the leases and the end of the write a cancellation would leave rows leased, and nobody would
            # touch them for a minute and a half.
            written = await uninterrupted(self._write(resealed, report, progress))
        for closed in unreadable:
            report.add_unreadable(closed)
        report.held += len(page.rows) - len(unreadable) - written
        return page.position

    async def _write(self, resealed: Sequence[ResealedRow], report: RotationReport, progress: Progress) -> int:
        written = await self._database.write_resealed(resealed, uuid4())
        report.resealed += written
        progress(written)
        return written

    async def _free(self, page: RotatingPage) -> set[IntegrationRef]:
        """The rows that nobody holds and that no journal of this machine has something for.

        Writing their next version would fence out what is kept, and the token in it would be lost.
        """
        free = {row.ref for row in page.rows if not row.is_held}
        abandoned = [row for row in page.rows if row.was_abandoned and not row.is_held]
        if abandoned:
            kept = await self._kept_replies.keys()
            free -= {row.ref for row in abandoned if (row.ref, row.version) in kept}
        return free

    async def _name_unknown(self, key_id: str, count: int, report: RotationReport) -> None:
        """Count the rows of a key that is not here; the first of them are named."""
        room = LISTED - len(report.unreadable_rows)
        named: tuple[IntegrationRef, ...] = ()
        if room:
            named = await self._persistently(lambda: self._database.list_sealed_under(key_id, None, room))
        for ref in named:
            report.add_unreadable(UnreadableRow(ref, UnknownKeyError.code))
        report.unreadable += max(count - len(named), 0)

    async def _persistently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again over a short outage. A batch that was written although its answer was lost is no longer listed."""
        for wait in _OUTAGE_WAITS:
            try:
                return await ask()
            except StoreUnavailableError:
                await self._clock.sleep(wait)
        return await ask()
