"""What re-sealing credentials under the primary key deals in: rows as they are read, as they are written, and those
that stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .associated_data import AssociatedData
from .credentials_place import credentials_place, tenant_in
from .encryption import Encryption
from .encryption_errors import DecryptionError, UnsealableValueError, WrongTenantError
from .errors import UnknownServiceError
from .json_types import JsonObject
from .models import IntegrationRef
from .service import ServiceDefinition


@dataclass(frozen=True, slots=True)
class RotatingRow:
    """A row sealed under a former key, as it was read. Nothing holds it meanwhile."""

    ref: IntegrationRef
    service_name: str
    config: JsonObject
    version: int
    envelope: str = field(repr=False)
    next_refresh_at: str | None
    """As the database writes it, to be put back as it was."""
    is_held: bool
    """Somebody has its lease, or had it until a moment ago and did not give it back."""
    was_abandoned: bool
    """Somebody had its lease and did not give it back: a journal may hold what is to be written."""


@dataclass(frozen=True, slots=True)
class RotatingPage:
    """Some of the rows that were asked for, and the position from which to go on."""

    rows: tuple[RotatingRow, ...]
    position: IntegrationRef


@dataclass(frozen=True, slots=True)
class ResealedRow:
    """The same credentials, sealed for the row's next version; written where the rest is still as it was read."""

    ref: IntegrationRef
    seen_version: int
    envelope: str = field(repr=False)
    next_refresh_at: str | None


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row whose credentials do not open, and the code of the reason."""

    ref: IntegrationRef
    reason: str


def reseal(
    row: RotatingRow, services: Mapping[str, ServiceDefinition], encryption: Encryption
) -> ResealedRow | UnreadableRow:
    """Seal a row's credentials under the primary key, for its next version."""
    service = services.get(row.service_name)
    tenant = tenant_in(row.config, service) if service else ""
    try:
        envelope = encryption.rotate(
            row.envelope, _place(row, tenant, row.version), _place(row, tenant, row.version + 1)
        )
    except WrongTenantError as error:
        # Which of a row's settings is the tenant, only the catalogue says.
        return UnreadableRow(row.ref, error.code if service else UnknownServiceError.code)
    except (DecryptionError, UnsealableValueError) as error:
        # The latter for a place that cannot be: the settings are the user's, and name a tenant longer than any.
        return UnreadableRow(row.ref, error.code)
    return ResealedRow(row.ref, row.version, envelope, row.next_refresh_at)


def _place(row: RotatingRow, tenant: str, version: int) -> AssociatedData:
    return credentials_place(row.service_name, tenant, row.ref.id, row.ref.user_id, version)
