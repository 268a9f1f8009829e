"""The nouns of the system, as immutable values. Only `SealedIntegration` holds credentials, and only as ciphertext."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from .json_types import JsonObject
from .secret import SecretStr


class ServiceType(StrEnum):
    """What kind of work a service does for the user."""

    MARKETING = "marketing"
    CRM = "crm"
    CONTENT = "content"
    SUPPLY_CHAIN = "supply_chain"
    ANALYTICS = "analytics"


class IntegrationStatus(StrEnum):
    """Whether a connection can be used, and who has to act where it cannot."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    """Paused by the user."""
    NEEDS_REAUTHORIZATION = "needs_reauthorization"
    """The user has to connect again."""
    ERROR = "error"
    """The operator has to correct something."""
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified Supabase user and the access token that proves it.

    `expires_at` is the token's own end; `session_id` is the Supabase Auth session it was issued for, where it names
    one.
    """

    user_id: UUID
    access_token: SecretStr
    expires_at: datetime
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Integration:
    """A row of `public.integrations` without its credentials."""

    id: UUID
    user_id: UUID
    service_name: str
    service_type: ServiceType
    external_account_id: str
    display_name: str | None
    status: IntegrationStatus
    credential_version: int
    config: JsonObject
    scopes: tuple[str, ...]
    expires_at: datetime | None
    last_refreshed_at: datetime | None
    last_sync_at: datetime | None
    last_error_code: str | None
    last_error_at: datetime | None
    refresh_lease_owner: UUID | None
    refresh_lease_until: datetime | None
    next_refresh_at: datetime | None
    refresh_failures: int
    created_at: datetime
    updated_at: datetime

    @property
    def ref(self) -> "IntegrationRef":
        """Which row it is."""
        return IntegrationRef(self.user_id, self.id)


@dataclass(frozen=True, slots=True)
class SealedIntegration:
    """An integration with its credentials' envelope; None where the row holds none."""

    integration: Integration
    envelope: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, order=True)
class IntegrationRef:
    """Which row: its owner and its id, in the order of the primary key."""

    user_id: UUID
    id: UUID


@dataclass(frozen=True, slots=True)
class NewIntegration:
    """What the service inserts; the database sets owner, version, lease and times. `id` is chosen here, to be sealed
    over.
    """

    id: UUID
    service_name: str
    service_type: ServiceType
    external_account_id: str
    display_name: str | None
    envelope: str = field(repr=False)
    config: JsonObject
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    next_refresh_at: datetime | None = None
    status: IntegrationStatus = IntegrationStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class CredentialReplacement:
    """New credentials for an existing row, with what is written beside them. None keeps a column as it is."""

    envelope: str = field(repr=False)
    scopes: tuple[str, ...]
    expires_at: datetime | None
    next_refresh_at: datetime | None
    display_name: str | None = None
    status: IntegrationStatus | None = None
    config: JsonObject | None = None
    last_sync_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """What a failed refresh leaves in the row. `status` None keeps it; without `next_refresh_at` nobody tries again."""

    status: IntegrationStatus | None
    error_code: str
    next_refresh_at: datetime | None
    failures: int

    @property
    def spares_pause(self) -> bool:
        """Whether a pause that the user made meanwhile stays. What the operator mends goes on by itself afterwards, and
        would end the pause; what the user has to mend ends with an act of their own, connecting again.
        """
        return self.status is IntegrationStatus.ERROR


@dataclass(frozen=True, slots=True)
class IntegrationChanges:
    """What an owner may change without touching credentials. None leaves a column as it is."""

    status: IntegrationStatus | None = None
    config: JsonObject | None = None
    last_sync_at: datetime | None = None
    error_code: str | None = None


class ListOrder(StrEnum):
    """How a list of integrations is ordered; the id breaks ties."""

    NEWEST = "created_at.desc"
    OLDEST = "created_at.asc"


@dataclass(frozen=True, slots=True)
class ListPosition:
    """The last row of the page before: the list goes on after it."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which of the caller's integrations to list. `limit` is 1 to 200."""

    service_type: ServiceType | None = None
    service_name: str | None = None
    status: IntegrationStatus | None = None
    order: ListOrder = ListOrder.NEWEST
    after: ListPosition | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class IntegrationPage:
    """One page of a list and where the next one starts; `next` is None on the last page."""

    integrations: tuple[Integration, ...]
    next: ListPosition | None


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """A row of `public.oauth_states` at its consumption."""

    user_id: UUID
    state_hash: str
    flow: str = field(repr=False)
    integration_id: UUID | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class IntegrationEvent:
    """A row of the audit trail: names of changed columns, and in which state the change left the connection.

    `status` and `error_code` are those after the change, or before the deletion; None in events of older releases.
    """

    id: int
    integration_id: UUID
    service_name: str
    event: str
    actor_role: str | None
    actor_id: UUID | None
    changed_columns: tuple[str, ...]
    status: IntegrationStatus | None
    error_code: str | None
    created_at: datetime
