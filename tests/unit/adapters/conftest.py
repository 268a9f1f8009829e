"""A Supabase project at the end of a pool, without a network: it answers as it is told and counts what it is asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import orjson
import pytest

from supabase_integrations.adapters.file_journal import FileJournal
from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.adapters.token_verifier import SupabaseTokenVerifier
from supabase_integrations.adapters.user_store import PostgrestUserStore, PostgrestUserStores
from supabase_integrations.core.models import Caller
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, USER, key_set, signing_key
from tests.unit.adapters.journal_disk import Disk
from tests.unit.fakes import START, FakeClock

Answer: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def reply(status: int, body: Any = None, **headers: str) -> httpx.Response:
    """A reply with a JSON body, or with bytes as they are."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return httpx.Response(
        status, content=content, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


@dataclass
class FakeProject:
    """Answers by path. `gate` holds answers back until it is set."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.publish(key_set(signing_key()))

    def publish(self, body: bytes, status: int = 200) -> None:
        """What the JWKS endpoint answers."""
        self.answers["/auth/v1/.well-known/jwks.json"] = reply(status, body)

    def answer(self, path: str, answer: Answer) -> None:
        """What another path answers."""
        self.answers[path] = answer

    def asked(self, path: str) -> int:
        """How often a path was asked."""
        return sum(request.url.path == path for request in self.requests)

    @property
    def key_fetches(self) -> int:
        """How often the published keys were asked for."""
        return self.asked("/auth/v1/.well-known/jwks.json")

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await self.gate.wait()
        answer = self.answers.get(request.url.path, reply(404, b"no such path"))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)
        return answer(request)


@pytest.fixture
def project() -> FakeProject:
    """A Supabase project that publishes one ES256 key, `current`."""
    return FakeProject()


@pytest.fixture
async def http(project: FakeProject) -> AsyncIterator[httpx.AsyncClient]:
    """The pool, with the project at its other end."""
    async with open_http_pool(transport=httpx.MockTransport(project.handle)) as client:
        yield client


@pytest.fixture
def clock() -> FakeClock:
    """A clock that tests move."""
    return FakeClock()


@pytest.fixture
def store(http: httpx.AsyncClient, project: FakeProject, clock: FakeClock) -> PostgrestUserStore:
    """One caller's store; the tables are empty until a test says otherwise."""
    for table in ("integrations", "oauth_states", "integration_events"):
        project.answer(f"/rest/v1/{table}", reply(200, []))
    caller = Caller(USER, SecretStr("canary-token"), START + timedelta(hours=1))
    return PostgrestUserStores(http, PROJECT, PUBLISHABLE_KEY, clock=clock).for_caller(caller)


@pytest.fixture
def verifier(http: httpx.AsyncClient, clock: FakeClock) -> SupabaseTokenVerifier:
    """A verifier of the project's tokens as in production."""
    return SupabaseTokenVerifier(http, PROJECT, PUBLISHABLE_KEY, clock=clock)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A state directory that does not exist yet."""
    return Disk(tmp_path / "state")


@pytest.fixture
async def journal(disk: Disk) -> AsyncIterator[FileJournal]:
    """The journal on that disk."""
    async with disk.open() as journal:
        yield journal
