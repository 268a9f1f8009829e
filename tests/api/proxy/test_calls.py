"""Calls through the proxy: what the service gets, what comes back, and who may do it."""

import asyncio
import json
from typing import Any

import pytest

from tests.api.proxy.conftest import KEY, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, ORIGIN, Connect, Connected
from tests.api.proxy.echo_service import EchoService
from tests.people import Person

UPSTREAM = "integrations-upstream-status"


async def test_a_call_reaches_the_service_with_its_credentials(
    ada: Person, connect: Connect, echo: EchoService
) -> None:
    connected = await connect(ada)
    answer = await connected.get("/contacts/a%20b", params={"limit": "10", "q": "x y&z"})
    assert (answer.status_code, answer.headers[UPSTREAM]) == (200, "200")
    assert echo.last.path == "/api/contacts/a%20b"
    assert echo.last.query == [("limit", "10"), ("q", "x y&z")]
    assert echo.last.headers["authorization"] == f"Bearer {echo.token}"
    assert echo.last.headers["host"] == f"127.0.0.1:{echo.port}"
    # The service sends one as well, and two would be no valid answer.
    assert len(answer.headers.get_list("date")) == 1


@pytest.mark.parametrize(
    ("service", "shown"),
    [
        ("echo_header", ("header", "x-echo-key", f"Key {KEY}")),
        ("echo_query", ("query", "key", KEY)),
        ("echo_key_as_user", ("header", "authorization", "Basic Y2FuYXJ5L2FwaStrZXk9OTNiMiZzbydvbjo=")),
    ],
)
async def test_each_service_is_shown_its_key_as_it_asks(
    ada: Person, connect: Connect, echo: EchoService, service: str, shown: tuple[str, str, str]
) -> None:
    connected = await connect(ada, service)
    assert (await connected.get("/x")).status_code == 200
    place, name, value = shown
    found: Any = echo.last.headers if place == "header" else dict(echo.last.query)
    assert found[name] == value


async def test_a_key_that_belongs_into_the_body_gets_there(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_body")
    assert (await connected.call("POST", "/x", json={"q": 1, "key": "the caller's"})).status_code == 200
    assert json.loads(echo.last.body) == {"q": 1, "key": KEY}
    assert (await connected.call("POST", "/x", data={"q": "1", "key": "the caller's"})).status_code == 200
    assert echo.last.body == b"q=1&key=canary%2Fapi%2Bkey%3D93b2%26so%27on"
    refused = await connected.call("POST", "/x", content=b"<xml/>", headers={"content-type": "text/xml"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")


async def test_a_password_is_sent_as_basic(ada: Person, connect: Connect, echo: EchoService) -> None:
    credentials = {"username": "ada", "password": "canary-password"}
    connected = await connect(ada, "echo_basic", credentials=credentials)
    assert (await connected.get("/x")).status_code == 200
    assert echo.last.headers["authorization"] == "Basic YWRhOmNhbmFyeS1wYXNzd29yZA=="


async def test_a_body_goes_along(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    for size in (10, 200_000):
        body = bytes(range(256)) * size
        body = body[:size]
        answer = await connected.call("PUT", "/file", content=body, headers={"content-type": "application/x-some"})
        assert answer.status_code == 200
        assert (echo.last.body, echo.last.headers["content-type"]) == (body, "application/x-some")


async def test_somebody_elses_connection_is_not_there(
    ada: Person, mallory: Person, connect: Connect, echo: EchoService
) -> None:
    connected, own = await connect(ada), await connect(mallory, "echo_header")
    assert (await connected.get("/x")).status_code == 200
    echo.reset()
    answer = await own.http.get(f"{connected.proxy}/x")
    assert (answer.status_code, answer.json()["code"]) == (404, "integration_not_found")
    assert UPSTREAM not in answer.headers
    without = await own.http.get(f"{connected.proxy}/x", headers={"authorization": ""})
    assert (without.status_code, without.json()["code"]) == (401, "token_missing")
    assert echo.got == []


async def test_an_upstream_error_is_told_from_ours(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_header")
    for status in (201, 204, 304, 400, 401, 403, 404, 409, 418, 429, 500, 503):
        answer = await connected.get(f"/status/{status}")
        assert (answer.status_code, answer.headers[UPSTREAM]) == (status, str(status))
        assert (status in (204, 304)) == (answer.content == b"")
    assert len(echo.got) == 12


async def test_an_answer_that_cannot_be_sent_on_is_refused(keyed: Connected, echo: EchoService) -> None:
    odd = await keyed.get("/status/999")
    assert (odd.status_code, odd.json()["code"]) == (502, "provider_unavailable")


async def test_a_service_that_asks_for_time_gets_it(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    answer = await connected.get("/status/503", params={"wait": "1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    began = asyncio.get_running_loop().time()
    assert (await connected.get("/x")).status_code == 200
    assert asyncio.get_running_loop().time() - began > 0.9


async def test_a_pause_takes_effect_at_once(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    path = f"/api/integrations/{connected.row['id']}"
    assert (await connected.get("/x")).status_code == 200
    await connected.http.patch(path, json={"status": "inactive"})
    paused = await connected.get("/x")
    assert (paused.status_code, paused.json()["code"]) == (409, "integration_paused")
    await connected.http.patch(path, json={"status": "active"})
    assert (await connected.get("/x")).status_code == 200
    assert len(echo.got) == 2


async def test_a_deletion_takes_effect_at_once(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_header")
    assert (await connected.get("/x")).status_code == 200
    assert (await connected.http.delete(f"/api/integrations/{connected.row['id']}")).status_code == 204
    assert (await connected.get("/x")).json()["code"] == "integration_not_found"
    assert len(echo.got) == 1


async def test_what_is_changed_elsewhere_takes_effect_within_seconds(
    ada: Person, connect: Connect, echo: EchoService
) -> None:
    connected = await connect(ada)
    assert (await connected.get("/x")).status_code == 200
    async with ada.data_api() as curl:
        changed = await curl.patch(f"/integrations?id=eq.{connected.row['id']}", json={"status": "inactive"})
        assert changed.is_success
    await asyncio.sleep(5.1)
    assert (await connected.get("/x")).json()["code"] == "integration_paused"


async def test_new_credentials_are_used_at_once(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "echo_header")
    assert (await connected.get("/x")).status_code == 200
    body = {"credentials": {"api_key": "canary-another-key"}}
    assert (await connected.http.patch(f"/api/integrations/{connected.row['id']}", json=body)).status_code == 200
    assert (await connected.get("/x")).status_code == 200
    assert echo.last.headers["x-echo-key"] == "Key canary-another-key"


async def test_a_refused_token_is_renewed_once_and_the_call_sent_again(
    ada: Person, connect: Connect, echo: EchoService
) -> None:
    connected = await connect(ada)
    await asyncio.sleep(5.1)  # a younger token is not renewed on request
    echo.tokens += 1  # the service has ended the token it gave
    answers = await asyncio.gather(*(connected.get("/fresh") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len([got for got in echo.got if got.path == "/api/fresh"]) <= 20
    assert all("canary/access+" not in answer.text.replace("canary/access+000", "") for answer in answers)


async def test_a_service_that_refuses_every_token_is_asked_twice(
    ada: Person, connect: Connect, echo: EchoService
) -> None:
    connected = await connect(ada)
    await asyncio.sleep(5.1)
    answer = await connected.get("/status/401")
    assert (answer.status_code, answer.headers[UPSTREAM]) == (401, "401")
    assert len([got for got in echo.got if got.path == "/api/status/401"]) == 2


async def test_events_arrive_as_they_are_sent_and_a_hang_up_ends_the_request(
    ada: Person, connect: Connect, echo: EchoService
) -> None:
    connected = await connect(ada)
    async with connected.http.stream("GET", f"{connected.proxy}/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        async for chunk in answer.aiter_bytes():
            assert chunk.startswith(b"data: 0")
            break
    await asyncio.wait_for(echo.gone.wait(), 30)


@pytest.mark.parametrize("body", [b"", b"x" * 100_000])
async def test_a_hang_up_before_the_answer_ends_the_request(
    ada: Person, connect: Connect, echo: EchoService, body: bytes
) -> None:
    connected = await connect(ada)
    call = asyncio.create_task(connected.call("POST", "/slow", content=body))
    await asyncio.wait_for(echo.begun.wait(), 30)
    call.cancel()
    await asyncio.wait_for(echo.gone.wait(), 30)


async def test_an_answer_that_breaks_off_is_cut(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    answer = await connected.raw("GET", f"{connected.proxy}/cut")
    assert answer.status == 200
    assert b"half" in answer.body
    assert not answer.body.endswith(b"0\r\n\r\n")


async def test_bodies_have_their_limits(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)

    async def unannounced() -> Any:
        for _ in range(3):
            yield b"x" * (MAX_REQUEST_BYTES // 2)

    for content in (b"x" * (MAX_REQUEST_BYTES + 1), unannounced()):
        refused = await connected.call("PUT", "/file", content=content)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
    large = await connected.get("/large", params={"bytes": MAX_REPLY_BYTES + 1, "announced": "1"})
    assert (large.status_code, large.json()["code"]) == (502, "reply_too_large")
    cut = await connected.raw("GET", f"{connected.proxy}/large?bytes={MAX_REPLY_BYTES + 100_000}")
    assert cut.status == 200
    assert not cut.body.endswith(b"0\r\n\r\n")


async def test_a_proxied_call_counts_in_the_rate_limit(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada, "limited")
    answers = [await connected.get("/x") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert UPSTREAM not in answers[-1].headers
    assert int(answers[-1].headers["retry-after"]) > 3000
    assert len(echo.got) == 3


async def test_a_browser_may_call_and_read(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected = await connect(ada)
    asks = {"origin": ORIGIN, "access-control-request-method": "PUT", "access-control-request-headers": "authorization"}
    allowed = await connected.call("OPTIONS", "/x", headers=asks)
    assert allowed.status_code == 200
    assert "PUT" in allowed.headers["access-control-allow-methods"]
    answer = await connected.get("/x", headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert UPSTREAM in answer.headers["access-control-expose-headers"]
    assert "origin" not in echo.last.headers


async def test_head_has_headers_and_no_body(ada: Person, connect: Connect, echo: EchoService) -> None:
    connected: Connected = await connect(ada)
    answer = await connected.call("HEAD", "/x")
    assert (answer.status_code, answer.content, echo.last.method) == (200, b"", "HEAD")
    assert answer.headers["content-type"] == "application/json"
