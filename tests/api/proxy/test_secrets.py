"""Somebody tries to see a token: through a service that repeats everything, and by what is sent to it."""

import asyncio
import base64
import hashlib
import hmac
import html
import json
import re
import urllib.parse
from collections.abc import Iterator

import httpx
import pytest

from tests import canaries
from tests.api.proxy.conftest import KEY, Connect, Connected
from tests.api.proxy.echo_service import EchoService
from tests.local_system import LocalSystem
from tests.people import Person

PASSWORD = "canary/password+4e6d=&'x"


def unescaped(text: str) -> str:
    """A text with everything undone that encoders do, several times over."""
    for _ in range(4):
        text = html.unescape(urllib.parse.unquote(text.replace("\\/", "/").replace('\\"', '"')))
    return text


def decoded(text: str) -> Iterator[str]:
    """What may stand in a text in Base64, wherever that begins."""
    for run in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        for start in range(4):
            whole = run[start:].replace("-", "+").replace("_", "/")
            yield base64.b64decode(whole[: len(whole) // 4 * 4]).decode("latin-1")


def assert_hidden(answer: httpx.Response, *secrets: str) -> None:
    shown = unescaped(answer.text + "\n".join(answer.headers.values()))
    assert "[redacted]" in shown
    assert [secret for secret in secrets if unescaped(secret) in shown or secret in shown] == []
    assert [secret for secret in secrets for text in decoded(shown) if secret in text] == []


def proof_of(token: str) -> str:
    return hmac.new(canaries.CLIENT_SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_echo_shows_no_token(ada: Person, connect: Connect, echo: EchoService, method: str) -> None:
    connected = await connect(ada)
    answer = await connected.call(method, "/echo", params={"a": "b"})
    assert echo.token in echo.last.text
    assert_hidden(answer, echo.token, echo.refresh_token)


async def test_an_echo_shows_no_signature(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_proof")
    answer = await connected.get("/echo", params={"appsecret_proof": "the caller's", "access_token": "the caller's"})
    assert [pair for pair in echo.last.query if "caller" in pair[1]] == []
    assert dict(echo.last.query)["appsecret_proof"] == proof_of(echo.token)
    assert_hidden(answer, echo.token, proof_of(echo.token))


@pytest.mark.parametrize("service", ["echo_header", "echo_query", "echo_key_as_user"])
async def test_an_echo_shows_no_key(ada: Person, connect: Connect, echo: EchoService, service: str) -> None:
    connected = await connect(ada, service)
    encoded = base64.b64encode(f"{KEY}:".encode()).decode()
    assert_hidden(await connected.get("/echo"), KEY, encoded)


async def test_an_echo_shows_no_key_of_a_body(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_body")
    assert_hidden(await connected.call("POST", "/echo", json={"a": 1}), KEY)
    assert_hidden(await connected.call("POST", "/echo", data={"a": "1"}), KEY)


async def test_an_echo_shows_no_password(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_basic", credentials={"username": "ada", "password": PASSWORD})
    encoded = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    answer = await connected.get("/echo")
    assert encoded in echo.last.text
    assert_hidden(answer, PASSWORD, f"ada:{PASSWORD}", encoded)


async def test_an_error_shows_no_token(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    for status in (400, 403, 500):
        answer = await connected.get(f"/status/{status}")
        assert echo.token in echo.last.text
        assert_hidden(answer, echo.token)


async def test_neither_the_old_token_nor_the_new_one_is_seen(ada: Person, connect: Connect, echo: EchoService) -> None:
    """The answer names both: the one that was refused and the one that came of it."""
    connected = await connect(ada)
    await asyncio.sleep(5.1)  # a younger token is not renewed on request
    old, old_refresh = echo.token, echo.refresh_token
    echo.tokens += 1
    answer = await connected.get("/fresh", params={"see": old})
    assert answer.status_code == 200
    assert old in unescaped(echo.last.target)
    assert_hidden(answer, old, old_refresh, echo.token, echo.refresh_token)


async def test_meta_s_paging_link_comes_without_its_token(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    await connected.get("/x")
    link = f"https://graph.example/v1/act_1/ads?access_token={urllib.parse.quote(echo.token)}&limit=25&after=Mg"
    body = json.dumps({"paging": {"next": link}}).replace("/", "\\/")
    answer = await connected.get("/written", params={"body": body})
    assert answer.json()["paging"]["next"] == (
        "https://graph.example/v1/act_1/ads?access_token=[redacted]&limit=25&after=Mg"
    )


async def test_parts_of_an_answer_are_not_asked_for(ada: Person, connect: Connect, echo: EchoService) -> None:
    """Half a token could not be told from anything else."""
    connected = await connect(ada)
    ranges = dict.fromkeys(("range", "Request-Range", "x-ms-range", "x_ms_range"), "bytes=0-60")
    dropped = ranges | {"if-range": '"x"', "accept-charset": "utf-16"}
    await connected.get("/echo", headers=dropped | {"content-range": "bytes 0-4/9"})
    assert {name.lower() for name in dropped}.isdisjoint(name.lower() for name in echo.last.headers)
    assert echo.last.headers["content-range"] == "bytes 0-4/9"
    assert echo.last.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "headers",
    [
        [("content-encoding", "gzip")],
        [("content-encoding", "br")],
        [("content-encoding", "identity"), ("content-encoding", "gzip")],
        [("content-type", "text/plain; charset=UTF-16LE")],
        [("content-type", "text/plain; charset = utf-16")],
        [("content-type", "text/plain; charset=unicode")],
        [("content-type", "text/plain; charset=utf-16"), ("content-type", "text/plain")],
    ],
)
async def test_an_answer_that_cannot_be_searched_is_refused(
    keyed: Connected, echo: EchoService, headers: list[tuple[str, str]]
) -> None:
    answer = await keyed.get("/written", params=[*headers, ("body", "x")])
    assert (answer.status_code, answer.json()["code"]) == (502, "provider_unavailable")


async def test_who_the_caller_is_stays_here(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    kept = {"x-own": "1", "accept": "text/csv", "prefer": "minimal", "idempotency-key": "k"}
    dropped = {
        "cookie": "session=canary",
        "apikey": "sb_publishable_canary",
        "origin": "https://app.example",
        "referer": "https://app.example/page",
        "user-agent": "canary-browser",
        "forwarded": "for=192.0.2.1",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-host": "evil.example",
        "x_forwarded_proto": "http",
        "x-real-ip": "192.0.2.1",
        "cf-connecting-ip": "192.0.2.1",
        "sec-fetch-site": "cross-site",
        "proxy-authorization": "Basic canary",
        "connection": "x-hop",
        "x-hop": "canary",
        "te": "trailers",
        "x-http-method-override": "DELETE",
        "x_http_method_override": "DELETE",
        "x-method-override": "DELETE",
        "method-override": "DELETE",
        "x-http-verb": "DELETE",
        "x-original-uri": "/admin",
        "proxy": "http://evil.example",
        "a-im": "range",
        "x-original-url": "/admin",
        "x-request-id": "canary-request-id",
    }
    answer = await connected.get("/echo", headers=kept | dropped)
    assert answer.status_code == 200
    got = {name.lower(): value for name, value in echo.last.headers.items()}
    assert {name: got[name] for name in kept} == kept
    assert sorted(set(got) - set(kept)) == ["accept-encoding", "authorization", "host", "user-agent"]
    assert ada.access_token not in echo.last.text
    assert "canary-browser" not in got["user-agent"]


async def test_what_the_service_sets_stays_there(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    answer = await connected.get(
        "/written", params={"set-cookie": "a=b", "x-custom-limit": "5", "content-type": "text/html", "body": "<script>"}
    )
    assert {"set-cookie", "server", "x-echo", "authorization"}.isdisjoint(answer.headers)
    assert answer.headers["x-custom-limit"] == "5"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


async def test_a_log_line_tells_of_each_call_and_no_secret(
    ada: Person, connect: Connect, echo: EchoService, local_system: LocalSystem
) -> None:
    connected = await connect(ada)
    await connected.get("/contacts/ada@example.com/v1", params={"q": "canary-query"}, headers={"x-own": "canary-head"})
    text = (local_system.log_dir / "api-proxy.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if '"service.called"' in line]
    (line,) = [line for line in lines if line["integration_id"] == connected.row["id"]]
    assert (line["service"], line["method"], line["path"], line["status"]) == ("echo", "GET", "/contacts/{…}/v1", 200)
    assert (line["attempt"], line["error"]) == (1, None)
    for secret in ("canary/access", "canary/refresh", "canary-query", "canary-head", "ada@example.com", KEY):
        assert secret not in text
