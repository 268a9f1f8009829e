"""What the use cases need of the outside world. Adapters implement these protocols, and unit tests have fakes."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from .core.http_messages import HttpReply, HttpRequest
from .core.models import (
    Caller,
    CredentialReplacement,
    Integration,
    IntegrationChanges,
    IntegrationEvent,
    IntegrationPage,
    ListQuery,
    NewIntegration,
    PendingAuthorization,
    RefreshFailure,
    SealedIntegration,
)


class UserStore(Protocol):
    """The tables as one signed-in user sees them. Row level security decides; nothing here filters by owner.

    Every method may raise `StoreUnavailableError`, `SchemaMissingError`, `UnauthenticatedError` (the token expired on
    the way) and `ForbiddenError`. An unknown id and somebody else's id both raise `IntegrationNotFoundError`.
    """

    async def list_integrations(self, query: ListQuery) -> IntegrationPage:
        """One page of the user's integrations."""
        ...

    async def get_integration(self, integration_id: UUID) -> Integration:
        """One integration without its credentials."""
        ...

    async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
        """One integration with its envelope."""
        ...

    async def find_account(self, service_name: str, external_account_id: str) -> Integration | None:
        """The integration of one account at one service, if it is connected."""
        ...

    async def insert_integration(self, new: NewIntegration) -> Integration:
        """Store a new row. Raises DuplicateIntegrationError, QuotaExceededError, InvalidValueError."""
        ...

    async def update_integration(self, integration_id: UUID, changes: IntegrationChanges) -> Integration:
        """Change what does not touch credentials. Raises QuotaExceededError, InvalidValueError."""
        ...

    async def delete_integration(self, integration_id: UUID) -> None:
        """Delete a row."""
        ...

    async def take_lease(self, integration_id: UUID, owner: UUID) -> SealedIntegration:
        """Become the one who may replace the credentials, for the 60 s that the database grants; the row as it is then.

        Raises IntegrationBusyError while somebody else's lease lives.
        """
        ...

    async def replace_credentials(
        self, integration_id: UUID, replacement: CredentialReplacement, *, lease_owner: UUID, seen_version: int
    ) -> Integration:
        """Write new credentials and end the lease, if lease and version are still what this caller knows.

        Raises IntegrationBusyError where it is not: nothing was written.
        """
        ...

    async def record_failure(
        self, integration_id: UUID, failure: RefreshFailure, *, lease_owner: UUID, seen_version: int
    ) -> None:
        """Note a failed refresh and end the lease, if lease and version are still what this caller knows.

        Silent where they are not: whoever came after knows better.
        """
        ...

    async def release_lease(self, integration_id: UUID, owner: UUID) -> None:
        """End the lease if it is still `owner`'s; silent where it is not."""
        ...

    async def insert_state(self, state_hash: str, flow: str, integration_id: UUID | None) -> None:
        """Remember a started authorization. Raises QuotaExceededError, or IntegrationNotFoundError for a foreign id."""
        ...

    async def consume_state(self, state_hash: str) -> PendingAuthorization | None:
        """Delete and return the user's state in one statement; None if it is unknown, foreign or used."""
        ...

    async def list_events(
        self, integration_id: UUID, *, before: int | None, limit: int
    ) -> tuple[IntegrationEvent, ...]:
        """The newest events of one integration, older than the event id `before`."""
        ...


class UserStores(Protocol):
    """Opens the tables for one caller. Cheap: one store for each request, never shared between callers."""

    def for_caller(self, caller: Caller) -> UserStore:
        """A store that carries this caller's token and nobody else's."""
        ...


class ProviderHttp(Protocol):
    """Sends one request to a third-party service."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send it once, without following redirects, and return the reply whatever its status.

        Raises ProviderUnavailableError when no reply came (DNS, connection, TLS, timeout, too large a body) or the
        address is not one that may be called.
        """
        ...


class TokenVerifier(Protocol):
    """Establishes who is calling."""

    async def verify(self, access_token: str) -> Caller:
        """The user a Supabase access token was issued to. Raises UnauthenticatedError, ForbiddenError,
        AuthUnavailableError.
        """
        ...


class SessionChecker(Protocol):
    """Asks whether a caller's session still exists; a JWT outlives a sign-out."""

    async def require_session(self, caller: Caller) -> None:
        """Return if the session lives. Raises UnauthenticatedError (`session_ended`) or AuthUnavailableError."""
        ...


class Clock(Protocol):
    """Time, so that tests can move it."""

    def now(self) -> datetime:
        """The current moment, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
