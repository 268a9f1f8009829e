"""What a service said about this server's own registration, remembered for a minute.

A wrong client secret makes every connection's refresh fail alike. A few answers are enough to know it: asking for each
of ten thousand connections would be a storm, and some services block a client for it. One user's answers are not
enough, for a user may bring a token that was issued to another client, and would so keep everybody else waiting.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from ..core.errors import ProviderUnavailableError
from ..core.service import ServiceDefinition

REMEMBERED: Final = timedelta(seconds=60)
ENOUGH: Final = 3
"""Users whose requests were refused, with nobody's accepted in between."""
_MOST: Final = 1_000
"""Tenants are many, and each may refuse the client; beyond this number the oldest is forgotten."""


@dataclass(slots=True)
class _Refusals:
    users: set[UUID] = field(default_factory=set)
    until: datetime | None = None


class RefusedClients:
    """Remembers refusals by service and tenant, in this process."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, str], _Refusals] = {}

    def refused(self, service: ServiceDefinition, tenant: str, user_id: UUID, now: datetime) -> None:
        """A service refused the client just now."""
        refusals = self._refusals.setdefault((service.name, tenant), _Refusals())
        if len(refusals.users) < ENOUGH:
            refusals.users.add(user_id)
        if len(refusals.users) >= ENOUGH:
            refusals.until = now + REMEMBERED
        if len(self._refusals) > _MOST:
            del self._refusals[next(iter(self._refusals))]

    def accepted(self, service: ServiceDefinition, tenant: str) -> None:
        """A service knew the client: whatever it refuses is not the client."""
        self._refusals.pop((service.name, tenant), None)

    def check(self, service: ServiceDefinition, tenant: str, now: datetime) -> None:
        """Raise ProviderUnavailableError while it is known that the service would refuse; then one more may ask."""
        refusals = self._refusals.get((service.name, tenant))
        if refusals is None or refusals.until is None:
            return
        if now < refusals.until:
            raise ProviderUnavailableError(
                "The service does not accept this server's client id or secret. Its operator has been told.",
                retry_after=refusals.until - now,
            )
        refusals.until = now + REMEMBERED
