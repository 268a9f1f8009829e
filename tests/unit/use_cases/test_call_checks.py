"""Checks that a service's client brings: refusals that are told in another way than with a status."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from supabase_integrations.core.credentials import ApiKeyCredentials, Credentials, OAuthCredentials
from supabase_integrations.core.errors import (
    CredentialsRejectedError,
    ReauthorizationRequiredError,
    ServiceError,
    ServiceRateLimitedError,
)
from supabase_integrations.core.models import Caller, IntegrationStatus
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service_reply import ServiceReply
from tests.unit.conftest import World, token_reply
from tests.unit.fakes import START, json_reply
from tests.unit.service_fakes import FakeExchange, Responder, Sent, answering

TOKEN_URL = "http://127.0.0.1:9400/token"
OLD, NEW = "Bearer canary-access-1", "Bearer canary-access-2"
TOKENS = OAuthCredentials(
    SecretStr("canary-access-1"),
    issued_at=START,
    refresh_token=SecretStr("canary-refresh-1"),
    expires_at=START + timedelta(hours=1),
)


def check(reply: ServiceReply) -> None:
    """A service that says everything with status 200."""
    match reply.json().get("problem"):
        case "token":
            raise CredentialsRejectedError
        case "limit":
            raise ServiceRateLimitedError(body=reply.body, retry_after=timedelta(0))


def accepting_only(token: str) -> Responder:
    def respond(sent: Sent) -> FakeExchange:
        return answering(200, {"ok": True} if sent.headers["authorization"] == token else {"problem": "token"})

    return respond


async def connected(world: World, credentials: Credentials = TOKENS, service: str = "demo_crm") -> tuple[Caller, UUID]:
    caller = world.caller()
    world.service.answers[TOKEN_URL] = lambda _: json_reply(token_reply(access_token="canary-access-2"))
    row = await world.user(caller).create(service, credentials, service_type=None, config={})
    world.clock.moment += timedelta(seconds=10)
    return caller, row.id


async def test_a_refused_token_is_renewed_and_the_call_made_once_more(world: World) -> None:
    caller, row_id = await connected(world)
    world.api.respond = accepting_only(NEW)
    async with world.user(caller).client(row_id) as api:
        assert (await api.post("/things", json={"a": 1}, check=check)).json() == {"ok": True}
    assert [sent.headers["authorization"] for sent in world.api.sent] == [OLD, NEW]
    assert [sent.body for sent in world.api.sent] == [b'{"a":1}'] * 2
    assert [exchange.closed for exchange in world.api.answers] == [1, 1]


async def test_a_renewed_token_that_is_refused_too_ends_it(world: World) -> None:
    caller, row_id = await connected(world)
    world.api.respond = accepting_only("none")
    async with world.user(caller).client(row_id) as api:
        with pytest.raises(ReauthorizationRequiredError):
            await api.get("/things", check=check)
    assert len(world.api.sent) == 2


async def test_a_token_that_cannot_be_renewed_ends_the_connection(world: World) -> None:
    caller, row_id = await connected(world)
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_grant"}, 400)
    world.api.respond = accepting_only("none")
    async with world.user(caller).client(row_id) as api:
        with pytest.raises(ReauthorizationRequiredError):
            await api.get("/things", check=check)
    assert len(world.api.sent) == 1
    row = world.database.rows[caller.user_id, row_id].integration
    assert row.status is IntegrationStatus.NEEDS_REAUTHORIZATION


async def test_a_body_that_was_a_stream_is_not_sent_again(world: World) -> None:
    """The token is renewed all the same, for the next call."""

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    caller, row_id = await connected(world)
    world.api.respond = accepting_only(NEW)
    async with world.user(caller).client(row_id) as api:
        with pytest.raises(ServiceError):
            await api.post("/things", content=body(), check=check)
        assert (await api.get("/things", check=check)).json() == {"ok": True}
    assert [sent.headers["authorization"] for sent in world.api.sent] == [OLD, NEW]


async def test_a_refused_key_is_told_as_such(world: World) -> None:
    world.services += '\n[service.keyed_api]\nbased_on = "keyed"\napi_base_url = "https://keyed.example"\n'
    world.__post_init__()
    caller, row_id = await connected(world, ApiKeyCredentials(SecretStr("canary-key")), "keyed_api")
    world.api.respond = lambda _: answering(200, {"problem": "token"})
    async with world.user(caller).client(row_id) as api:
        with pytest.raises(CredentialsRejectedError):
            await api.get("/things", check=check)
    assert len(world.api.sent) == 1


async def test_a_call_that_was_one_too_many_is_made_again_whatever_its_method(world: World) -> None:
    caller, row_id = await connected(world)
    problems = ["limit", "limit"]
    world.api.respond = lambda _: answering(200, {"problem": problems.pop()} if problems else {"ok": True})
    async with world.user(caller).client(row_id) as api:
        assert (await api.post("/things", json={}, check=check)).json() == {"ok": True}
    assert len(world.api.sent) == 3


@pytest.mark.parametrize(("is_read", "calls"), [(True, 2), (False, 1)])
async def test_a_post_is_made_again_after_a_failure_only_where_it_reads(
    world: World, is_read: bool, calls: int
) -> None:
    caller, row_id = await connected(world)
    world.api.respond = lambda _: answering(502 if len(world.api.sent) < calls or not is_read else 200, {})
    async with world.user(caller).client(row_id) as api:
        call = api.post("/things", json={}, is_read=is_read)
        if is_read:
            assert (await call).status == 200
        else:
            with pytest.raises(ServiceError):
                await call
    assert len(world.api.sent) == calls


async def test_a_refused_stream_is_checked_too(world: World) -> None:
    caller, row_id = await connected(world)
    world.api.respond = lambda _: answering(400 if len(world.api.sent) == 1 else 200, {"problem": "limit"})
    async with (
        world.user(caller).client(row_id) as api,
        api.stream("POST", "/things", json={}, is_read=True, check=check) as reply,
    ):
        assert b"".join([chunk async for chunk in reply.chunks()]) == b'{"problem":"limit"}'
    assert len(world.api.sent) == 2


@pytest.mark.parametrize("accepts_new", [True, False])
async def test_a_stream_that_is_refused_by_its_token_is_asked_for_once_more(world: World, accepts_new: bool) -> None:
    caller, row_id = await connected(world)
    accepted = NEW if accepts_new else ""
    world.api.respond = lambda sent: (
        answering(200, {"ok": True})
        if sent.headers["authorization"] == accepted
        else answering(400, {"problem": "token"})
    )
    async with world.user(caller).client(row_id) as api:
        stream = api.stream("POST", "/things", json={"a": 1}, check=check)
        if accepts_new:
            async with stream as reply:
                assert b"".join([chunk async for chunk in reply.chunks()]) == b'{"ok":true}'
        else:
            with pytest.raises(ReauthorizationRequiredError):
                await stream.__aenter__()
    assert [sent.headers["authorization"] for sent in world.api.sent] == [OLD, NEW]
    assert [sent.body for sent in world.api.sent] == [b'{"a":1}'] * 2
    assert [exchange.closed for exchange in world.api.answers] == [1, 1]
