"""A third-party service over real HTTP, whose answers a test programs; bodies may be streams."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request the service got."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode()))


@dataclass(frozen=True, slots=True)
class Answer:
    """What it answers; a body that is no bytes is streamed."""

    status: int
    body: bytes | Iterable[bytes]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; underscores in header names stand for hyphens."""
    return Answer(status, orjson.dumps(body), JSON | {name.replace("_", "-"): text for name, text in headers.items()})


Behaviour = Callable[[Asked], Answer]


@dataclass
class FakeService:
    """The service. `first` are answered before `behaviour` is asked, one to each request to the API."""

    url: str
    behaviour: Behaviour = lambda _: answer({}, 404)
    first: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    refreshed: list[Asked] = field(default_factory=list)
    """The requests to the token endpoint."""
    token: Behaviour = lambda _: answer(
        {
            "access_token": "canary-second",
            "refresh_token": "canary-refresh-2",
            "expires_in": 1800,
            "token_type": "bearer",
        }
    )

    def answer_to(self, asked: Asked) -> Answer:
        """Answer one request."""
        if asked.path == "/token":
            self.refreshed.append(asked)
            return self.token(asked)
        self.asked.append(asked)
        return self.first.pop(0) if self.first else self.behaviour(asked)


@contextmanager
def running_fake() -> Iterator[FakeService]:
    """Listen on a free port of 127.0.0.1 for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 64 * 1024

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            given = fake.answer_to(Asked(self.command, url.path, dict(parse_qsl(url.query)), headers, body))
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            if isinstance(given.body, bytes):
                self.send_header("content-length", str(len(given.body)))
                self.end_headers()
                self.wfile.write(given.body)
                return
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in given.body:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    fake = FakeService(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
