"""Two hundred users at once over one pool and real HTTP: no request carries another user's token."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from supabase_integrations.adapters.auth_sessions import AuthSessions
from supabase_integrations.adapters.http_pool import HttpLimits, open_http_pool
from supabase_integrations.adapters.user_store import PostgrestUserStores
from supabase_integrations.core.models import Caller, IntegrationChanges, IntegrationStatus, ListQuery
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import PUBLISHABLE_KEY
from tests.unit.adapters.test_integration_rows import ROW

USERS = 200
CONNECTIONS = 20


@dataclass
class EchoProject:
    """A Supabase project whose rows belong to whoever the token of the request names, answered after a random wait."""

    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    cookies_received: int = 0
    connections: set[int] = field(default_factory=set)

    async def rows(self, request: web.Request) -> web.Response:
        token = await self._token(request)
        return self._reply([ROW | {"user_id": str(user_of(token)), "service_name": token}], token)

    async def user(self, request: web.Request) -> web.Response:
        token = await self._token(request)
        return self._reply({"id": str(user_of(token))}, token)

    async def _token(self, request: web.Request) -> str:
        await asyncio.sleep(random.uniform(0, 0.01))
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.requests[token] += 1
        self.cookies_received += "Cookie" in request.headers
        self.connections.add(id(request.transport))
        return token

    def _reply(self, body: object, token: str) -> web.Response:
        reply = web.json_response(body)
        reply.set_cookie("identity", token)
        return reply


def token_of(number: int) -> str:
    return f"canary-token-of-user-{number:03}"


def user_of(token: str) -> UUID:
    return UUID(int=int(token[-3:]) + 1)


def caller(number: int) -> Caller:
    token = token_of(number)
    return Caller(user_of(token), SecretStr(token), datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
async def project() -> AsyncIterator[EchoProject]:
    echo = EchoProject()
    app = web.Application()
    app.router.add_route("*", "/rest/v1/{table}", echo.rows)
    app.router.add_get("/auth/v1/user", echo.user)
    async with TestServer(app) as server:
        # By name, because aiohttp's own cookie jar keeps nothing of hosts that are written as numbers.
        echo.url = f"http://localhost:{server.port}"
        yield echo


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_pool(HttpLimits(max_connections=CONNECTIONS)) as client:
        yield client


async def test_interleaved_users_reach_only_their_own_rows(project: EchoProject, http: httpx.AsyncClient) -> None:
    stores = PostgrestUserStores(http, project.url, PUBLISHABLE_KEY)

    async def use(number: int) -> list[tuple[UUID, str]]:
        store = stores.for_caller(caller(number))
        await asyncio.sleep(random.uniform(0, 0.02))
        page = await store.list_integrations(ListQuery())
        await asyncio.sleep(0)
        one = await store.get_integration(UUID(int=0))
        changed, sealed = await asyncio.gather(
            store.update_integration(UUID(int=0), IntegrationChanges(status=IntegrationStatus.INACTIVE)),
            store.get_integration(UUID(int=0)),
        )
        return [(row.user_id, row.service_name) for row in (*page.integrations, one, changed, sealed)]

    order = random.sample(range(USERS), USERS)
    seen = dict(zip(order, await asyncio.gather(*map(use, order)), strict=True))

    strangers = {
        number: rows for number, rows in seen.items() if set(rows) != {(user_of(token_of(number)), token_of(number))}
    }
    assert strangers == {}
    assert project.requests == {token_of(number): 4 for number in range(USERS)}
    assert len(project.connections) <= CONNECTIONS
    assert project.cookies_received == 0


async def test_interleaved_session_checks_ask_with_each_users_own_token(
    project: EchoProject, http: httpx.AsyncClient
) -> None:
    sessions = AuthSessions(http, project.url, PUBLISHABLE_KEY)

    await asyncio.gather(*[sessions.require_session(caller(number)) for number in range(USERS)])

    assert project.requests == {token_of(number): 1 for number in range(USERS)}
    assert project.cookies_received == 0
