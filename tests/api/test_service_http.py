"""The connections that services are called over: to whom they lead, and that nothing stays in them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from supabase_integrations.adapters.http_streams import StreamingServiceHttp, open_service_http
from supabase_integrations.core.errors import ProviderUnavailableError
from supabase_integrations.port_service_http import ServiceRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=canary\r\n\r\nok"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Server:
    """Answers each request with the next of its answers, and hangs up after an empty one."""

    port: int = 0
    answers: list[bytes] = field(default_factory=lambda: [OK])
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/x"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Names(AbstractResolver):
    """Resolves every name to the next of some addresses, and counts how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        self.asked += 1
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [
            {"hostname": host, "host": each, "port": port, "family": 10 if ":" in each else 2, "proto": 0, "flags": 4}
            for each in address.split()
        ]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on 127.0.0.1."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@asynccontextmanager
async def opened(*, allow_loopback: bool = True, **options: Any) -> AsyncIterator[Callable[..., Any]]:
    """Sends a GET and returns status and body."""
    async with open_service_http(allow_loopback=allow_loopback, **options) as http:

        async def get(url: str, method: str = "GET") -> tuple[int, bytes]:
            return await sent(http, ServiceRequest(method, url))

        yield get


async def sent(http: StreamingServiceHttp, request: ServiceRequest) -> tuple[int, bytes]:
    exchange = await http.open(request)
    try:
        return exchange.status, b"".join([chunk async for chunk in exchange.chunks()])
    finally:
        await exchange.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_this_machine_is_called_in_development_alone(server: Server, host: str) -> None:
    async with opened(allow_loopback=False) as get:
        with pytest.raises(ProviderUnavailableError) as caught:
            await get(f"http://{host}:{server.port}/x")
    assert (caught.value.code, server.connections) == ("forbidden_address", 0)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.0.1", "169.254.169.254", "127.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)
async def test_a_name_that_leads_inwards_is_refused(server: Server, address: str) -> None:
    names = Names(address)
    async with opened(allow_loopback=False, resolver=names) as get:
        with pytest.raises(ProviderUnavailableError) as caught:
            await get(f"http://service.example:{server.port}/x")
    assert (caught.value.code, names.asked, server.connections) == ("forbidden_address", 1, 0)


async def test_a_name_is_resolved_once_and_the_checked_address_is_called(server: Server) -> None:
    """A second answer, which would lead elsewhere, is not asked for."""
    names = Names("127.0.0.1", "10.0.0.1")
    async with opened(resolver=names) as get:
        assert await get(f"http://service.example:{server.port}/x") == (200, b"ok")
    assert (names.asked, server.connections) == (1, 1)


async def test_redirects_are_answers(server: Server) -> None:
    server.answers = [MOVED]
    async with opened() as get:
        assert await get(server.url) == (302, b"")
    assert len(server.heads) == 1


async def test_nothing_is_remembered_between_requests(server: Server) -> None:
    async with opened() as get:
        await get(server.url)
        await get(server.url)
    assert b"canary" not in server.heads[1]
    assert server.connections == 1


async def test_the_environments_proxy_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    async with opened(resolver=Names("10.0.0.1")) as get:
        with pytest.raises(ProviderUnavailableError):
            await get("http://service.example/x")
    assert server.connections == 0


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_nothing_is_sent_twice_when_the_service_hangs_up(server: Server, method: str) -> None:
    server.answers = [OK, b"", OK]
    async with opened() as get:
        await get(server.url)
        with pytest.raises(ProviderUnavailableError):
            await get(server.url, method)
    assert len(server.heads) == 2


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha"])
async def test_a_service_that_pauses_is_left(server: Server, beginning: bytes) -> None:
    server.answers = [beginning]
    async with opened(idle_seconds=0.2) as get:
        with pytest.raises(ProviderUnavailableError, match="in time"):
            await get(server.url)


async def test_who_finds_no_connection_free_is_not_told_of_a_slow_service(server: Server) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha"]
    async with open_service_http(allow_loopback=True, connections_per_host=1) as http:
        held = await http.open(ServiceRequest("GET", server.url))
        try:
            with pytest.raises(ProviderUnavailableError, match="Too many calls of the service are under way here"):
                await http.open(ServiceRequest("GET", server.url))
        finally:
            await held.close()
    assert len(server.heads) == 1


async def test_messages_do_not_hold_the_url(server: Server) -> None:
    server.answers = [b"nonsense\r\n\r\n"]
    async with opened() as get:
        for url in (f"{server.url}?access_token=canary", "http://127.0.0.1:1/?access_token=canary"):
            with pytest.raises(ProviderUnavailableError) as caught:
                await get(url)
            assert "canary" not in f"{caught.value!r}{caught.value.__cause__!r}"
            assert caught.value.__suppress_context__


async def test_informational_answers_without_end_are_cut(server: Server) -> None:
    """As an endless head is, and not for taking too long: aiohttp would read them for as long as they come."""
    server.answers = [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1_000_000]
    async with opened() as get:
        with pytest.raises(ProviderUnavailableError, match="could not be reached"):
            await get(server.url)


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_some_of_them_are_passed_over(server: Server, size: int) -> None:
    """However large the answer is that comes with them: its body is not counted."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 5_000
    server.answers = [hints + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size]
    async with opened() as get:
        for _ in range(3):
            status, body = await get(server.url)
            assert (status, len(body)) == (200, size)
