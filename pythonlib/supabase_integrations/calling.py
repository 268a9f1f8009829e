"""What both doors share for calling services: connections to them, the limiter, and what was opened a moment ago."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from .adapters.call_log import StructuredCallLog
from .adapters.http_streams import open_service_http
from .core.catalogue import Catalogue
from .core.oauth_messages import OAuthClient
from .core.secret import SecretStr
from .port import Clock
from .rate_limiting import open_rate_limiter
from .use_cases.open_connections import OpenConnections
from .use_cases.refresher import Refresher
from .use_cases.service_calls import ServiceCalls


@asynccontextmanager
async def open_calling(
    catalogue: Catalogue,
    clients: Mapping[str, OAuthClient],
    refresher: Refresher,
    clock: Clock,
    *,
    rate_limit_url: SecretStr | None,
    is_development: bool,
) -> AsyncIterator[ServiceCalls]:
    """Open it for as long as the block lasts. Raises ConfigurationError."""
    async with (
        open_service_http(allow_loopback=is_development) as http,
        open_rate_limiter(catalogue, rate_limit_url) as limiter,
    ):
        yield ServiceCalls(OpenConnections(refresher, clients.get, clock), limiter, http, StructuredCallLog(), clock)
