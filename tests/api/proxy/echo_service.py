"""A third-party service that repeats everything it gets, in every spelling, and misbehaves as a test asks."""

import asyncio
import base64
import html
import json
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from multidict import CIMultiDict

BLOCK = bytes(range(256)) * 256


def spelled(text: str) -> Iterator[str]:
    """A text as encoders write it."""
    quoted = urllib.parse.quote(text, safe="")
    yield from (text, quoted, quoted.lower(), urllib.parse.quote(text), urllib.parse.quote_plus(text))
    yield from (urllib.parse.quote(quoted, safe=""), json.dumps(text), json.dumps(text).replace("/", "\\/"))
    yield html.escape(text)
    for before in ("", "a", "ab"):
        yield base64.b64encode(f"{before}{text}".encode()).decode()
        yield base64.urlsafe_b64encode(f"{before}{text}|".encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def text(self) -> str:
        """All of it."""
        lines = [f"{self.method} {self.target}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\n".join([*lines, "", self.body.decode("latin-1")])


@dataclass
class EchoService:
    """What it was asked and what became of it; reset between tests."""

    port: int
    got: list[Got] = field(default_factory=list)
    tokens: int = 0
    """How many it has given out; the newest is the one that `/api/fresh` accepts."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody hung up before the end."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """A request has come that is not answered yet."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Got:
        return self.got[-1]

    def reset(self) -> None:
        self.got.clear()
        self.gone.clear()
        self.begun.clear()

    @property
    def token(self) -> str:
        """The newest token, with characters that encoders write in their own ways."""
        return f"canary/access+{self.tokens:04}.token~'only'=="

    @property
    def refresh_token(self) -> str:
        return f"canary/refresh+{self.tokens:04}&token=="


def application(service: EchoService) -> web.Application:  # noqa: PLR0915 - a list of small answers
    """Its routes."""

    async def token(request: web.Request) -> web.StreamResponse:
        service.tokens += 1
        reply = {"access_token": service.token, "refresh_token": service.refresh_token, "expires_in": 3600}
        return web.json_response(reply)

    async def me(request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": "account-1", "name": "Acme"})

    async def everything(request: web.Request) -> web.StreamResponse:
        got = await _noted(service, request)
        values = [value for header in got.headers.values() for value in spelled(header)]
        shown = [
            *spelled(got.text),
            *values,
            *(value for pair in got.query for text in pair for value in spelled(text)),
        ]
        credentials = [got.headers.get("authorization", ""), got.headers.get("x-echo-key", ""), got.target]
        line = "|".join(value for text in credentials for value in spelled(text))
        headers = CIMultiDict(
            {
                "content-type": "application/json",
                "link": f'<{service.url}/api/echo?next={line}>; rel="next"',
                "etag": line,
                "x-ratelimit-remaining": line,
                "set-cookie": f"session={line}",
                "authorization": line,
                "x-echo": line,
                "access-control-allow-origin": "*",
                "server": "echo",
            }
        )
        return web.Response(body=json.dumps({"got": shown}).encode(), headers=headers)

    async def fresh(request: web.Request) -> web.StreamResponse:
        got = await _noted(service, request)
        is_newest = service.token in got.headers.get("authorization", "")
        status = 200 if is_newest else 401
        return web.json_response(
            {"got": got.text, "tokens": [f"canary/access+{n:04}" for n in range(3)]}, status=status
        )

    async def status(request: web.Request) -> web.StreamResponse:
        got = await _noted(service, request)
        body = b"" if request.match_info["status"] in ("204", "304") else f"upstream says {got.text}".encode()
        headers = {"retry-after": request.query["wait"]} if "wait" in request.query else {}
        return web.Response(status=int(request.match_info["status"]), body=body, headers=headers)

    async def redirect(request: web.Request) -> web.StreamResponse:
        await _noted(service, request)
        return web.Response(status=302, headers={"location": request.query["to"]})

    async def large(request: web.Request) -> web.StreamResponse:
        await _noted(service, request)
        size = int(request.query["bytes"])
        response = web.StreamResponse(headers={"content-type": "application/octet-stream"})
        if "announced" in request.query:
            response.content_length = size
        await response.prepare(request)
        while size > 0:
            await response.write(BLOCK[: min(size, len(BLOCK))])
            size -= len(BLOCK)
        return response

    async def slow(request: web.Request) -> web.StreamResponse:
        await _noted(service, request)
        service.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            service.gone.set()
            raise
        return web.Response()

    async def events(request: web.Request) -> web.StreamResponse:
        await _noted(service, request)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for number in range(1_000):
                await response.write(f"data: {number}\n\n".encode())
                await asyncio.sleep(0.05)
        except (asyncio.CancelledError, ConnectionError):
            service.gone.set()
            raise
        return response

    async def cut(request: web.Request) -> web.StreamResponse:
        await _noted(service, request)
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        if request.transport is not None:
            request.transport.abort()
        return response

    async def written(request: web.Request) -> web.StreamResponse:
        """Headers and body as the query says."""
        await _noted(service, request)
        body = request.query.get("body", "").encode("latin-1")
        return web.Response(body=body, headers=CIMultiDict(pair for pair in request.query.items() if pair[0] != "body"))

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/token", token)
    app.router.add_get("/me", me)
    app.router.add_get("/api/me", me)
    for path, handler in (
        ("/api/fresh", fresh),
        ("/api/status/{status}", status),
        ("/api/redirect{rest:.*}", redirect),
        ("/api/large", large),
        ("/api/slow", slow),
        ("/api/events", events),
        ("/api/cut", cut),
        ("/api/written{rest:.*}", written),
        ("/{anything:.*}", everything),
    ):
        app.router.add_route("*", path, handler)
    return app


@asynccontextmanager
async def running_echo_service(port: int) -> AsyncIterator[EchoService]:
    """Listen on 127.0.0.1 for as long as the block lasts."""
    service = EchoService(port)
    runner = web.AppRunner(application(service), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield service
    finally:
        await runner.cleanup()


async def _noted(service: EchoService, request: web.Request) -> Got:
    body = await request.read()
    service.got.append(Got(request.method, request.raw_path, CIMultiDict(request.headers), body))
    return service.got[-1]
