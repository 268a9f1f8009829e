"""What a service said about this server's own registration, remembered for a minute.

A wrong client secret makes every connection's refresh fail alike. One answer is enough to know it: asking for each of
ten thousand connections would be a storm, and some services block a client for it.
"""

from datetime import datetime, timedelta
from typing import Final

from ..core.errors import InvalidClientError
from ..core.service import ServiceDefinition

REMEMBERED: Final = timedelta(seconds=60)
_MOST: Final = 1_000
"""Tenants are many, and each may refuse the client; beyond this number the oldest is forgotten."""


class RefusedClients:
    """Remembers refusals by service and tenant, in this process."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, str], tuple[datetime, str, int]] = {}

    def note(self, error: InvalidClientError, service: ServiceDefinition, tenant: str, now: datetime) -> None:
        """A service refused the client just now."""
        self._refusals[service.name, tenant] = (now + REMEMBERED, error.error, error.status)
        while len(self._refusals) > _MOST:
            del self._refusals[next(iter(self._refusals))]

    def check(self, service: ServiceDefinition, tenant: str, now: datetime) -> None:
        """Raise the same InvalidClientError again while it is remembered, instead of asking once more."""
        until, code, status = self._refusals.get((service.name, tenant), (now, "", 0))
        if now < until:
            raise InvalidClientError(code, status=status)
        self._refusals.pop((service.name, tenant), None)
