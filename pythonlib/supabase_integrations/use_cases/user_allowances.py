"""How much of what a service allows for all users together one of them may use up."""

from collections.abc import Iterable
from uuid import UUID

from ..core.service import ServiceDefinition
from ..core.service_kinds import LimitScope
from .rate_limiter import RateLimiter


class UserAllowances:
    """A line for each user, in front of the one that they share. Services that count otherwise have none."""

    def __init__(self, limiter: RateLimiter, services: Iterable[ServiceDefinition]) -> None:
        self._limiter = limiter
        self._lines: dict[str, str] = {}
        for service in services:
            rule = service.rate_limit
            if rule is not None and rule.per is LimitScope.SERVICE:
                line = self._lines[service.name] = f"{service.name}.user"
                requests = max(1, int(rule.requests * rule.user_share))
                limiter.set_config(line, max_requests=requests, window=rule.window_s, per=LimitScope.ACCOUNT)

    async def acquire(self, service_name: str, user_id: UUID) -> None:
        """Return when a call of this user may ask for its turn among all. Raises RateLimitedError."""
        line = self._lines.get(service_name)
        if line is not None:
            await self._limiter.acquire(line, account=str(user_id))
