"""The one maker of HTTP clients: pooled over aiohttp, shared by all callers, and remembering nothing between requests.

    async with open_http_pool(HttpLimits(max_connections=50)) as http:
        await http.get(…)

Over aiohttp because httpx's own pool slows down with every connection (measured with 100 requests in flight: 384 a
second against 2072). What makes sharing it among users safe: neither httpx nor aiohttp keeps a cookie, no header of a
caller is a default, the environment's proxies and .netrc are not read, redirects are not followed (they would carry a
token elsewhere), nothing is ever sent twice, and no answer that came unasked is the next caller's.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.connector import SocketFactoryType
from httpx_aiohttp import AiohttpTransport

from .http_connector import CleanConnector
from .http_failures import translated
from .http_heads import BoundedHeads
from .http_transport import BoundedTransport


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How much one pool may use, and how long and how large one exchange may be."""

    max_connections: int = 100
    max_connections_per_host: int = 0
    """0 is as many as there are."""
    keepalive: timedelta = timedelta(seconds=4)
    """How long an idle connection is kept: below the 5 s after which Node servers hang up. A request that meets one
    being closed is not sent again, and fails.
    """
    connect_timeout: timedelta = timedelta(seconds=5)
    """Waiting for a free connection, resolving, connecting and TLS, together."""
    total_timeout: timedelta = timedelta(seconds=12)
    """The whole exchange; above the 8 s that hosted Supabase gives a statement of a signed-in user."""
    max_reply_bytes: int = 8 * 1024 * 1024


class _DirectClient(httpx.AsyncClient):
    """Hands a request to the transport and the reply back.

    httpx would go through authentication, redirects, hooks and cookies in between. None of them is used here; together
    they take 60 µs a request, and cookies would be kept.
    """

    def __init__(self, wire: httpx.AsyncBaseTransport, **options: Any) -> None:
        super().__init__(transport=wire, **options)
        self._wire = wire

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send a request once, as it is."""
        reply = await self._wire.handle_async_request(request)
        reply.request = request
        return reply


@asynccontextmanager
async def open_http_pool(
    limits: HttpLimits | None = None,
    *,
    user_agent: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    resolver: AbstractResolver | None = None,
    socket_factory: SocketFactoryType | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a pool for as long as the block lasts.

    Args:
        limits: what a pool and an exchange may use.
        user_agent: the name sent to servers; by default this library's, with its version.
        ssl_context: whom TLS trusts; by default the public authorities that `certifi` lists.
        resolver: resolves host names. aiohttp does not ask it about addresses written as numbers.
        socket_factory: makes the socket for a chosen address, whether it was resolved or written in the URL; raise in
            it to refuse the address. Exceptions that are not `OSError` come out of the request as they are.
        transport: replaces the network, in tests.
    """
    bounds = limits or HttpLimits()
    wire = transport or _aiohttp_transport(bounds, ssl_context, resolver, socket_factory)
    bounded = BoundedTransport(wire, total_timeout=bounds.total_timeout, max_reply_bytes=bounds.max_reply_bytes)
    async with _DirectClient(
        bounded,
        headers={
            "user-agent": user_agent or f"supabase-integrations/{version('supabase-integrations')}",
            "accept-encoding": "identity",
        },
        timeout=_timeout(bounds),
        follow_redirects=False,
        trust_env=False,
    ) as client:
        yield client


def _timeout(limits: HttpLimits) -> httpx.Timeout:
    # httpx-aiohttp passes `pool` on as aiohttp's limit for getting a connection, which includes making one.
    connect = limits.connect_timeout.total_seconds()
    return httpx.Timeout(limits.total_timeout.total_seconds(), connect=connect, pool=connect)


def _aiohttp_transport(
    limits: HttpLimits,
    ssl_context: ssl.SSLContext | None,
    resolver: AbstractResolver | None,
    socket_factory: SocketFactoryType | None,
) -> httpx.AsyncBaseTransport:
    context = ssl_context or httpx.create_ssl_context(trust_env=False)
    connector = CleanConnector(
        limit=limits.max_connections,
        limit_per_host=limits.max_connections_per_host,
        keepalive_timeout=limits.keepalive.total_seconds(),
        ssl=context,
        resolver=resolver,
        socket_factory=socket_factory,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(_send_once,),
        response_class=BoundedHeads,
        trust_env=False,
    )
    return AiohttpTransport(verify=context, trust_env=False, client=session)


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, and translate its failure before aiohttp sees it.

    Left to itself aiohttp repeats a GET, PUT or DELETE when the server hangs up: `delete … returning` would consume a
    row, and the repetition would answer that there was none.
    """
    try:
        return await send(request)
    except (aiohttp.ClientError, OSError) as error:
        raise translated(error, request.url.host or "the server") from None
