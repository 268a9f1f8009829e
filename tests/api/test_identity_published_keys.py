"""Verification against a project that signs with published keys, as hosted Supabase does, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.adapters.token_verifier import SupabaseTokenVerifier
from supabase_integrations.core.errors import AuthUnavailableError, UnauthenticatedError
from tests.token_issuer import PUBLISHABLE_KEY, USER, SigningKey, claims, key_set, signing_key


@dataclass
class KeyServer:
    """The part of Supabase Auth that publishes keys; it takes a while, or until the gate is opened, and counts."""

    body: bytes
    url: str = ""
    fetches: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, _: web.Request) -> web.Response:
        self.fetches += 1
        await asyncio.sleep(0.05)
        await self.gate.wait()
        return web.Response(body=self.body, content_type="application/json")


@pytest.fixture
async def keys() -> AsyncIterator[KeyServer]:
    published = KeyServer(key_set(signing_key("ES256"), signing_key("RS256", "rsa"), signing_key("EdDSA", "ed")))
    published.gate.set()
    app = web.Application()
    app.router.add_get("/auth/v1/.well-known/jwks.json", published.publish)
    async with TestServer(app) as server:
        published.url = str(server.make_url("")).rstrip("/")
        yield published


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_pool() as client:
        yield client


@pytest.fixture
def verifier(http: httpx.AsyncClient, keys: KeyServer) -> SupabaseTokenVerifier:
    return SupabaseTokenVerifier(http, keys.url, PUBLISHABLE_KEY)


def token(keys: KeyServer, key: SigningKey, **changes: Any) -> str:
    return key.sign(claims(iss=f"{keys.url}/auth/v1", **changes))


@pytest.mark.parametrize("key", [signing_key("ES256"), signing_key("RS256", "rsa"), signing_key("EdDSA", "ed")])
async def test_every_kind_of_published_key_verifies(
    verifier: SupabaseTokenVerifier, keys: KeyServer, key: SigningKey
) -> None:
    assert (await verifier.verify(token(keys, key))).user_id == USER


async def test_fifty_users_who_arrive_at_a_cold_service_cause_one_fetch(
    verifier: SupabaseTokenVerifier, keys: KeyServer
) -> None:
    tokens = [token(keys, signing_key(), session_id=f"session-{number}") for number in range(50)]
    callers = await asyncio.gather(*map(verifier.verify, tokens))
    assert {caller.session_id for caller in callers} == {f"session-{number}" for number in range(50)}
    assert keys.fetches == 1


async def test_a_flood_of_invented_keys_delays_nobody_and_is_fetched_for_once(
    verifier: SupabaseTokenVerifier, keys: KeyServer
) -> None:
    await verifier.verify(token(keys, signing_key()))
    strangers = [signing_key("ES256", f"invented-{number}").sign(claims()) for number in range(100)]
    keys.gate.clear()
    flood = [asyncio.create_task(verifier.verify(stranger)) for stranger in strangers]
    await asyncio.sleep(0)

    await verifier.verify(token(keys, signing_key(), jti="another token under the known key"))

    assert not any(stranger.done() for stranger in flood)
    keys.gate.set()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert {getattr(outcome, "code", None) for outcome in outcomes} == {"token_key_unknown"}
    assert keys.fetches == 2


async def test_a_rotated_key_is_learnt_at_once(verifier: SupabaseTokenVerifier, keys: KeyServer) -> None:
    await verifier.verify(token(keys, signing_key()))
    keys.body = key_set(signing_key(), signing_key("ES256", "next"))
    assert (await verifier.verify(token(keys, signing_key("ES256", "next")))).user_id == USER


async def test_a_server_that_cannot_be_reached_is_an_outage(http: httpx.AsyncClient) -> None:
    verifier = SupabaseTokenVerifier(http, "http://127.0.0.1:1", PUBLISHABLE_KEY)
    with pytest.raises(AuthUnavailableError):
        await verifier.verify(signing_key().sign(claims()))


async def test_another_projects_token_is_refused(verifier: SupabaseTokenVerifier, keys: KeyServer) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await verifier.verify(signing_key().sign(claims()))
    assert refusal.value.code == "token_issuer_invalid"
