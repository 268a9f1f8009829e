"""What the journal tells the operator, through the standard library's logging."""

import logging
from typing import Final

from ..core.journal_entry import JournalEntry
from ..core.models import IntegrationRef

_log: Final = logging.getLogger("supabase_integrations.journal")


class JournalLogger:
    """Implements `port.JournalLog`."""

    def unavailable(self, reason: str) -> None:
        """The journal takes no more replies just now."""
        _log.error("journal.unavailable reason=%r", reason)

    def unreadable(self, ref: IntegrationRef, seen_version: int, code: str) -> None:
        """A reply does not open."""
        _log.error("journal.unreadable %s code=%s", _row(ref, seen_version), code)

    def expired(self, ref: IntegrationRef, seen_version: int) -> None:
        """A reply was removed for its age."""
        _log.warning("journal.expired %s", _row(ref, seen_version))

    def left(self, entry: JournalEntry, code: str) -> None:
        """A reply could not be stored yet."""
        _log.warning("journal.left %s code=%s", _row(entry.ref, entry.seen_version), code)


def _row(ref: IntegrationRef, seen_version: int) -> str:
    return f"integration_id={ref.id} user_id={ref.user_id} version={seen_version}"
