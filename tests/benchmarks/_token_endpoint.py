"""The least that a token endpoint can be, so that what is measured is not the service.

Run as `python _token_endpoint.py PORT`. Answers every request of a kept connection with a new access token, and those
to `/rotating` with a new refresh token, too.
"""

import asyncio
import secrets
import sys
from typing import cast

import httptools
import uvloop


class TokenEndpoint(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._rotates = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connects."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Which of the two it is."""
        self._rotates = url.endswith(b"/rotating")

    def on_message_complete(self) -> None:
        """A request is complete."""
        rotated = f'"refresh_token":"{secrets.token_urlsafe(32)}",' if self._rotates else ""
        body = f'{{"access_token":"{secrets.token_urlsafe(32)}",{rotated}"token_type":"Bearer","expires_in":3600}}'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        if self._transport:
            self._transport.write((head + body).encode())


async def main(port: int) -> None:
    """Listen until killed."""
    server = await asyncio.get_running_loop().create_server(TokenEndpoint, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
