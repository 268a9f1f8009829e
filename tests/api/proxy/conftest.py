"""An API process with the echo service in its catalogue, and users with connections to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests import canaries
from tests.api.proxy.echo_service import EchoService, running_echo_service
from tests.api.proxy.hostile_service import HostileService, running_hostile_service
from tests.api.serve import serving, settings_for, wait_for
from tests.consent import query_of
from tests.local_system import LocalSystem, free_ports
from tests.people import Person

KEY = "canary/api+key=93b2&so'on"
MAX_REQUEST_BYTES = 1_000_000
MAX_REPLY_BYTES = 60_000_000
AUTHORIZED = ("echo", "echo_proof")
"""Services that users connect by authorizing; all others have keys."""
ORIGIN = "http://localhost:3000"


@dataclass(frozen=True)
class RawAnswer:
    """An answer to a request that was written by hand."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Connected:
    """A connection, and its owner's way to call through it."""

    http: httpx.AsyncClient
    access_token: str
    row: dict[str, Any]

    @property
    def proxy(self) -> str:
        return f"/api/integrations/{self.row['id']}/proxy"

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, self.proxy + path, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.call("GET", path, **options)

    async def raw(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> RawAnswer:
        """A request whose target nobody on this side has looked at."""
        address = urlsplit(str(self.http.base_url))
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        lines = {"host": "localhost", "authorization": f"Bearer {self.access_token}", "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        whole = await reader.read()
        writer.close()
        answered, _, body = whole.partition(b"\r\n\r\n")
        first, *rest = answered.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in rest)
        return RawAnswer(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)


Connect = Callable[..., Awaitable[Connected]]


@pytest.fixture(scope="session")
async def running_echo() -> AsyncIterator[EchoService]:
    """The echo service of this run."""
    (port,) = free_ports(1)
    async with running_echo_service(port) as service:
        yield service


@pytest.fixture
def echo(running_echo: EchoService) -> EchoService:
    """The echo service, which has not been asked anything yet."""
    running_echo.reset()
    return running_echo


@pytest.fixture(scope="session")
async def running_hostile() -> AsyncIterator[HostileService]:
    """The hostile service of this run."""
    async with running_hostile_service() as service:
        yield service


@pytest.fixture
def service(running_hostile: HostileService) -> HostileService:
    """The hostile service, which has not been asked anything yet."""
    running_hostile.reset()
    return running_hostile


@pytest.fixture(scope="session")
def api_url(
    local_system: LocalSystem,
    local_environment: Mapping[str, str],
    running_echo: EchoService,
    running_hostile: HostileService,
) -> Iterator[str]:
    """An API process that knows the services of these tests."""
    methods = ("POST", "PUT", "PATCH", "DELETE")
    services = ("echo", "echo_proof", "echo_header", "echo_query", "echo_body")
    settings = settings_for(
        local_system,
        local_environment,
        PROVIDERS_FILE=str(Path(__file__).with_name("services.toml")),
        ECHO_URL=running_echo.url,
        HOSTILE_URL=running_hostile.url,
        ECHO_CLIENT_ID="canary-echo-id",
        ECHO_CLIENT_SECRET=canaries.CLIENT_SECRET,
        ECHO_PROOF_CLIENT_ID="canary-echo-id",
        ECHO_PROOF_CLIENT_SECRET=canaries.CLIENT_SECRET,
        ALLOWED_ORIGINS=ORIGIN,
        PROXY_ALLOW=",".join(f"{service} {method} /**" for service in services for method in methods),
        PROXY_MAX_REQUEST_BYTES=str(MAX_REQUEST_BYTES),
        PROXY_MAX_REPLY_BYTES=str(MAX_REPLY_BYTES),
    )
    with serving(local_system, "proxy", settings) as url:
        wait_for(url)
        yield url


@pytest.fixture(scope="session")
async def grace(local_system: LocalSystem) -> AsyncIterator[Person]:
    """A user for tests that leave a connection as it was; with somebody new for each they would take minutes."""
    person = await Person.sign_up(local_system)
    yield person
    await person.http.aclose()


@pytest.fixture(scope="session")
async def keyed(grace: Person, connect: Connect) -> Connected:
    """A connection with a key, of the echo service."""
    return await connect(grace, "echo_header")


@pytest.fixture(scope="session")
async def hostile(grace: Person, connect: Connect) -> Connected:
    """One of the hostile service."""
    return await connect(grace, "hostile")


@pytest.fixture(scope="session")
async def queried(grace: Person, connect: Connect) -> Connected:
    """Another one, whose key is a parameter."""
    return await connect(grace, "echo_query")


@pytest.fixture(scope="session")
async def narrow(grace: Person, connect: Connect) -> Connected:
    """One of a service with few calls allowed."""
    return await connect(grace, "narrow")


@pytest.fixture(scope="session")
async def connect(api_url: str) -> AsyncIterator[Connect]:
    """Connects a user with a service: with a key, a password, or by authorizing."""
    clients: list[httpx.AsyncClient] = []

    async def connect(person: Person, service_name: str = "echo", **body: Any) -> Connected:
        headers = {"authorization": f"Bearer {person.access_token}"}
        http = httpx.AsyncClient(base_url=api_url, headers=headers, timeout=30, trust_env=False)
        clients.append(http)
        if service_name not in AUTHORIZED:
            given = {"credentials": {"api_key": KEY}} | body
            made = await http.post("/api/integrations", json={"service_name": service_name} | given)
            assert made.status_code == 201, made.text
            return Connected(http, person.access_token, made.json())
        started = await http.post("/api/integrations/oauth/initiate", json={"service_name": service_name})
        assert started.status_code == 200, started.text
        params = {"code": canaries.CODE, "state": query_of(started.json()["auth_url"])["state"]}
        made = await http.post("/api/integrations/oauth/callback", json={"params": params})
        assert made.status_code == 200, made.text
        return Connected(http, person.access_token, made.json()["integration"])

    yield connect
    for http in clients:
        await http.aclose()
