"""A third-party service over real HTTP that answers as a test wants, and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests import canaries


@dataclass(frozen=True, slots=True)
class Asked:
    """One request the service got."""

    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it answers, and after how many seconds."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    delay: float = 0

    @classmethod
    def json(cls, body: object, status: int = 200, delay: float = 0) -> "Answer":
        """A JSON answer."""
        return cls(status, json.dumps(body).encode(), delay=delay)


Script = Callable[[Asked], Answer]


def tokens(_: Asked) -> Answer:
    """A good answer of a token endpoint."""
    return Answer.json(
        {
            "access_token": canaries.ACCESS_TOKEN,
            "refresh_token": canaries.REFRESH_TOKEN,
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "read",
        }
    )


def _missing(_: Asked) -> Answer:
    return Answer(404)


class ScriptedService:
    """The service; `scripts` maps paths to answers and is reset between tests."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self.scripts: dict[str, Script] = {}
        self.reset()

    def reset(self) -> None:
        """Forget what was asked, and answer well again."""
        self.asked.clear()
        self.scripts = {"/token": tokens, "/me": lambda _: Answer.json({"id": "account-1", "name": "Acme"})}

    def asked_for(self, path: str) -> list[Asked]:
        """The requests to one path."""
        return [asked for asked in self.asked if asked.path == path]


@contextmanager
def running_service(port: int) -> Iterator[ScriptedService]:
    """Listen on 127.0.0.1 for as long as the block lasts."""
    service = ScriptedService(port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            form, query = dict(parse_qsl(body.decode("latin-1"))), dict(parse_qsl(url.query))
            asked = Asked(self.command, url.path, form, headers, query, body)
            service.asked.append(asked)
            script: Script = service.scripts.get(url.path, _missing)
            answer = script(asked)
            time.sleep(answer.delay)
            self.send_response(answer.status)
            for name, value in {**answer.headers, "content-length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # The base class's 5 is less than a worker opens at once: the rest would wait for retransmissions, and a request
        # may then arrive when nobody waits for its answer any more.
        request_queue_size = 1024

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
