"""What became of syncs, as log lines: ids, names, counts and codes, nothing of what records hold."""

from datetime import timedelta

from ..core.sync import SkipReason, SyncRef
from .structured_log import StructuredLog


class StructuredSyncLog:
    """Implements `port_sync.SyncLog`."""

    def __init__(self) -> None:
        self._log = StructuredLog("sync")

    def finished(self, ref: SyncRef, *, records: int, skipped: int, removed: int, complete: bool) -> None:
        """A run is at its end."""
        self._log.info(
            "sync.finished", **_named(ref), records=records, skipped=skipped, removed=removed, complete=complete
        )

    def skipped(self, ref: SyncRef, reason: SkipReason, count: int) -> None:
        """So many records of a batch could not be stored."""
        self._log.warning("sync.records_skipped", **_named(ref), reason=reason.value, count=count)

    def paused(self, ref: SyncRef, *, records: int, wait: timedelta) -> None:
        """A run goes on after so long."""
        self._log.info("sync.paused", **_named(ref), records=records, wait_seconds=round(wait.total_seconds(), 1))

    def failed(self, ref: SyncRef, code: str, *, retry_in: timedelta) -> None:
        """A run ended with an error, and goes on after so long."""
        self._log.warning("sync.failed", **_named(ref), code=code, retry_in=round(retry_in.total_seconds(), 1))

    def database_away(self, code: str) -> None:
        """No due syncs can be asked for just now."""
        self._log.warning("sync.database_away", code=code)


def _named(ref: SyncRef) -> dict[str, str]:
    return {
        "user_id": str(ref.user_id),
        "integration_id": str(ref.integration.id),
        "resource": ref.resource,
    }
