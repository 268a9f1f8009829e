"""Names that lead elsewhere the second time, and services that are slow on purpose: the connections themselves."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from supabase_integrations.adapters import http_streams
from supabase_integrations.adapters.http_streams import open_service_http
from supabase_integrations.core.errors import ProviderUnavailableError
from supabase_integrations.port_service_http import ServiceRequest
from tests.api.proxy.hostile_service import (
    Behaviour,
    HostileService,
    answer,
    running_hostile_service,
    then_hang_up,
    without_end,
)
from tests.api.test_service_http import Names, opened, sent

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
IDLE = 0.4
"""Seconds; in production a minute."""
SOON = 30.0
"""Seconds; what is left to itself goes on for good."""


@pytest.fixture
async def service() -> AsyncIterator[HostileService]:
    """One for each test."""
    async with running_hostile_service() as running:
        yield running


@pytest.fixture(autouse=True)
def connecting_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is added to the wait for a reply is little."""
    monkeypatch.setattr(http_streams, "CONNECT_SECONDS", 0.2)


@pytest.fixture
async def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that somebody wanted to connect to; nothing leaves this machine."""
    loop, found = asyncio.get_running_loop(), list[str]()
    connect = loop.sock_connect

    async def sock_connect(sock: Any, address: Any) -> None:
        found.append(address[0])
        if not address[0].startswith("127."):
            raise ConnectionRefusedError
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    return found


async def with_patience(attempt: Callable[[float], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Try something that takes as long as nothing may be silent for: where the machine stands still for that long, with
    more of it.
    """
    for idle in (IDLE, 5 * IDLE):
        try:
            await attempt(idle)
        except ProviderUnavailableError:
            monkeypatch.setattr(http_streams, "CONNECT_SECONDS", idle)
        else:
            return
    await attempt(20 * IDLE)


async def test_a_name_that_becomes_loopback_after_it_was_checked_is_not_followed(
    service: HostileService, dialled: list[str]
) -> None:
    """The first answer is public and does not answer; a second one, which is never asked for, would be this machine."""
    names = Names("93.184.215.14", "127.0.0.1")
    async with opened(allow_loopback=False, resolver=names) as get:
        with pytest.raises(ProviderUnavailableError):
            await get(f"http://rebinding.example:{service.port}/x")
    assert (dialled, names.asked, service.connections) == (["93.184.215.14"], 1, 0)


async def test_a_name_that_is_public_and_loopback_at_once_is_not_followed_inwards(
    service: HostileService, dialled: list[str]
) -> None:
    """The public one refuses, so that the other one is next."""
    for addresses in ("93.184.215.14 127.0.0.1", "127.0.0.1 93.184.215.14", "2606:2800:21f::1 ::1 127.0.0.1"):
        async with opened(allow_loopback=False, resolver=Names(addresses)) as get:
            with pytest.raises(ProviderUnavailableError):
                await get(f"http://rebinding.example:{service.port}/x")
    assert service.connections == 0
    assert set(dialled) <= {"93.184.215.14", "2606:2800:21f::1"}


async def test_a_name_that_becomes_forbidden_between_two_calls_is_refused_then(
    service: HostileService, dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked for the first connection is no pass for the second."""
    allowed = {"93.184.215.14"}
    monkeypatch.setattr(
        "supabase_integrations.adapters.egress_sockets.may_call", lambda address, **_: address in allowed
    )
    async with opened(allow_loopback=False, resolver=Names("93.184.215.14")) as get:
        for code in ("provider_unavailable", "forbidden_address"):
            with pytest.raises(ProviderUnavailableError) as refused:
                await get(f"http://rebinding.example:{service.port}/x")
            assert refused.value.code == code
            allowed.clear()
    assert dialled == ["93.184.215.14"]


SLOW: dict[str, Behaviour] = {
    "head by bytes": without_end(HEAD + b"X-A: ", b"a", 0.05),
    "head by headers": without_end(HEAD, b"X-A: b\r\n", 0.05),
    "hints": without_end(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05),
    "hints as fast as can be": without_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a chunk's size": without_end(CHUNKED, b"0" * 1000, 0.05),
    "a chunk's size as fast as can be": without_end(CHUNKED, b"0" * 10_000),
    "a chunk's extension": without_end(CHUNKED + b"5;a=", b"a" * 1000, 0.05),
    "a trailer": without_end(CHUNKED + b"0\r\nX-A: ", b"a" * 4096, 0.01),
}
"""None of them ever says anything, and all go on writing."""


@pytest.mark.parametrize("behaviour", SLOW.values(), ids=list(SLOW))
async def test_who_only_pretends_to_answer_is_left(service: HostileService, behaviour: Behaviour) -> None:
    service.behaviour = behaviour
    began = time.monotonic()
    async with opened(idle_seconds=IDLE) as get:
        with pytest.raises(ProviderUnavailableError):
            await get(f"{service.url}/x")
        await asyncio.wait_for(service.hung_up.wait(), SOON)
    assert time.monotonic() - began < SOON


async def test_who_answers_slowly_and_steadily_is_heard_to_the_end(
    service: HostileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events may come for longer than anything is waited for."""

    async def attempt(idle: float) -> None:
        async def events(writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED)
            for _ in range(10):
                await asyncio.sleep(idle / 4)
                writer.write(b"5\r\nevent\r\n")
            writer.write(b"0\r\n\r\n")

        service.behaviour = events
        async with opened(idle_seconds=idle) as get:
            assert await get(f"{service.url}/x") == (200, b"event" * 10)

    await with_patience(attempt, monkeypatch)


async def pieces(count: int, size: int, pause: float = 0) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause)
        yield bytes(size)


async def test_who_takes_no_body_is_left(service: HostileService) -> None:
    service.behaviour = without_end(b"", b"", 0.05)
    began = time.monotonic()
    async with open_service_http(allow_loopback=True, idle_seconds=IDLE) as http:
        with pytest.raises(ProviderUnavailableError, match="in time"):
            await sent(http, ServiceRequest("POST", f"{service.url}/x", body=pieces(10_000, 65_536)))
    assert time.monotonic() - began < SOON


async def test_a_caller_may_pause_for_longer_than_a_service(
    service: HostileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def attempt(idle: float) -> None:
        everything_is_sent = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            async for piece in pieces(3, 10, 2 * idle):
                yield piece
            everything_is_sent.set()

        async def whole(writer: asyncio.StreamWriter) -> None:
            await everything_is_sent.wait()
            writer.write(answer())

        service.behaviour = whole
        async with open_service_http(allow_loopback=True, idle_seconds=idle) as http:
            assert await sent(http, ServiceRequest("POST", f"{service.url}/x", body=body())) == (200, b"ok")

    await with_patience(attempt, monkeypatch)


async def test_an_answer_before_the_end_of_the_body_is_one(
    service: HostileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.behaviour = then_hang_up(answer(b"too large", status="413 Content Too Large"))

    async def attempt(idle: float) -> None:
        async with open_service_http(allow_loopback=True, idle_seconds=idle) as http:
            reply = await sent(http, ServiceRequest("POST", f"{service.url}/x", body=pieces(20, 10, idle / 8)))
        assert reply == (413, b"too large")

    await with_patience(attempt, monkeypatch)
