"""The middleware around the endpoints: mistakes of ours, request ids, body limits."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from structlog.testing import capture_logs

from integrations_api import create_app, http_errors
from integrations_api.body_limit import BodyLimit
from integrations_api.request_log import RequestLog, request_id
from supabase_integrations.configuration import Configuration
from supabase_integrations.core import errors


class Body(BaseModel):
    text: str


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/broken/{name}")
    async def broken(name: str) -> None:
        raise RuntimeError(f"canary-{name}")

    @app.get("/wrapped")
    async def wrapped() -> None:
        try:
            raise ValueError("canary-cause")
        except ValueError as error:
            raise KeyError("canary-key") from error

    @app.get("/id")
    async def identifier() -> str:
        await asyncio.sleep(0)
        return request_id()

    @app.post("/body")
    async def body(body: Body) -> int:
        return len(body.text)

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    http_errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=100)
    app.add_middleware(http_errors.UnexpectedErrors)
    app.add_middleware(RequestLog)
    return app


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("path", ["/broken/secret", "/wrapped"])
async def test_a_mistake_of_ours_tells_nothing(http: httpx.AsyncClient, path: str) -> None:
    with capture_logs() as logs:
        reply = await http.get(path)
    failed, request = logs
    assert reply.status_code == 500
    assert reply.json()["code"] == "internal_error"
    assert failed["event"] == "request.failed"
    assert failed["error"] in ("RuntimeError", "KeyError")
    assert failed["at"][-1].startswith("test_middleware.py:")
    assert failed["request_id"] == request["request_id"] == reply.json()["request_id"] == reply.headers["x-request-id"]
    assert request["status"] == 500
    assert "canary" not in reply.text + str(logs)


async def test_the_path_and_query_of_a_request_are_not_logged(http: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await http.get("/broken/canary?code=canary")
        await http.get("/canary?code=canary")
    assert [line["route"] for line in logs if line["event"] == "request"] == ["/broken/{name}", "unmatched"]
    assert "canary" not in str(logs)


async def test_concurrent_requests_keep_their_ids(http: httpx.AsyncClient) -> None:
    given = [f"request-{number:04}" for number in range(100)]
    replies = await asyncio.gather(*(http.get("/id", headers={"x-request-id": one}) for one in given))
    assert [reply.json() for reply in replies] == given
    assert [reply.headers["x-request-id"] for reply in replies] == given


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize("path", ["/raw", "/body"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_limit_is_refused(http: httpx.AsyncClient, path: str, announced: bool) -> None:
    content = b"x" * 101 if announced else pieces(60, 41)
    reply = await http.post(path, content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_a_body_of_the_limit_passes(http: httpx.AsyncClient) -> None:
    assert (await http.post("/raw", content=b"x" * 100)).json() == 100
    assert (await http.post("/raw", content=pieces(60, 40))).json() == 100


def every_error(kind: type[errors.IntegrationError]) -> list[type[errors.IntegrationError]]:
    return [kind, *(error for child in kind.__subclasses__() for error in every_error(child))]


def test_only_our_own_mistakes_are_a_500() -> None:
    """Every error that a caller can meet has a status; what is left is the operator's or ours."""
    unmapped = {
        error.__name__
        for error in every_error(errors.IntegrationError)
        if error.__module__.startswith("supabase_integrations.core")
        and not any(kind in http_errors._STATUS for kind in error.__mro__)
    }
    assert unmapped == {"IntegrationError", "RefusedError", "ConfigurationError"}


async def test_a_browser_can_read_what_went_wrong() -> None:
    """Of the real application: problems of every layer carry the CORS headers of an allowed origin."""
    configuration = Configuration.from_environment(
        {
            "SUPABASE_URL": "http://127.0.0.1:1",
            "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
            "ENCRYPTION_KEY": "ab" * 32,
            "APP_URL": "http://127.0.0.1:1",
            "ALLOWED_ORIGINS": "https://app.example",
        }
    )
    app = create_app(configuration)
    headers = {"origin": "https://app.example", "authorization": "Bearer a.b.c"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        with capture_logs() as logs:
            broken = await http.get("/api/integrations", headers=headers)
            large = await http.post("/api/integrations", content=b"x" * 70_000, headers=headers)
    assert (broken.status_code, large.status_code) == (500, 413)
    assert [line["error"] for line in logs if line["event"] == "request.failed"] == ["AttributeError"]
    for reply in (broken, large):
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
