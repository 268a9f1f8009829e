"""Rows of the Data API as values. Credentials are named in no list of columns but the one that asks for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from ..core.errors import IntegrationNotFoundError, SchemaMissingError
from ..core.models import (
    Integration,
    IntegrationEvent,
    IntegrationStatus,
    PendingAuthorization,
    SealedIntegration,
    ServiceType,
)

Row: TypeAlias = Mapping[str, Any]
Value = TypeVar("Value")

INTEGRATION_COLUMNS: Final = ",".join(field.name for field in fields(Integration))
SEALED_COLUMNS: Final = f"{INTEGRATION_COLUMNS},credentials"
STATE_COLUMNS: Final = ",".join(field.name for field in fields(PendingAuthorization))
EVENT_COLUMNS: Final = ",".join(field.name for field in fields(IntegrationEvent))

# A look-up takes a tenth of the time of ServiceType(text).
_TYPES: Final = {member.value: member for member in ServiceType}
_STATUSES: Final = {member.value: member for member in IntegrationStatus}


def to_integration(row: Row) -> Integration:
    """An integration. Like all of these, raises KeyError, TypeError or ValueError for a row of another shape."""
    # By position, and without a helper for each column: a list has up to 200 rows.
    return Integration(
        UUID(row["id"]),
        UUID(row["user_id"]),
        row["service_name"],
        _TYPES[row["service_type"]],
        row["external_account_id"],
        row["display_name"],
        _STATUSES[row["status"]],
        row["credential_version"],
        row["config"],
        tuple(row["scopes"]),
        _moment_or_none(row["expires_at"]),
        _moment_or_none(row["last_refreshed_at"]),
        _moment_or_none(row["last_sync_at"]),
        row["last_error_code"],
        _moment_or_none(row["last_error_at"]),
        _uuid_or_none(row["refresh_lease_owner"]),
        _moment_or_none(row["refresh_lease_until"]),
        _moment_or_none(row["next_refresh_at"]),
        row["refresh_failures"],
        _moment(row["created_at"]),
        _moment(row["updated_at"]),
    )


def to_sealed_integration(row: Row) -> SealedIntegration:
    """An integration with its envelope."""
    return SealedIntegration(to_integration(row), row["credentials"])


def to_pending_authorization(row: Row) -> PendingAuthorization:
    """A consumed authorization."""
    return PendingAuthorization(
        user_id=UUID(row["user_id"]),
        state_hash=row["state_hash"],
        flow=row["flow"],
        integration_id=_uuid_or_none(row["integration_id"]),
        expires_at=_moment(row["expires_at"]),
    )


def to_event(row: Row) -> IntegrationEvent:
    """An entry of the audit trail."""
    return IntegrationEvent(
        id=row["id"],
        integration_id=UUID(row["integration_id"]),
        service_name=row["service_name"],
        event=row["event"],
        actor_role=row["actor_role"],
        actor_id=_uuid_or_none(row["actor_id"]),
        changed_columns=tuple(row["changed_columns"]),
        status=None if row["status"] is None else _STATUSES[row["status"]],
        error_code=row["error_code"],
        created_at=_moment(row["created_at"]),
    )


def read(found: Sequence[Row], parse: Callable[[Row], Value]) -> tuple[Value, ...]:
    """Rows as values. Raises SchemaMissingError for rows of another shape."""
    try:
        return tuple(map(parse, found))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SchemaMissingError(
            "The tables hold rows that this release does not understand: run `integrations migrate`, or upgrade."
        ) from None


def only(found: Sequence[Row], parse: Callable[[Row], Value]) -> Value:
    """The one row that was asked for. Raises IntegrationNotFoundError where there is none."""
    if not found:
        raise IntegrationNotFoundError
    return read(found, parse)[0]


def _moment(text: str) -> datetime:
    """A timestamptz: with `T` or a space, `+00` or `+00:00`, and as many decimals as Postgres found worth writing."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("A timestamp without time zone.")
    # UTC reads as the constant itself, so the conversion is only paid where a project's Postgres has another time zone.
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _moment_or_none(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _uuid_or_none(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
