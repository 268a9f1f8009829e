"""What syncing needs of the database, and whom it tells what it does."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from .core.sync import SkipReason, SyncRecord, SyncRef, SyncState


class SyncStore(Protocol):
    """Records and cursors, as the worker's role reaches them: each call declares the one user it is for.

    Every method may raise `StoreUnavailableError`, `SchemaMissingError` and `ForbiddenError`; those that take a lease's
    `owner` raise `SyncTakenOverError` where the lease is no longer that owner's, and then nothing is written.
    """

    async def claim_due(self, limit: int, owner: UUID, served: Sequence[UUID]) -> tuple[SyncRef, ...]:
        """Lease up to `limit` (1 to 100) due syncs to `owner`, fairly across users, of whom those in `served` (up to
        500) had a turn before, once for each time that they are in it.
        """
        ...

    async def add(self, ref: SyncRef) -> None:
        """Have a resource synced from now on; silent where it is.

        Raises IntegrationNotFoundError, QuotaExceededError.
        """
        ...

    async def begin(self, ref: SyncRef, owner: UUID) -> SyncState:
        """Become the one who syncs, for two minutes. Raises SyncBusyError while somebody else is at it."""
        ...

    async def keep(self, ref: SyncRef, owner: UUID) -> None:
        """Stay it for two more minutes."""
        ...

    async def start_run(self, ref: SyncRef, owner: UUID, changes_since: datetime | None) -> None:
        """Begin a run at the beginning of the list, now."""
        ...

    async def write(
        self, ref: SyncRef, owner: UUID, records: Sequence[SyncRecord], *, cursor: str | None, skipped: int
    ) -> None:
        """Store records, each id once, and in the same transaction where the run goes on after them.

        Raises InvalidValueError or QuotaExceededError where the database refuses one of them: then none is stored.
        """
        ...

    async def remove_unseen(self, ref: SyncRef, owner: UUID, limit: int) -> int:
        """Delete up to `limit` records that were last given before the run began; how many went."""
        ...

    async def finish(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, complete: bool) -> None:
        """End the run and the lease, and say that the connection was used; `complete` where everything was read."""
        ...

    async def pause(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, error_code: str | None) -> None:
        """End the lease; the run goes on later. An error counts as one more failure in a row."""
        ...


class SyncLog(Protocol):
    """Is told what became of syncs: ids, names, counts and codes, nothing of what records hold."""

    def finished(self, ref: SyncRef, *, records: int, skipped: int, removed: int, complete: bool) -> None:
        """A run is at its end; `complete` where everything was read."""
        ...

    def skipped(self, ref: SyncRef, reason: SkipReason, count: int) -> None:
        """So many records of a batch could not be stored."""
        ...

    def paused(self, ref: SyncRef, *, records: int, wait: timedelta) -> None:
        """A run goes on after so long: the service wants calls to wait, or it is others' turn."""
        ...

    def failed(self, ref: SyncRef, code: str, *, retry_in: timedelta) -> None:
        """A run ended with an error, and goes on after so long. An unforeseen error is told by its kind alone."""
        ...

    def database_away(self, code: str) -> None:
        """No due syncs can be asked for just now."""
        ...
