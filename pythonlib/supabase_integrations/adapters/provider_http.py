"""Requests to third-party services, over a pool that connects only to addresses that may be called.

The address is checked where the socket for it is made: after the one resolution, and for hosts written as numbers too,
so that there is no second look-up that could answer something else.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

import httpx

from ..core.egress import may_call
from ..core.errors import ProviderUnavailableError
from ..core.http_messages import HttpReply, HttpRequest
from .http_pool import HttpLimits, open_http_pool

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

EXCHANGE: Final = timedelta(seconds=25)
"""The longest exchange with a service. What it brings still has to be written within the lease of 60 seconds."""
_LIMITS: Final = HttpLimits(
    max_connections=200, max_connections_per_host=20, total_timeout=EXCHANGE, max_reply_bytes=1024 * 1024
)
"""For each host, so that a slow service keeps nobody from another one."""


class ForbiddenAddressError(ProviderUnavailableError):
    """The service's host name leads to an address that must not be called from here."""

    code = "forbidden_address"


class PooledProviderHttp:
    """Implements `port.ProviderHttp`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send it once, whatever comes back; redirects are replies like others. Raises ProviderUnavailableError."""
        try:
            reply = await self._http.request(
                request.method, request.url, headers=request.headers, content=request.body or None
            )
        except (httpx.TransportError, httpx.InvalidURL, ValueError):
            # ValueError: host names that IDNA cannot encode.
            raise ProviderUnavailableError from None
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return HttpReply(reply.status_code, headers, reply.content)


@asynccontextmanager
async def open_provider_http(
    *, allow_loopback: bool, max_connections_per_host: int = _LIMITS.max_connections_per_host
) -> AsyncIterator[PooledProviderHttp]:
    """Open the pool for requests to services; `allow_loopback` is for development alone."""
    limits = replace(_LIMITS, max_connections_per_host=max_connections_per_host)

    def guarded_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not may_call(str(address[0]), allow_loopback=allow_loopback):
            raise ForbiddenAddressError
        return socket.socket(family, kind, protocol)

    async with open_http_pool(limits, socket_factory=guarded_socket) as http:
        yield PooledProviderHttp(http)
