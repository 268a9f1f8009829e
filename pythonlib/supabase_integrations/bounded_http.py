"""uvicorn's HTTP/1.1 protocol with a bound on what would hold a connection for good: a request line and headers that
never end, and a body that goes on coming after its answer.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of request line and headers together; proxies commonly send at most 32 KiB."""
HEAD_SECONDS: Final = 15.0
"""How long a client may take to send them."""
REST_SECONDS: Final = 15.0
"""How long a body may go on after its answer: a client that writes first and reads then gets to the answer."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Hangs up on a head that is too long or too slow, before anything is answered, and on the rest of a body that was
    answered before its end.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that has not ended; what one read brings beyond its end is little."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and self._deadline is not None and not self._in_body:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head has ended: what follows is a body, which has its own bound."""
        self._stop_clock()
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Another request may follow on this connection, once it has begun."""
        self._stop_clock()
        self._in_body = False
        super().on_message_complete()
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        """Nobody reads what is still to come of the body."""
        super().on_response_complete()
        # Of requests in a row the answered one may be another than the one whose body is coming.
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._deadline = self.loop.call_later(REST_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """Start the clock of the next head."""
        super().on_message_begin()
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
