"""A third-party service that writes bytes by hand: answers that no HTTP library would let through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

Behaviour: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"ok", *headers: str, status: str = "200 OK") -> bytes:
    """One whole answer, of an honest service."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def then_hang_up(*parts: bytes) -> Behaviour:
    """Write these, and no more."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)
        await writer.drain()
        writer.close()

    return write


def without_end(head: bytes, piece: bytes, pause: float = 0) -> Behaviour:
    """Write a beginning, and then the same again and again."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return write


@dataclass
class HostileService:
    """Answers each request by its behaviour, and keeps the connection unless that closes it."""

    port: int = 0
    behaviour: Behaviour = field(default=then_hang_up(answer()))
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Whoever asked has ended a connection."""
    serving: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        self.behaviour = then_hang_up(answer())
        self.heads.clear()
        self.connections = 0
        self.hung_up.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    await self.behaviour(writer)
        finally:
            self.hung_up.set()
            writer.close()


@asynccontextmanager
async def running_hostile_service(port: int = 0) -> AsyncIterator[HostileService]:
    """Listen on 127.0.0.1 for as long as the block lasts."""
    service = HostileService()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(service.serve(reader, writer))
        service.serving.add(task)
        task.add_done_callback(service.serving.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        tasks = list(service.serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A transport is closed in the loop's next turn.
        await asyncio.sleep(0)
