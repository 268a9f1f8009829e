"""What became of refreshes, one structured line each: ids, codes and times, never a token.

What only the operator can mend is an alarm: an error line with `alarm`, once for a service and a code in ten minutes
with the number of connections it concerned, so that a wrong client secret is one message and not ten thousand.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..core.errors import (
    IntegrationError,
    InvalidClientError,
    JournalUnavailableError,
    ServiceNotConfiguredError,
    TokenEndpointError,
)
from ..core.models import Integration, IntegrationStatus, RefreshFailure
from ..port import Clock
from .structured_log import StructuredLog

ALARM_EVERY: Final = timedelta(minutes=10)

_CHECK_CLIENT: Final = "Check the client id and secret of this service: `integrations services` names the settings."
_COMPARE_SERVICE: Final = (
    "`service_error` of credential.refresh_failed names what was refused: compare the service's entry in the catalogue"
    " with its documentation, and the app's permissions there."
)
_LOOK_UP: Final = (
    "Something is missing in this process's environment: docs/troubleshooting.md says what the code means."
)
_MISSING_HERE: Final = frozenset({ServiceNotConfiguredError.code, JournalUnavailableError.code})
"""What is an alarm. Rows that do not open are none: users can write such rows, and must not be able to raise alarms."""

_WORD: Final = re.compile(r"[a-z]{1,20}(_[a-z]{1,20}){0,3}")

_log: Final = StructuredLog("refresh")


@dataclass(slots=True)
class _Alarm:
    """When one was raised last, and how many connections it concerned since."""

    raised_at: datetime
    unreported: int = 0


class RefreshLogger:
    """Implements `port.RefreshLog`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarms: dict[tuple[str, str], _Alarm] = {}

    def refreshed(self, row: Integration, *, reason: str, seconds: float) -> None:
        """New credentials are stored."""
        _log.info("credential.refreshed", **_named(row), reason=reason, seconds=round(seconds, 3))

    def failed(self, row: Integration, failure: RefreshFailure, error: IntegrationError, *, seconds: float) -> None:
        """A refresh failed with this error, and this is what was recorded."""
        _log.warning(
            "credential.refresh_failed",
            **_named(row),
            code=failure.error_code,
            **_answered(error),
            status=failure.status or row.status,
            failures=failure.failures,
            next_refresh_at=failure.next_refresh_at.isoformat() if failure.next_refresh_at else None,
            seconds=round(seconds, 3),
        )
        if failure.status is IntegrationStatus.ERROR:
            # At the first connection: where users are few, waiting for others to be refused would tell nobody.
            advice = _CHECK_CLIENT if failure.error_code == InvalidClientError.code else _COMPARE_SERVICE
            self._raise_alarm("service.refuses_this_server", row.service_name, failure.error_code, advice)

    def replayed(self, row: Integration) -> None:
        """A reply that a journal had kept is stored."""
        _log.info("credential.replayed", **_named(row))

    def kept(self, row: Integration) -> None:
        """A new token could not be stored yet; the journal keeps it."""
        _log.warning("credential.kept_in_journal", **_named(row))

    def not_kept(self, row: Integration) -> None:
        """The journal could not keep a new token."""
        _log.error("credential.not_kept_in_journal", **_named(row))

    def refused(self, row: Integration, code: str) -> None:
        """The database would not take a new token."""
        _log.warning("credential.not_stored", **_named(row), code=code)

    def skipped(self, row: Integration, code: str) -> None:
        """The service was not asked, for what this code means."""
        _log.warning("credential.refresh_skipped", **_named(row), code=code)
        if code in _MISSING_HERE:
            self._raise_alarm("service.cannot_be_asked_here", row.service_name, code, _LOOK_UP)

    def _raise_alarm(self, event: str, service_name: str, code: str, advice: str) -> None:
        now = self._clock.now()
        alarm = self._alarms.get((service_name, code))
        if alarm is not None and now - alarm.raised_at < ALARM_EVERY:
            alarm.unreported += 1
            return
        concerned = 1 + (alarm.unreported if alarm else 0)
        self._alarms[service_name, code] = _Alarm(now)
        _log.error(
            event,
            alarm=True,
            service_name=service_name,
            code=code,
            connections=concerned,
            advice=advice,
        )


def _answered(error: IntegrationError) -> dict[str, str | int]:
    """What a token endpoint said, where that is a word: a service may put anything there, the token it was shown as
    well.
    """
    if not isinstance(error, TokenEndpointError):
        return {}
    word = error.error if _WORD.fullmatch(error.error) else "unknown_error"
    return {"service_error": word, "service_status": error.status}


def _named(row: Integration) -> dict[str, str]:
    return {"integration_id": str(row.id), "user_id": str(row.user_id), "service_name": row.service_name}
