"""The shared HTTP pool against servers that misbehave on the wire: nothing is sent twice, kept, or endless."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from supabase_integrations.adapters.http_failures import ReplyTooLargeError
from supabase_integrations.adapters.http_pool import HttpLimits, open_http_pool

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHORT = HttpLimits(connect_timeout=timedelta(seconds=1), total_timeout=timedelta(seconds=1), max_reply_bytes=100_000)
"""For servers that are given up."""
LONG = HttpLimits(connect_timeout=timedelta(seconds=20), total_timeout=timedelta(seconds=20), max_reply_bytes=100_000)
"""For servers that are not, however busy the machine is."""

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class WireServer:
    """Answers every request as `behave` says, and remembers the heads of the requests it was sent."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                await self.behave(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(behave: Behaviour) -> AsyncIterator[WireServer]:
    wire = WireServer(behave)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(wire.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def replying(*parts: bytes, pause: float = 0.0) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def then_closing(*parts: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        await replying(*parts)(writer)
        writer.close()

    return behave


def then_resetting(*parts: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        await replying(*parts)(writer)
        await asyncio.sleep(0.02)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    return behave


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


async def hinting(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 1000)
        await writer.drain()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_two_requests_travel_over_one_pool_and_leave_no_cookie(host: str) -> None:
    # By name too, because aiohttp's own cookie jar keeps nothing of hosts that are written as numbers.
    setting_a_cookie = replying(b"HTTP/1.1 200 OK\r\nset-cookie: identity=a; path=/\r\ncontent-length: 2\r\n\r\nok")
    async with serving(setting_a_cookie) as wire, open_http_pool() as http:
        url = wire.url.replace("127.0.0.1", host)
        first = await http.get(url, headers={"authorization": "Bearer canary-a"})
        second = await http.get(url, headers={"authorization": "Bearer canary-b"})

    assert first.headers["set-cookie"].startswith("identity=a")
    assert second.status_code == 200
    assert "cookie" not in wire.heads[1].lower()
    assert "canary-a" not in wire.heads[1]


async def test_a_second_answer_is_not_the_next_callers() -> None:
    written = asyncio.Event()

    async def twice(writer: asyncio.StreamWriter) -> None:
        await replying(OK, pause=0.1)(writer)
        writer.write(OK.replace(b"ok", b"no"))
        await writer.drain()
        written.set()

    async with serving(twice) as wire, open_http_pool() as http:
        assert (await http.get(wire.url)).content == b"ok"
        await written.wait()
        await asyncio.sleep(0.2)
        wire.behave = then_closing(OK)
        assert (await http.get(wire.url)).content == b"ok"


async def test_the_body_of_a_reply_to_head_is_not_the_next_callers() -> None:
    poison = OK.replace(b"ok", b"no")

    async def with_a_body(writer: asyncio.StreamWriter) -> None:
        await replying(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(poison), pause=0.1)(writer)
        writer.write(poison)

    async with serving(with_a_body) as wire, open_http_pool() as http:
        assert (await http.head(wire.url)).status_code == 200
        wire.behave = then_closing(OK)
        assert (await http.get(wire.url)).content == b"ok"


async def test_the_environments_proxy_and_netrc_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving(replying(OK)) as wire, open_http_pool() as http:
        assert (await http.get(wire.url)).text == "ok"


async def test_a_redirect_is_returned_and_not_followed() -> None:
    async with (
        serving(
            replying(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")
        ) as wire,
        open_http_pool() as http,
    ):
        reply = await http.get(wire.url)

    assert reply.status_code == 307
    assert len(wire.heads) == 1


async def test_requests_name_this_library_and_accept_plain_replies_only() -> None:
    async with serving(replying(OK)) as wire, open_http_pool() as http:
        await http.get(wire.url)

    assert "user-agent: supabase-integrations/" in wire.heads[0].lower()
    assert "accept-encoding: identity" in wire.heads[0].lower()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (then_closing(), httpx.RemoteProtocolError),
        (then_resetting(), httpx.ReadError),
        (then_closing(b"lorem ipsum\r\n\r\n"), httpx.RemoteProtocolError),
        (silence, httpx.ReadTimeout),
    ],
    ids=["hangs up", "resets", "is not http", "is silent"],
)
async def test_a_request_that_may_have_been_executed_is_sent_once_and_not_called_unsent(
    method: str, behave: Behaviour, expected: type[httpx.TransportError]
) -> None:
    async with serving(behave) as wire, open_http_pool(SHORT if behave is silence else LONG) as http:
        with pytest.raises(expected) as failure:
            await http.request(method, wire.url + "/?code=canary-code")

    assert len(wire.heads) == 1
    assert not isinstance(failure.value, UNSENT)
    assert "canary" not in str(failure.value)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (then_closing(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"), httpx.ReadError),
        (then_resetting(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"), httpx.ReadError),
        (then_closing(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"), httpx.ReadError),
        (replying(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", *[b"x"] * 99, pause=0.05), httpx.ReadTimeout),
        (replying(b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n"] * 99, pause=0.05), httpx.ReadTimeout),
        (endless, ReplyTooLargeError),
        (hinting, httpx.RemoteProtocolError),
        (replying(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n"), ReplyTooLargeError),
        (
            replying(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok"),
            httpx.RemoteProtocolError,
        ),
    ],
    ids=[
        *("cut", "reset", "cut chunk", "dripping body", "dripping head", "endless", "endless hints"),
        *("announced too large", "compressed"),
    ],
)
async def test_a_reply_that_does_not_arrive_whole_plain_small_and_in_time_is_an_error(
    behave: Behaviour, expected: type[httpx.TransportError]
) -> None:
    async with serving(behave) as wire, open_http_pool(SHORT if expected is httpx.ReadTimeout else LONG) as http:
        with pytest.raises(expected) as failure:
            await http.get(wire.url)

    assert not isinstance(failure.value, UNSENT)


async def test_a_reply_of_exactly_the_largest_size_is_read() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000
    async with serving(replying(reply)) as wire, open_http_pool(LONG) as http:
        assert len((await http.get(wire.url)).content) == 100_000


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://name.invalid/", "gopher://127.0.0.1/"])
async def test_what_could_not_be_sent_is_known_to_be_unsent(url: str) -> None:
    async with open_http_pool(SHORT) as http:
        with pytest.raises(UNSENT):
            await http.get(url)


async def test_a_full_pool_refuses_instead_of_queueing_for_ever() -> None:
    limits = HttpLimits(max_connections=1, connect_timeout=timedelta(seconds=1), total_timeout=timedelta(seconds=3))
    async with serving(silence) as wire, open_http_pool(limits) as http:
        outcomes = await asyncio.gather(http.get(wire.url), http.get(wire.url), return_exceptions=True)

    assert len(wire.heads) == 1
    assert [type(outcome) for outcome in outcomes] == [httpx.ReadTimeout, httpx.PoolTimeout]


class SilentResolver(AbstractResolver):
    """Never finds a name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.Event().wait()
        return []

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_server_that_is_not_reached_is_not_taken_for_a_full_pool() -> None:
    limits = HttpLimits(max_connections=1, connect_timeout=timedelta(seconds=1), total_timeout=timedelta(seconds=60))
    async with open_http_pool(limits, resolver=SilentResolver()) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get("http://name.invalid/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_socket_factory_can_refuse_any_address_with_an_error_of_its_own(host: str) -> None:
    class AddressRefusedError(Exception):
        pass

    def refuse(_: object) -> socket.socket:
        raise AddressRefusedError

    async with serving(replying(OK)) as wire, open_http_pool(socket_factory=refuse) as http:
        with pytest.raises(AddressRefusedError):
            await http.get(wire.url.replace("127.0.0.1", host))

    assert wire.heads == []
