"""Connections that were opened a moment ago, so that a page full of calls reads its row once.

What was opened is kept for at most five seconds, for exactly the caller whose token opened it; a change that is made
through this process ends that at once. Elsewhere a pause, a deletion or a new token takes effect after those seconds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from ..core.api_auth import Authorization, authorization
from ..core.credentials import OAuthCredentials
from ..core.models import Integration, IntegrationRef
from ..core.oauth_messages import OAuthClient
from ..core.service import ServiceDefinition
from ..core.service_kinds import LimitScope
from ..port import Clock, CredentialStore
from ..single_flight import SingleFlight
from .refresher import Refresher
from .renewal import OpenIntegration

KEPT: Final = timedelta(seconds=5)
"""As long as a session check is remembered: a sign-out takes no longer to be noticed than a pause."""


@dataclass(frozen=True, slots=True)
class Door:
    """Through which store, and so under whose rights, which row is reached."""

    store: CredentialStore = field(repr=False)
    ref: IntegrationRef

    @property
    def name(self) -> bytes:
        """Tells doors to the same row apart without holding a token; the worker's has none."""
        caller = self.store.caller
        return sha256(caller.access_token.get_secret_value().encode()).digest() if caller else b""


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """An opened row, and what shows its credentials to its service."""

    opened: OpenIntegration
    authorization: Authorization
    ends_at: datetime
    """When it has to be read again, at the latest."""

    @property
    def integration(self) -> Integration:
        """The row."""
        return self.opened.integration

    @property
    def service(self) -> ServiceDefinition:
        """Its service."""
        return self.opened.service

    @property
    def tenant(self) -> str:
        """The tenant as it was sealed."""
        return self.opened.payload.tenant

    @property
    def account(self) -> str:
        """Whom the service counts the calls for: the account, or its tenant.

        Or this connection, where the service has not said that they are its owner's: a key may be for any account that
        its owner names, and so may a tenant be any that did not give the token itself.
        """
        name, tenant, service = self.integration.external_account_id, self.tenant, self.service
        if not name or not isinstance(self.opened.payload.credentials, OAuthCredentials):
            return str(self.integration.id)
        if not tenant:
            return name
        is_owners = f"{{{service.tenant_param}}}" in service.token_endpoint
        if name == tenant:
            return tenant if is_owners else str(self.integration.id)
        is_counted = service.rate_limit is not None and service.rate_limit.per is LimitScope.TENANT
        return tenant if is_owners and is_counted else f"{tenant} {name}"


class OpenConnections:
    """Opens connections and keeps them for a moment. A process has one, in which every caller has keys of their own."""

    def __init__(self, refresher: Refresher, client_of: Callable[[str], OAuthClient | None], clock: Clock) -> None:
        self._refresher = refresher
        self._client_of = client_of
        self._clock = clock
        self._kept: dict[IntegrationRef, dict[bytes, OpenConnection]] = {}
        self._changes = 0
        self._opening: SingleFlight[tuple[IntegrationRef, bytes, int], OpenConnection] = SingleFlight()

    async def get(self, door: Door) -> OpenConnection:
        """The connection, with credentials that hold. Raises as `Refresher.fresh` does."""
        kept = self._kept.get(door.ref, {}).get(door.name)
        if kept is not None and self._clock.now() < kept.ends_at:
            return kept
        # Whoever comes after a change does not wait for what was begun before it.
        flight = (door.ref, door.name, self._changes)
        return await self._opening.run(flight, lambda: self._open(door, requested=False))

    async def renewed(self, door: Door, refused: OpenConnection) -> OpenConnection:
        """The connection after its service refused these credentials: as somebody else has renewed it meanwhile, or
        renewed now. Raises ReauthorizationRequiredError where there is nothing to renew it with.
        """
        self.forget(door.ref)
        found = await self._open(door, requested=False)
        if found.opened.payload.credentials != refused.opened.payload.credentials:
            return found
        self.forget(door.ref)
        return await self._open(door, requested=True)

    def forget(self, ref: IntegrationRef) -> None:
        """A connection has changed: whoever kept it, or is just reading it, opens it anew."""
        self._changes += 1
        self._kept.pop(ref, None)

    async def _open(self, door: Door, *, requested: bool) -> OpenConnection:
        changes, now = self._changes, self._clock.now()
        opened = await self._refresher.fresh(door.store, door.ref.id, requested=requested)
        credentials = opened.payload.credentials
        shown = authorization(opened.service, credentials, self._client_of(opened.service.name))
        ends_at = now + KEPT
        if isinstance(credentials, OAuthCredentials) and credentials.expires_at is not None:
            ends_at = min(ends_at, credentials.expires_at)
        connection = OpenConnection(opened, shown, ends_at)
        if self._changes == changes:
            # Otherwise it may have been read before the change.
            self._keep(door, connection)
        return connection

    def _keep(self, door: Door, connection: OpenConnection) -> None:
        self._kept.setdefault(door.ref, {})[door.name] = connection
        # Nobody may come for it again, and an opened token is not left in memory for that.
        asyncio.get_running_loop().call_later(KEPT.total_seconds(), self._drop, door.ref, door.name, connection)

    def _drop(self, ref: IntegrationRef, name: bytes, connection: OpenConnection) -> None:
        doors = self._kept.get(ref, {})
        if doors.get(name) is connection:
            del doors[name]
            if not doors:
                del self._kept[ref]
