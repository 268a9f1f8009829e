"""Clients that take their time with a body, against a real server: each would hold one of its connections for good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from integrations_api import body_limit
from supabase_integrations import bounded_http
from tests.unit.edge.test_middleware import application


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=bounded_http.BoundedHttpProtocol, log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def answered(port: int, text: str, drip: bytes = b"", every: float = 0.02) -> bytes:
    """Everything the server says until it hangs up, while `drip` is sent again and again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())

    async def dripping() -> None:
        while drip:
            await asyncio.sleep(every)
            writer.write(drip)
            await writer.drain()

    task = asyncio.create_task(dripping())
    try:
        async with asyncio.timeout(60):
            got = b""
            try:
                while chunk := await reader.read(65536):
                    got += chunk
            except ConnectionError:
                pass
            return got
    finally:
        task.cancel()
        await asyncio.wait([task])
        writer.close()


def head(length: int, path: str = "/raw") -> str:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"


@pytest.mark.parametrize("drip", [b"", b" "])
@pytest.mark.parametrize("path", ["/raw", "/body"])
async def test_a_body_that_does_not_come_in_time_is_refused_and_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, path: str, drip: bytes
) -> None:
    monkeypatch.setattr(body_limit, "BODY_SECONDS", 0.2)
    async with served(application()) as port:
        got = await answered(port, head(90, path), drip)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in got
    assert b"connection: close" in got


async def test_what_still_comes_after_the_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """413 before the body is there: a byte now and then would keep the connection for good."""
    monkeypatch.setattr(bounded_http, "REST_SECONDS", 0.3)
    async with served(application()) as port:
        got = await answered(port, head(10_000_000), b"x")
    assert got.startswith(b"HTTP/1.1 413 ")


async def test_who_writes_all_before_reading_gets_the_answer() -> None:
    """More than a head may have, answered early; and the connection serves the next request."""
    async with served(application()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            head(2_000_000).encode() + b"x" * 2_000_000 + b"GET /id HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        await writer.drain()
        got = await reader.read()
        writer.close()
    assert got.startswith(b"HTTP/1.1 413 ")
    assert got.count(b"HTTP/1.1 200 ") == 1


async def test_a_body_may_take_its_time_while_the_request_before_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_http, "REST_SECONDS", 0.2)
    goes_on = asyncio.Event()
    app = application()

    @app.get("/waits")
    async def waits() -> str:
        await goes_on.wait()
        return "first"

    @app.post("/second")
    async def second(request: Request) -> str:
        return (await request.body()).decode()

    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /waits HTTP/1.1\r\nhost: x\r\n\r\n" + head(2, "/second").encode() + b"a")
        await writer.drain()
        await asyncio.sleep(0.05)
        goes_on.set()
        await asyncio.sleep(0.5)
        writer.write(b"b")
        got = await asyncio.wait_for(reader.readuntil(b'"ab"'), 60)
        writer.close()
    assert b'"first"' in got


async def test_an_answer_may_take_longer_than_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is the client's: it stops when the body is there."""
    monkeypatch.setattr(body_limit, "BODY_SECONDS", 0.1)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        watching = asyncio.ensure_future(receive())
        await asyncio.sleep(0.3)
        assert not watching.done()
        watching.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with served(body_limit.BodyLimit(slow)) as port:
        got = await answered(port, head(1) + "x" + "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 ") == 2
