"""A proxy in front of a token endpoint that remembers every exchange, and behaves as a test wants.

Each process under test has a door of its own (the first part of the path), so that it is known who asked. Tokens are
remembered by their digests alone.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias
from urllib.parse import parse_qs

import httpx

from tests.local_system import free_ports

_LONGEST = 30.0
"""Seconds after which a connection is given up whatever happens."""


def digest(token: str) -> str:
    """What a token is known by where it must not be shown."""
    return sha256(token.encode()).hexdigest()[:16]


@dataclass(slots=True)
class Exchange:
    """One token request and what became of it. Times are of the monotonic clock."""

    door: str
    spent: str
    """Digest of the refresh token in the request."""
    asked_at: float
    status: int | None = None
    """What the server behind the proxy answered; None where it was not asked."""
    brought: str | None = None
    """Digest of the refresh token in its reply."""
    replied_at: float | None = None
    """When the last byte of an answer had been handed to the kernel; None where there was none."""


@dataclass(slots=True)
class Turn:
    """One exchange in the hands of a behaviour."""

    exchange: Exchange
    _request: httpx.Request
    _upstream: httpx.AsyncClient
    _writer: asyncio.StreamWriter

    async def pass_on(self, *, seconds: float = 0) -> None:
        """Ask the server and hand its answer back, the body spread over some seconds."""
        await self.send(await self.ask(), seconds=seconds)

    async def ask(self) -> httpx.Response:
        """Ask the server. From here on the refresh token is spent."""
        reply = await self._upstream.send(self._request)
        self.exchange.status = reply.status_code
        if reply.is_success:
            self.exchange.brought = digest(reply.json()["refresh_token"])
        return reply

    async def send(self, reply: httpx.Response, *, seconds: float = 0) -> None:
        """Hand the server's answer back."""
        kind = {"content-type": reply.headers.get("content-type", "application/json")}
        await self.answer(reply.status_code, reply.content, kind, seconds=seconds)

    async def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, *, seconds: float = 0
    ) -> None:
        """Answer by itself, the second half of the body after some seconds."""
        fields = {**(headers or {}), "content-length": str(len(body)), "connection": "close"}
        lines = [f"HTTP/1.1 {status} Answer", *(f"{name}: {value}" for name, value in fields.items())]
        half = len(body) // 2 if seconds else len(body)
        with suppress(ConnectionError):
            self._writer.write("\r\n".join([*lines, "", ""]).encode() + body[:half])
            await self._writer.drain()
            if seconds:
                await asyncio.sleep(seconds)
                self._writer.write(body[half:])
                await self._writer.drain()
            self.exchange.replied_at = time.monotonic()

    async def write(self, part: bytes) -> None:
        """Send something that is no complete answer."""
        with suppress(ConnectionError):
            self._writer.write(part)
            await self._writer.drain()

    def reset(self) -> None:
        """End the connection with RST, as a machine does that knows nothing of it."""
        lingering: socket.socket = self._writer.get_extra_info("socket")
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Behaviour: TypeAlias = Callable[[Turn], Awaitable[None]]


async def well_behaved(turn: Turn) -> None:
    """Pass everything on."""
    await turn.pass_on()


@dataclass(slots=True)
class TokenProxy:
    """Listens on 127.0.0.1; `behaviour` may be changed at any time."""

    port: int
    endpoint: str
    """The token endpoint behind it."""
    behaviour: Behaviour = well_behaved
    exchanges: list[Exchange] = field(default_factory=list)

    def url(self, door: str) -> str:
        """The token endpoint of one process under test."""
        return f"http://127.0.0.1:{self.port}/{door}"


@asynccontextmanager
async def running_proxy(endpoint: str) -> AsyncIterator[TokenProxy]:
    """Serve for as long as the block lasts. Raises what a behaviour raised."""
    proxy = TokenProxy(free_ports(1)[0], endpoint)
    conversations: set[asyncio.Task[None] | None] = set()
    errors: list[Exception] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.current_task())
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(_LONGEST):
                    await _serve(proxy, upstream, reader, writer)
        except Exception as error:
            errors.append(error)
        finally:
            writer.close()
            conversations.discard(asyncio.current_task())

    async with httpx.AsyncClient(trust_env=False, timeout=_LONGEST) as upstream:
        server = await asyncio.start_server(converse, "127.0.0.1", proxy.port)
        try:
            yield proxy
        finally:
            server.close()
            for task in conversations:
                if task:
                    task.cancel()
    if errors:
        raise ExceptionGroup("a behaviour failed", errors)


async def _serve(
    proxy: TokenProxy, upstream: httpx.AsyncClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    form: dict[bytes, list[bytes]] = parse_qs(body)
    door = start.split(" ")[1].strip("/")
    exchange = Exchange(door, digest(form[b"refresh_token"][0].decode()), time.monotonic())
    proxy.exchanges.append(exchange)
    passed_on: dict[str, str] = {name: headers[name] for name in ("authorization", "content-type") if name in headers}
    request = upstream.build_request("POST", proxy.endpoint, headers=passed_on, content=body)
    await proxy.behaviour(Turn(exchange, request, upstream, writer))
