"""How much a server may write before its answer has begun.

aiohttp bounds each head, and reads informational answers (1xx) for as long as they come: a server that writes nothing
else would keep a core busy until the time is up.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp

MAX_BYTES: Final = 1024 * 1024
"""Of all heads of one exchange, with the beginning of a body that comes together with its head: event loops read a
quarter of a megabyte at a time.
"""


class BoundedHeads(aiohttp.ClientResponse):
    """An answer whose start raises ClientResponseError where too much comes before it."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Read heads up to that of the answer itself."""
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            return await super().start(connection)

        def refuse() -> None:
            protocol.set_exception(
                aiohttp.ClientResponseError(self.request_info, self.history, message="Endless heads.")
            )
            transport.abort()

        transport.set_protocol(_Watch(protocol, refuse))
        try:
            return await super().start(connection)
        finally:
            if not transport.is_closing():
                transport.set_protocol(protocol)


class _Watch(asyncio.Protocol):
    """Stands between the socket and aiohttp, and counts."""

    def __init__(self, protocol: asyncio.Protocol, refuse: Callable[[], None]) -> None:
        self._protocol = protocol
        self._refuse = refuse
        self._left = MAX_BYTES

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            return
        self._left -= len(data)
        if self._left < 0:
            self._refuse()
        else:
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
