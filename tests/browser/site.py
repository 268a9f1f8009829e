"""A web site on this machine: the test app on an origin of its own, as a frontend's development server serves it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.local_system import LocalSystem

FILES = Path(__file__).with_name("app")

_STOP_SECONDS = 0.02
"""How long a server may take to notice that it is to stop."""


@dataclass(slots=True)
class Site:
    """A port of 127.0.0.1 that serves the app."""

    port: int
    system: LocalSystem | None = None
    """What the app works with. The system is started with this site's address, so the site has to be there first."""

    @property
    def origin(self) -> str:
        """On the same site as the API: cookies do not care about ports."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def distant_origin(self) -> str:
        """The same app on a site of its own, as where page and API have different domains."""
        return f"http://localhost:{self.port}"

    @property
    def origins(self) -> tuple[str, str]:
        """Both, as ALLOWED_ORIGINS lists them."""
        return self.origin, self.distant_origin

    @property
    def pages(self) -> list[str]:
        """Where authorizations come back to: the app's only page, at both origins."""
        return [f"{origin}/" for origin in self.origins]

    @property
    def config(self) -> dict[str, str]:
        """What the app finds at `/config.json`."""
        assert self.system, "The site has not been told which system its app works with"
        return {"apiUrl": self.system.api_url, "publishableKey": self.system.publishable_key}

    def pass_on(self, path: str, body: bytes, api_key: str) -> httpx.Response:
        """Send a request on to Supabase Auth: the local one answers without CORS headers, unlike a hosted project."""
        assert self.system, "The site has not been told which system its app works with"
        headers = {"apikey": api_key, "content-type": "application/json"}
        return httpx.post(
            f"{self.system.supabase_url}{path}", content=body, headers=headers, trust_env=False, timeout=60
        )


@contextmanager
def running_site(port: int) -> Iterator[Site]:
    """Listen on 127.0.0.1 for as long as the block lasts."""
    site = Site(port)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(FILES))

        def do_GET(self) -> None:
            if self.path == "/config.json":
                self._answer(200, json.dumps(site.config).encode())
            else:
                super().do_GET()

        def do_POST(self) -> None:
            if not self.path.startswith("/auth/v1/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = site.pass_on(self.path, body, self.headers["apikey"])
            self._answer(reply.status_code, reply.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(_STOP_SECONDS,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
