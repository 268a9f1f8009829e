"""Calls of third-party services whose bodies are streams, over aiohttp itself: through httpx they take four times as
long. What makes sharing it among users safe is what `http_pool` says, and holds here likewise.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Final

import aiohttp
import certifi
from yarl import URL

from ..core.errors import ProviderUnavailableError
from ..port_service_http import HeaderPairs, RequestBody, ServiceRequest
from .egress_sockets import guarded_sockets
from .http_connector import CleanConnector, NoFreeConnectionError
from .http_heads import BoundedHeads

CONNECT_SECONDS: Final = 5.0
"""Connecting, with TLS. Twice as long with resolving the name and waiting for a free connection."""
IDLE_SECONDS: Final = 60.0
"""From the end of a request to the end of its reply's head, between two pieces of a reply, and until the service has
taken a piece of a body.
"""
TOTAL_SECONDS: Final = 3600.0
_CONNECTIONS: Final = 500
_CONNECTIONS_PER_HOST: Final = 100
_KEEPALIVE_SECONDS: Final = 4.0
"""Below the 5 s after which Node servers hang up: a request that meets one being closed is not sent again."""
_BUFFER_BYTES: Final = 64 * 1024
_HEADER_BYTES: Final = 32 * 1024
_PLAIN: Final = frozenset({"", "identity", "chunked"})


class StreamedExchange:
    """Implements `port_service_http.ServiceExchange`."""

    def __init__(self, response: aiohttp.ClientResponse, idle_seconds: float) -> None:
        self._response = response
        self._idle_seconds = idle_seconds
        self.status = response.status
        self.headers: HeaderPairs = tuple((name.lower(), value) for name, value in response.headers.items())

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, as often as there is something of it."""
        try:
            while True:
                # aiohttp's own watch is content with any byte, such as those of a chunk's size without end.
                async with asyncio.timeout(self._idle_seconds):
                    chunk = await self._response.content.readany()
                if not chunk:
                    return
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _unavailable(error) from None

    async def close(self) -> None:
        """Give the connection back where the whole body was read, and end it otherwise."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class StreamingServiceHttp:
    """Implements `port_service_http.ServiceHttp`."""

    def __init__(self, session: aiohttp.ClientSession, idle_seconds: float) -> None:
        self._session = session
        self._idle_seconds = idle_seconds

    async def open(self, request: ServiceRequest) -> StreamedExchange:
        """Send a request once; redirects are replies like others. Raises ProviderUnavailableError."""
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS + self._idle_seconds) as patience:
                response = await self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    data=self._watched(request.body, patience),
                    allow_redirects=False,
                    skip_auto_headers=("content-type",),
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: host names that IDNA cannot encode.
            raise _unavailable(error) from None
        codings = response.headers.getall("content-encoding", []) + response.headers.getall("transfer-encoding", [])
        if request.method != "HEAD" and not {coding.strip().lower() for coding in codings} <= _PLAIN:
            response.close()
            raise ProviderUnavailableError("The service compressed its reply, though none but plain ones are accepted.")
        return StreamedExchange(response, self._idle_seconds)

    def _watched(self, body: RequestBody, patience: asyncio.Timeout) -> RequestBody:
        """The same; a stream's pieces must be taken in time, and the wait for the reply is counted from its end.

        How long the stream itself pauses is for whoever makes it to bound.
        """
        return body if body is None or isinstance(body, bytes) else self._pieces(body, patience)

    async def _pieces(self, body: AsyncIterator[bytes], patience: asyncio.Timeout) -> AsyncIterator[bytes]:
        _wait(patience, None)
        async for piece in body:
            _wait(patience, self._idle_seconds)
            yield piece
            _wait(patience, None)
        _wait(patience, self._idle_seconds)


@asynccontextmanager
async def open_service_http(
    *,
    allow_loopback: bool,
    resolver: aiohttp.abc.AbstractResolver | None = None,
    connections_per_host: int = _CONNECTIONS_PER_HOST,
    idle_seconds: float = IDLE_SECONDS,
) -> AsyncIterator[StreamingServiceHttp]:
    """Open the connections to services for as long as the block lasts; `allow_loopback` is for development alone."""
    connector = CleanConnector(
        limit=_CONNECTIONS,
        limit_per_host=connections_per_host,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        ssl=ssl.create_default_context(cafile=certifi.where()),
        resolver=resolver,
        socket_factory=guarded_sockets(allow_loopback=allow_loopback),
    )
    timeout = aiohttp.ClientTimeout(
        total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS, connect=2 * CONNECT_SECONDS, sock_read=idle_seconds
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "user-agent": f"supabase-integrations/{version('supabase-integrations')}",
            "accept-encoding": "identity",
        },
        timeout=timeout,
        trust_env=False,
        auto_decompress=False,
        read_bufsize=_BUFFER_BYTES,
        max_field_size=_HEADER_BYTES,
        middlewares=(_send_once,),
        response_class=BoundedHeads,
    ) as session:
        yield StreamingServiceHttp(session, idle_seconds)


def _wait(patience: asyncio.Timeout, seconds: float | None) -> None:
    """Bound what is waited for from now on."""
    # Nothing is, where the reply has begun: a service may answer before it was told all.
    with suppress(RuntimeError):
        patience.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, and translate its failure before aiohttp sees it: left to itself it repeats a GET, PUT or DELETE
    when the server hangs up, which is not for it to decide.
    """
    try:
        return await send(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _unavailable(error) from None


def _unavailable(error: BaseException) -> ProviderUnavailableError:
    """Messages of aiohttp hold whole URLs; of this one it is left to say why."""
    if isinstance(error, NoFreeConnectionError):
        return ProviderUnavailableError("Too many calls of the service are under way here. Try again later.")
    if isinstance(error, TimeoutError):
        return ProviderUnavailableError("The service did not answer in time.")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return ProviderUnavailableError("The service hung up before it had answered.")
    return ProviderUnavailableError("The service could not be reached.")
