"""`/api/integrations/services`: what users can connect here."""

from typing import Final

from fastapi import APIRouter

from supabase_integrations.core.service import ServiceDefinition

from .dependencies import System, User
from .responses import ServiceList, ServiceView

router: Final = APIRouter(prefix="/api/integrations", tags=["services"])


@router.get("/services")
async def list_services(_: User, system: System) -> ServiceList:
    """The catalogue of this server, in alphabetical order."""
    return ServiceList(services=[_view(service, system) for service in system.engine.catalogue])


def _view(service: ServiceDefinition, system: System) -> ServiceView:
    return ServiceView(
        service_name=service.name,
        display_name=service.display_name,
        service_type=service.service_type,
        auth=service.auth,
        configured=not service.needs_client or service.name in system.engine.clients,
        tenant_param=service.tenant_param or None,
        tenant_pattern=service.tenant_pattern or None,
        scopes=service.scopes,
        additional_params=tuple(sorted(service.allowed_authorization_params)),
        docs=service.docs or None,
    )
