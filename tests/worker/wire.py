"""A wire between a client and Postgres that counts what the client sends."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Wire:
    """`sent` counts messages by their type (PostgreSQL documentation, "Message Formats"): Q is a simple query."""

    port: int = 0
    sent: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def a_wire_to(port: int) -> AsyncIterator[Wire]:
    """Listen, and pass everything on in both directions."""
    wire = Wire()
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def connected(client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((client_out, server_out))
        tasks.add(asyncio.create_task(_pass_on(server_in, client_out)))
        tasks.add(asyncio.create_task(_count(client_in, server_out, wire.sent)))

    server = await asyncio.start_server(connected, "127.0.0.1")
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)


async def _count(source: asyncio.StreamReader, target: asyncio.StreamWriter, sent: Counter[str]) -> None:
    # The first message has no type, only a length.
    length = await source.readexactly(4)
    target.write(length + await source.readexactly(int.from_bytes(length, "big") - 4))
    while True:
        head = await source.readexactly(5)
        sent[chr(head[0])] += 1
        target.write(head + await source.readexactly(int.from_bytes(head[1:], "big") - 4))
