"""The connections that all outgoing HTTP is sent over, and when one is used again."""

import aiohttp


class CleanConnector(aiohttp.TCPConnector):
    """Reuses no connection on which something came that nobody asked for: the next caller would get it as a reply."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's name for it
    ) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                break
            connection.close()
        if protocol is not None and req.method == "HEAD":
            # A server that sends a body all the same may do so when the connection is the next caller's already.
            protocol.force_close()
        return connection
