"""What the worker tells its operator, as log lines."""

from typing import Final

from ..core.errors import IntegrationError
from ..core.models import IntegrationRef
from .refresh_counts import RefreshCounts
from .structured_log import StructuredLog

_REPORT: Final = (
    "A mistake of this software: report it with this line. The connection is tried again by itself;"
    " `integrations explain` tells how it is."
)


class StructuredWorkerLog:
    """Implements the worker's log and that of what it listens to."""

    def __init__(self, refreshes: RefreshCounts) -> None:
        self._refreshes = refreshes
        self._log = StructuredLog("worker")
        self._claimed = self._claims = self._most_in_flight = 0

    def waiting(self, reason: str) -> None:
        """The database cannot be reached at the start; it is tried for a while."""
        self._log.warning("worker.waiting_for_the_database", reason=reason)

    def started(self, *, concurrency: int) -> None:
        """The worker works."""
        self._log.info("worker.started", concurrency=concurrency)

    def stopping(self, *, in_flight: int) -> None:
        """Nothing more is claimed."""
        self._log.info("worker.stopping", in_flight=in_flight)

    def stopped(self, *, unfinished: int) -> None:
        """The worker has ended."""
        self._log.info("worker.stopped", unfinished=unfinished)

    def claimed(self, rows: int, *, in_flight: int) -> None:
        """Rows were leased; told in the totals."""
        self._claims += 1
        self._claimed += rows
        self._most_in_flight = max(self._most_in_flight, in_flight)

    def database_away(self, error: IntegrationError, *, retry_in: float) -> None:
        """The database cannot be worked with."""
        self._log.warning("worker.database_away", code=error.code, reason=str(error), retry_in=round(retry_in, 1))

    def database_back(self) -> None:
        """It can again."""
        self._log.info("worker.database_back")

    def crashed(self, ref: IntegrationRef, error: Exception) -> None:
        """Its kind only: the message of an unforeseen error may hold what was being worked on."""
        named = error.code if isinstance(error, IntegrationError) else type(error).__name__
        self._log.error(
            "credential.refresh_crashed",
            integration_id=str(ref.id),
            user_id=str(ref.user_id),
            error=named,
            alarm=True,
            advice=_REPORT,
        )

    def purged(self, what: str, rows: int) -> None:
        """So many rows were cleared away."""
        self._log.info("worker.purged", what=what, rows=rows)

    def totals(self, *, in_flight: int) -> None:
        """A minute is over."""
        self._log.info(
            "worker.totals",
            in_flight=in_flight,
            most_in_flight=max(self._most_in_flight, in_flight),
            claims=self._claims,
            claimed=self._claimed,
            **self._refreshes.take(),
        )
        self._claims = self._claimed = self._most_in_flight = 0

    def listening(self) -> None:
        """Announcements are heard."""
        self._log.info("worker.listening")

    def not_listening(self, reason: str, *, retry_in: float) -> None:
        """Announcements are not heard; due rows are found at the next poll."""
        self._log.warning("worker.not_listening", reason=reason, retry_in=round(retry_in, 1))
