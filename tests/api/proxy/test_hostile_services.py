"""Services that attack whoever calls them: framing that two readers read in two ways, bombs, floods and scripts."""

import asyncio
import gzip
import time
import zlib

import pytest

from tests.api.proxy.conftest import KEY, Connect, Connected, RawAnswer
from tests.api.proxy.hostile_service import Behaviour, HostileService, answer, then_hang_up, without_end
from tests.people import Person

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
UNAVAILABLE = (502, "provider_unavailable")
SOON = 30.0
"""Seconds; the proxy's own patience is a minute."""


def refusal(raw: RawAnswer) -> tuple[int, str]:
    """Status and code of an answer that has to be ours."""
    assert "integrations-upstream-status" not in raw.headers
    return raw.status, raw.body.partition(b'"code":"')[2].partition(b'"')[0].decode()


FRAMING = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nokabc",
    "one length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\nok",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\nok",
    "a hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\nok",
    "a length beyond 64 bits": HEAD + b"Content-Length: 18446744073709551618\r\n\r\nok",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + HELLO,
    "length and hidden chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding : chunked\r\n\r\n" + HELLO,
    "identity and length": HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    "almost chunks": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + HELLO,
    "compressed chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + HELLO,
    "a body where none is": answer(b"hello", status="204 No Content"),
    "a carriage return alone": HEAD + b"X-RateLimit-A: a\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok",
    "a NUL": HEAD + b"X-RateLimit-A: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    "a status of two digits": answer(status="99 OK"),
    "a status of four digits": answer(status="1000 OK"),
    "a status above all": answer(status="999 OK"),
    "another protocol": answer().replace(b"HTTP/1.1", b"ICY"),
    "no head": b"hello\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nok",
}
"""Each is refused with 502 `provider_unavailable`: what could be read in two ways is not read."""


@pytest.mark.parametrize("written", FRAMING.values(), ids=list(FRAMING))
async def test_an_answer_that_could_be_read_twice_is_refused(
    hostile: Connected, service: HostileService, written: bytes
) -> None:
    service.behaviour = then_hang_up(written)
    assert refusal(await hostile.raw("GET", hostile.proxy + "/x")) == UNAVAILABLE
    assert len(service.heads) == 1


BROKEN_CHUNKS = {
    "beyond 64 bits": b"FFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "longer than said": b"2\r\nhello\r\n0\r\n\r\n",
    "line feeds alone": b"5\nhello\n0\n\n",
    "no end": b"5\r\nhello\r\n",
}


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS.values(), ids=list(BROKEN_CHUNKS))
async def test_a_body_that_breaks_is_never_taken_for_a_whole_one(
    hostile: Connected, service: HostileService, chunks: bytes
) -> None:
    service.behaviour = then_hang_up(CHUNKED, b"5\r\nbegun\r\n", chunks)
    raw = await hostile.raw("GET", hostile.proxy + "/x")
    if raw.status == 200:
        assert raw.headers["transfer-encoding"] == "chunked"
        assert not raw.body.endswith(b"0\r\n\r\n")
    else:
        assert refusal(raw) == UNAVAILABLE


@pytest.mark.parametrize("ending", ["\n", "\r\n "], ids=["line feed", "folded"])
async def test_a_header_that_is_two_is_not_passed_on_as_two(
    hostile: Connected, service: HostileService, ending: str
) -> None:
    service.behaviour = then_hang_up(answer(b"ok", f"X-RateLimit-A: a{ending}Set-Cookie: a=b"))
    raw = await hostile.raw("GET", hostile.proxy + "/x")
    assert (raw.status, "set-cookie" in raw.headers) == (200, False)


async def test_a_second_answer_is_nobodys(
    hostile: Connected, ada: Person, connect: Connect, service: HostileService
) -> None:
    """The service writes one more answer than it was asked for, and another user's call comes after it."""
    mine, theirs = hostile, await connect(ada, "hostile")

    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"mine"))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(answer(b"poison"))
        await writer.drain()

    for _ in range(2):
        service.behaviour = twice
        assert (await mine.raw("GET", mine.proxy + "/x")).body.endswith(b"mine\r\n0\r\n\r\n")
        await asyncio.sleep(0.3)
        service.behaviour = then_hang_up(answer(b"theirs"))
        assert (await theirs.raw("GET", theirs.proxy + "/x")).body.endswith(b"theirs\r\n0\r\n\r\n")


async def test_what_follows_the_answer_to_a_head_is_nobodys_either(hostile: Connected, service: HostileService) -> None:
    """A service that sends a body all the same could have put an answer of its own into it."""

    async def with_a_body(writer: asyncio.StreamWriter) -> None:
        poison = answer(b"poison")
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(poison))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(poison)

    service.behaviour = with_a_body
    assert (await hostile.raw("HEAD", hostile.proxy + "/x")).status == 200
    service.behaviour = then_hang_up(answer(b"next"))
    assert (await hostile.raw("GET", hostile.proxy + "/x")).body.endswith(b"next\r\n0\r\n\r\n")
    assert service.connections == 2


def bomb() -> bytes:
    """Four gibibytes of zeros in four megabytes, as gzip allows: one member after another."""
    return gzip.compress(bytes(64 * 1024 * 1024)) * 64


CODINGS = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "GZIP", "identity, gzip", "gzip, identity", "unknown"]


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_bomb_is_not_unpacked(hostile: Connected, service: HostileService, coding: str) -> None:
    """The caller would take it compressed; the service is asked not to, and does it all the same."""
    service.behaviour = then_hang_up(answer(b"\x1f\x8b" * 1000, f"Content-Encoding: {coding}"))
    raw = await hostile.raw("GET", hostile.proxy + "/x", {"accept-encoding": "gzip, br, zstd, deflate"})
    assert refusal(raw) == UNAVAILABLE
    assert b"accept-encoding: identity\r\n" in service.heads[0].lower()


async def test_a_bomb_without_a_label_is_bytes_like_others(hostile: Connected, service: HostileService) -> None:
    packed = bomb()
    service.behaviour = then_hang_up(answer(packed, "Content-Type: application/gzip"))
    began = time.monotonic()
    passed = await hostile.get("/x")
    assert (passed.status_code, passed.content == packed) == (200, True)
    assert "content-encoding" not in passed.headers
    assert time.monotonic() - began < SOON


async def test_a_bomb_ends_with_the_first_bytes_of_its_head(hostile: Connected, service: HostileService) -> None:
    packed = zlib.compress(bytes(1024 * 1024))
    service.behaviour = without_end(HEAD + b"Content-Encoding: deflate\r\n\r\n", packed)
    assert refusal(await hostile.raw("GET", hostile.proxy + "/x")) == UNAVAILABLE
    await asyncio.wait_for(service.hung_up.wait(), SOON)


FLOODS: dict[str, Behaviour] = {
    "one header": without_end(HEAD + b"X-A: ", b"a" * 4096),
    "one header's name": without_end(HEAD, b"a" * 4096),
    "headers": without_end(HEAD, b"X-A: b\r\n" * 100),
    "one reason": without_end(b"HTTP/1.1 200 ", b"a" * 4096),
    "headers of a hint": without_end(b"HTTP/1.1 103 Early Hints\r\n", b"Link: </a>\r\n" * 100),
}


@pytest.mark.parametrize("behaviour", FLOODS.values(), ids=list(FLOODS))
async def test_a_head_without_end_is_cut(hostile: Connected, service: HostileService, behaviour: Behaviour) -> None:
    service.behaviour = behaviour
    began = time.monotonic()
    assert refusal(await hostile.raw("GET", hostile.proxy + "/x")) == UNAVAILABLE
    await asyncio.wait_for(service.hung_up.wait(), SOON)
    assert time.monotonic() - began < SOON


async def test_trailers_without_end_are_cut(hostile: Connected, service: HostileService) -> None:
    service.behaviour = without_end(CHUNKED + b"0\r\n", b"X-A: b\r\n" * 100)
    raw = await asyncio.wait_for(hostile.raw("GET", hostile.proxy + "/x"), SOON)
    assert not raw.body.endswith(b"0\r\n\r\n")
    await asyncio.wait_for(service.hung_up.wait(), SOON)


async def test_answers_on_the_way_are_passed_over_with_what_they_say(
    hostile: Connected, service: HostileService
) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\nLink: </evil.js>; rel=preload\r\n\r\n"
    service.behaviour = then_hang_up(hint * 1000, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, answer(b"at last"))
    raw = await hostile.raw("GET", hostile.proxy + "/x")
    assert (raw.status, raw.body.endswith(b"at last\r\n0\r\n\r\n")) == (200, True)
    assert {"link", "set-cookie"}.isdisjoint(raw.headers)


SCRIPTS = {
    "text/html": b"<script>fetch('/api/integrations')</script>",
    "image/svg+xml": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "application/xhtml+xml": b'<script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script>',
    "text/javascript": b"alert(1)",
    "": b"<script>alert(1)</script>",
}


@pytest.mark.parametrize("content_type", SCRIPTS)
async def test_a_script_of_the_service_runs_nowhere(
    hostile: Connected, service: HostileService, content_type: str
) -> None:
    """It is shown on this server's origin, and says that it may do what it likes."""
    said = (
        f"Content-Type: {content_type}",
        "Content-Security-Policy: default-src * 'unsafe-inline'; script-src * 'unsafe-inline'",
        "X-Content-Type-Options: none",
        "Cache-Control: public, max-age=31536000",
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Credentials: true",
        "Service-Worker-Allowed: /",
        "Refresh: 0; url=https://evil.example/",
        "Clear-Site-Data: *",
        "Set-Cookie: integrations_oauth=evil",
        "Strict-Transport-Security: max-age=0",
        "Content-Location: https://evil.example/",
        "SourceMap: https://evil.example/",
    )
    service.behaviour = then_hang_up(answer(SCRIPTS[content_type], *said))
    got = await hostile.get("/x", headers={"origin": "https://evil.example"})
    assert (got.status_code, got.content) == (200, SCRIPTS[content_type])
    assert got.headers.get_list("content-security-policy") == ["sandbox; default-src 'none'"]
    assert got.headers.get_list("x-content-type-options") == ["nosniff"]
    assert got.headers.get_list("cache-control") == ["no-store"]
    ours = {"cache-control", "content-security-policy", "x-content-type-options", "integrations-upstream-status"}
    framing = {"date", "transfer-encoding", "x-request-id", "content-type", "vary"}
    # Without an allowed origin beside them these two of our own say nothing.
    cors = {"access-control-allow-credentials", "access-control-expose-headers"}
    assert set(got.headers) <= ours | framing | cors
    assert KEY not in got.text
