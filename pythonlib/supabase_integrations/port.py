"""What the use cases need of the outside world. Adapters implement these protocols, and unit tests have fakes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from .core.errors import IntegrationError
from .core.http_messages import HttpReply, HttpRequest
from .core.journal_entry import JournalEntry
from .core.key_rotation import ResealedRow, RotatingPage
from .core.models import (
    Caller,
    CredentialReplacement,
    Integration,
    IntegrationChanges,
    IntegrationEvent,
    IntegrationPage,
    IntegrationRef,
    IntegrationStatus,
    ListQuery,
    NewIntegration,
    PendingAuthorization,
    RefreshFailure,
    SealedIntegration,
)


class CredentialStore(Protocol):
    """One user's credentials and the leases under which they change, through either door: the user's own token, or
    the worker's declaration of the user.

    Every method may raise `StoreUnavailableError`, `SchemaMissingError`, `UnauthenticatedError` (the token expired on
    the way) and `ForbiddenError`. An unknown id and somebody else's id both raise `IntegrationNotFoundError`.
    """

    @property
    def caller(self) -> Caller | None:
        """Whose token opens this door; None where the worker's role does."""
        ...

    async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
        """One integration with its envelope."""
        ...

    async def take_lease(self, integration_id: UUID, owner: UUID) -> SealedIntegration:
        """Become the one who may replace the credentials, for the 60 s that the database grants; the row as it is then.

        Raises IntegrationBusyError while somebody else's lease lives, and 15 s longer where it was not given back.
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

        Silent where they are not: whoever came after knows better. A pause that the failure spares is still one.
        """
        ...

    async def reschedule(self, integration_id: UUID, next_refresh_at: datetime | None, *, lease_owner: UUID) -> None:
        """Say when the row is due next (None: never) and end the lease, if it is still `lease_owner`'s; silent where
        it is not.
        """
        ...

    async def release_lease(self, integration_id: UUID, owner: UUID) -> None:
        """End the lease if it is still `owner`'s; silent where it is not."""
        ...


class UserStore(CredentialStore, Protocol):
    """The tables as one signed-in user sees them. Row level security decides; nothing here filters by owner."""

    async def list_integrations(self, query: ListQuery) -> IntegrationPage:
        """One page of the user's integrations."""
        ...

    async def get_integration(self, integration_id: UUID) -> Integration:
        """One integration without its credentials."""
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

    async def discard_credentials(
        self,
        integration_id: UUID,
        *,
        status: IntegrationStatus,
        error_code: str | None,
        lease_owner: UUID,
        seen_version: int,
    ) -> Integration:
        """Leave a row without credentials and end the lease, if lease and version are still what this caller knows.

        Raises IntegrationBusyError where they are not: nothing was written.
        """
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


class WorkerDatabase(Protocol):
    """The tables as the worker's role reaches them: which rows are due, and the rows of users it declares.

    Every method may raise `StoreUnavailableError`, `SchemaMissingError` and `ForbiddenError`.
    """

    def for_user(self, user_id: UUID) -> CredentialStore:
        """The credentials of one user, who is declared anew in every transaction. Cheap."""
        ...

    async def claim_due(self, limit: int, lease_owner: UUID, served: Sequence[UUID]) -> tuple[IntegrationRef, ...]:
        """Lease up to `limit` (1 to 500) due rows to `lease_owner`, fairly across users, of whom those in `served` (up
        to 500) had a turn before, once for each time that they are in it.
        """
        ...

    async def get_many_sealed(self, refs: Sequence[IntegrationRef]) -> tuple[SealedIntegration, ...]:
        """The rows, of at most 500 users, in one round trip; what is gone by now is left out."""
        ...

    async def purge_expired_states(self, limit: int) -> int:
        """Delete up to `limit` expired authorizations; how many went."""
        ...

    async def purge_old_events(self, older_than: timedelta, limit: int) -> int:
        """Delete up to `limit` events that are older, at least 30 days; how many went."""
        ...


class KeyRotationDatabase(Protocol):
    """What re-sealing needs of the tables, as the worker's role reaches them: many rows of many owners at a time.

    Every method may raise `StoreUnavailableError`, `SchemaMissingError` and `ForbiddenError`.
    """

    async def count_by_key(self) -> Mapping[str, int]:
        """Rows by the key id their credentials are sealed under."""
        ...

    async def count_authorizations_by_key(self) -> Mapping[str, int]:
        """Authorizations that have not expired, by the key id they are sealed under."""
        ...

    async def list_sealed_under(
        self, key_id: str, after: IntegrationRef | None, limit: int
    ) -> tuple[IntegrationRef, ...]:
        """Up to `limit` (1 to 500) rows sealed under a key, in order, after a position."""
        ...

    async def read_sealed_under(self, key_id: str, refs: Sequence[IntegrationRef]) -> RotatingPage:
        """Those of the rows (of at most 500 users) that are there and sealed under the key, in order: as many of them
        as fit into a few megabytes, and at least one.
        """
        ...

    async def write_resealed(self, rows: Sequence[ResealedRow], owner: UUID) -> int:
        """Lease the rows that nobody holds and that are as they were read, write their next version and end the lease;
        how many were written. Never waits for a row that somebody else is changing.
        """
        ...


class KeptReplies(Protocol):
    """The token replies that journals of this machine keep, as far as they can be seen without a key."""

    async def keys(self) -> Mapping[tuple[IntegrationRef, int], str]:
        """The key ids they are sealed under, by row and the version they replace."""
        ...


class Journal(Protocol):
    """Token replies on their way to the database, on this machine's disk, sealed. Survives the process."""

    async def has_room(self) -> bool:
        """Whether another reply could be kept. Ask before a request whose reply must not be lost."""
        ...

    async def write(self, entry: JournalEntry) -> None:
        """Keep a reply; it is on the disk when this returns. Raises JournalUnavailableError."""
        ...

    async def find(self, ref: IntegrationRef, seen_version: int) -> JournalEntry | None:
        """The reply that was kept for a row at a version, if there is one and it opens.

        Raises JournalUnavailableError where the disk cannot tell, UnknownKeyError where a key is missing here.
        """
        ...

    async def remove(self, entry: JournalEntry) -> None:
        """Forget a reply that is in the database, or of no more use."""
        ...

    async def entries(self) -> tuple[JournalEntry, ...]:
        """All replies that are kept and open. Raises JournalUnavailableError."""
        ...


class RefreshLog(Protocol):
    """Is told what became of refreshes: ids, codes and times, nothing secret."""

    def refreshed(self, row: Integration, *, reason: str, seconds: float) -> None:
        """New credentials are stored; `seconds` is how long it took, with the service's answer."""
        ...

    def failed(self, row: Integration, failure: RefreshFailure, error: IntegrationError, *, seconds: float) -> None:
        """A refresh failed with this error, and this is what was recorded. Status `error` is the operator's to mend."""
        ...

    def replayed(self, row: Integration) -> None:
        """A reply that a journal had kept is stored."""
        ...

    def kept(self, row: Integration) -> None:
        """A new token could not be stored yet; the journal keeps it."""
        ...

    def not_kept(self, row: Integration) -> None:
        """The journal could not keep a new token; it is lost if this process dies before it is stored."""
        ...

    def refused(self, row: Integration, code: str) -> None:
        """The service sent a new token and the database would not take it, for what this code means."""
        ...

    def skipped(self, row: Integration, code: str) -> None:
        """The service was not asked for a row that is due: it does not open, or something is missing here."""
        ...


class JournalLog(Protocol):
    """Is told what an operator has to know of the journal: ids, codes and reasons, nothing secret."""

    def unavailable(self, reason: str) -> None:
        """The journal takes no more replies just now, so tokens that are spent by their use are not renewed."""
        ...

    def unreadable(self, ref: IntegrationRef, seen_version: int, code: str) -> None:
        """A reply does not open, and stays where it is."""
        ...

    def expired(self, ref: IntegrationRef, seen_version: int) -> None:
        """A reply was removed: nobody could store it for 30 days, or its row was leased at every look for an hour."""
        ...

    def left(self, entry: JournalEntry, code: str) -> None:
        """A reply could not be stored yet, for this reason; it is tried again."""
        ...


class ProviderHttp(Protocol):
    """Sends one request to a third-party service."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send it once, without following redirects, and return the reply whatever its status.

        Raises ProviderUnavailableError when no reply came (DNS, connection, TLS, timeout, too large a body) or the
        address is not one that may be called, and RateLimitedError when this process had no connection free for it.
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
