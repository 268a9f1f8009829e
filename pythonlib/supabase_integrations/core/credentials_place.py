"""Where a row's credentials are sealed to, and the tenant that is part of it."""

from uuid import UUID

from .associated_data import AssociatedData, Purpose
from .json_types import JsonObject
from .service import ServiceDefinition


def credentials_place(
    service_name: str, tenant: str, integration_id: UUID, user_id: UUID, version: int
) -> AssociatedData:
    """The one row and version whose credentials these are."""
    return AssociatedData(
        purpose=Purpose.CREDENTIALS,
        table="integrations",
        column="credentials",
        id=str(integration_id),
        user_id=str(user_id),
        service_name=service_name,
        tenant=tenant,
        credential_version=version,
    )


def tenant_in(config: JsonObject, service: ServiceDefinition) -> str:
    """The tenant that a row's settings name. Only an envelope that was sealed for it opens with it."""
    tenant = config.get(service.tenant_param) if service.tenant_param else None
    return tenant if isinstance(tenant, str) else ""
