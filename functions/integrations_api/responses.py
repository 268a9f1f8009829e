"""What callers are shown. No model here has a field that could hold a credential, sealed or open."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from supabase_integrations.core.models import IntegrationStatus, ServiceType
from supabase_integrations.core.revocation import RevocationOutcome


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class IntegrationView(_View):
    """One connection. `expires_at` is the access token's end, null where it has none."""

    id: UUID
    service_name: str
    service_type: ServiceType
    external_account_id: str
    display_name: str | None
    status: IntegrationStatus
    config: dict[str, Any]
    scopes: tuple[str, ...]
    expires_at: datetime | None
    last_refreshed_at: datetime | None
    last_sync_at: datetime | None
    last_error_code: str | None
    last_error_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RevokedView(_View):
    """A connection whose credentials are gone here; `revocation` says what became of them at the service."""

    revocation: RevocationOutcome
    integration: IntegrationView


class IntegrationList(_View):
    """One page; `next_cursor` goes back as `cursor`, and is null on the last page."""

    integrations: list[IntegrationView]
    next_cursor: str | None


class EventView(_View):
    """One entry of the audit trail. `status` and `error_code` are those after the change, or before the deletion."""

    id: int
    event: str
    actor_role: str | None
    changed_columns: tuple[str, ...]
    status: IntegrationStatus | None
    error_code: str | None
    created_at: datetime


class EventList(_View):
    """The newest events; `next_cursor` goes back as `cursor`."""

    events: list[EventView]
    next_cursor: str | None


class InitiatedView(_View):
    """`binding` says how the callback will end: by itself (`cookie`) or with a handle for the app to send
    (`handle`).
    """

    auth_url: str
    expires_at: datetime
    binding: Literal["cookie", "handle"]


class FinishedView(_View):
    """A connection that was stored."""

    integration_id: UUID
    integration: IntegrationView


class ServiceView(_View):
    """A service of the catalogue, as a screen that offers it needs it."""

    service_name: str
    display_name: str
    service_type: ServiceType
    auth: str
    configured: bool
    tenant_param: str | None
    tenant_pattern: str | None
    scopes: tuple[str, ...]
    additional_params: tuple[str, ...]
    docs: str | None


class ServiceList(_View):
    """All services of this server."""

    services: list[ServiceView]


class Check(_View):
    """One thing readiness depends on."""

    name: str
    ok: bool
    detail: str


class Readiness(_View):
    """Whether requests can be served now."""

    status: Literal["ready", "not_ready"]
    checks: list[Check]


class FieldProblem(_View):
    """Which field was refused, and why."""

    field: str
    message: str


class Problem(_View):
    """An error (RFC 9457). `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
