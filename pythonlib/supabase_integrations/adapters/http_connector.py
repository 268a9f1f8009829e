"""The connections that all outgoing HTTP is sent over, and when one is used again."""

from functools import cached_property

import aiohttp
from aiohttp.client_proto import ResponseHandler


class NoFreeConnectionError(aiohttp.ClientConnectionError):
    """All connections that a pool may have were in use for as long as one may be waited for. Nothing was sent."""


class CleanConnector(aiohttp.TCPConnector):
    """Reuses no connection on which something came that nobody asked for: the next caller would get it as a reply.

    Tells who waited in vain for a free connection from who waited in vain for the server.
    """

    @cached_property
    def _reaching(self) -> set[aiohttp.ClientRequest]:
        """Requests that wait for their server, and no longer for one of our connections."""
        return set()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's name for it
    ) -> aiohttp.connector.Connection:
        while True:
            connection = await self._connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                break
            connection.close()
        if protocol is not None and req.method == "HEAD":
            # A server that sends a body all the same may do so when the connection is the next caller's already.
            protocol.force_close()
        return connection

    async def _connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> aiohttp.connector.Connection:
        try:
            return await super().connect(req, traces, timeout)
        except TimeoutError:
            if req in self._reaching:
                raise
            raise NoFreeConnectionError from None
        finally:
            self._reaching.discard(req)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        self._reaching.add(req)
        return await super()._create_connection(req, traces, timeout)
