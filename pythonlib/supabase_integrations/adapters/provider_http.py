"""Requests to third-party services, over a pool that connects only to addresses that may be called."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

import httpx

from ..core.errors import ProviderUnavailableError, RateLimitedError
from ..core.http_messages import HttpReply, HttpRequest
from .egress_sockets import guarded_sockets
from .http_pool import HttpLimits, open_http_pool

EXCHANGE: Final = timedelta(seconds=25)
"""The longest exchange with a service. What it brings still has to be written within the lease of 60 seconds."""
CONNECTIONS_PER_HOST: Final = 20
"""So that a slow service keeps nobody from another one."""
_LIMITS: Final = HttpLimits(max_connections=200, total_timeout=EXCHANGE, max_reply_bytes=1024 * 1024)


class PooledProviderHttp:
    """Implements `port.ProviderHttp`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send it once, whatever comes back; redirects are replies like others.

        Raises ProviderUnavailableError, and RateLimitedError where no connection became free in time.
        """
        try:
            reply = await self._http.request(
                request.method, request.url, headers=request.headers, content=request.body or None
            )
        except httpx.PoolTimeout:
            raise RateLimitedError(_LIMITS.connect_timeout) from None
        except (httpx.TransportError, httpx.InvalidURL, ValueError):
            # ValueError: host names that IDNA cannot encode.
            raise ProviderUnavailableError from None
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return HttpReply(reply.status_code, headers, reply.content)


@asynccontextmanager
async def open_provider_http(
    *, allow_loopback: bool, max_connections_per_host: int = CONNECTIONS_PER_HOST
) -> AsyncIterator[PooledProviderHttp]:
    """Open the pool for requests to services; `allow_loopback` is for development alone."""
    limits = replace(
        _LIMITS,
        max_connections=max(_LIMITS.max_connections, max_connections_per_host),
        max_connections_per_host=max_connections_per_host,
    )
    async with open_http_pool(limits, socket_factory=guarded_sockets(allow_loopback=allow_loopback)) as http:
        yield PooledProviderHttp(http)
