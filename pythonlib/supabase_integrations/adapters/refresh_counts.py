"""How many refreshes came to what, counted on their way to the log."""

from collections import Counter

from ..core.errors import IntegrationError
from ..core.models import Integration, RefreshFailure
from ..port import RefreshLog


class RefreshCounts:
    """Implements `port.RefreshLog` over another one."""

    def __init__(self, log: RefreshLog) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()

    def take(self) -> dict[str, int]:
        """What was counted since the last time."""
        counts, self._counts = dict(self._counts), Counter()
        return counts

    def refreshed(self, row: Integration, *, reason: str, seconds: float) -> None:
        """New credentials are stored."""
        self._counts["refreshed"] += 1
        self._log.refreshed(row, reason=reason, seconds=seconds)

    def failed(self, row: Integration, failure: RefreshFailure, error: IntegrationError, *, seconds: float) -> None:
        """A refresh failed; counted as a whole and by its code."""
        self._counts["failed"] += 1
        self._counts[f"failed_{failure.error_code}"] += 1
        self._log.failed(row, failure, error, seconds=seconds)

    def replayed(self, row: Integration) -> None:
        """A reply that a journal had kept is stored."""
        self._counts["replayed"] += 1
        self._log.replayed(row)

    def kept(self, row: Integration) -> None:
        """A new token could not be stored yet; the journal keeps it."""
        self._counts["kept"] += 1
        self._log.kept(row)

    def not_kept(self, row: Integration) -> None:
        """The journal could not keep a new token."""
        self._counts["not_kept"] += 1
        self._log.not_kept(row)

    def refused(self, row: Integration, code: str) -> None:
        """The database would not take a new token."""
        self._counts["not_stored"] += 1
        self._log.refused(row, code)

    def skipped(self, row: Integration, code: str) -> None:
        """The service was not asked; counted as a whole and by the reason."""
        self._counts["skipped"] += 1
        self._counts[f"skipped_{code}"] += 1
        self._log.skipped(row, code)
