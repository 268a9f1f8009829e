"""Calling a connection's service: what is sent, what is tried again, and what each failure is called."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from supabase_integrations.core.credentials import ApiKeyCredentials, BasicCredentials, OAuthCredentials
from supabase_integrations.core.errors import (
    CredentialsRejectedError,
    IntegrationPausedError,
    InvalidValueError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    ReplyTooLargeError,
    ServiceError,
    ServiceRateLimitedError,
    UnauthenticatedError,
)
from supabase_integrations.core.models import Integration, IntegrationChanges, IntegrationStatus, SealedIntegration
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service_reply import ServiceReply
from supabase_integrations.use_cases import whole_replies
from supabase_integrations.use_cases.user_integrations import UserIntegrations
from tests.unit.conftest import World
from tests.unit.fakes import FakeStore
from tests.unit.service_fakes import FakeExchange, Part, Sent, answering

TOKEN = "http://127.0.0.1:9400/token"
LOST = ProviderUnavailableError()


def in_turn(*answers: FakeExchange | Exception) -> Callable[[Sent], FakeExchange]:
    """Answers with one after another, and with the last for good."""
    left = list(answers)

    def respond(_: Sent) -> FakeExchange:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return respond


async def connected(world: World) -> tuple[UserIntegrations, Integration]:
    """A user with a token of the demo service that ends in an hour."""
    user = world.user(world.caller())
    row = await user.create(
        "demo_crm",
        OAuthCredentials(SecretStr("canary-access-0"), world.clock.now(), expires_at=None),
        service_type=None,
        config={},
    )
    return user, row


async def authorized(world: World) -> tuple[UserIntegrations, Integration]:
    """A user whose token can be renewed."""
    user, row = await connected(world)
    store = world.database.as_user(user.caller)
    opened = await world.refresher.fresh(store, row.id)
    payload = opened.payload
    credentials = OAuthCredentials(
        SecretStr("canary-access-0"),
        world.clock.now(),
        refresh_token=SecretStr("canary-refresh-0"),
        expires_at=world.clock.now() + timedelta(hours=1),
    )
    replaced = type(payload)(payload.service_name, payload.tenant, credentials)
    await world.vault.replace(store, row.id, replaced, opened.service)
    world.clock.moment += timedelta(seconds=6)
    return user, row


async def with_key(world: World, service_name: str = "keyed_api") -> tuple[UserIntegrations, Integration]:
    user = world.user(world.caller())
    credentials = (
        BasicCredentials("ada", SecretStr("canary-password"))
        if service_name == "with_password"
        else ApiKeyCredentials(SecretStr("canary-key"))
    )
    return user, await user.create(service_name, credentials, service_type=None, config={})


@pytest.fixture
def world() -> World:
    """A system with services that take keys."""
    keyed = 'display_name = "K"\nservice_type = "crm"\napi_base_url = "https://api.example/v1"\n'
    return World(
        services=f'[service.keyed_api]\nauth = "api_key"\n{keyed}[service.with_password]\nauth = "basic"\n{keyed}'
    )


async def test_a_call_has_the_token_and_the_base_url(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        world.api.respond = in_turn(answering(200, {"id": 1}, x_own="a"))
        reply = await api.get("/contacts", params={"limit": 2}, headers={"X-Own": "1"})
        assert (api.integration.id, api.service.name) == (row.id, "demo_crm")
    assert (reply.status, reply.json(), reply.headers["x-own"]) == (200, {"id": 1}, "a")
    (sent,) = world.api.sent
    assert sent.url == "http://127.0.0.1:9400/contacts?limit=2"
    assert (sent.headers["authorization"], sent.headers["x-own"]) == ("Bearer canary-access-0", "1")
    assert world.api.answers[0].closed == 1


async def test_bodies_are_json_or_bytes_or_streams(world: World) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.post("/x", json={"a": 1}, idempotency_key="k-1")
        await api.put("/x", content=b"bytes")
        await api.patch("/x", content=stream())
        with pytest.raises(InvalidValueError):
            await api.post("/x", json={}, content=b"")
        with pytest.raises(InvalidValueError):
            await api.request("TRACE", "/x")
    assert [sent.body for sent in world.api.sent] == [b'{"a":1}', b"bytes", b"ab"]
    assert world.api.sent[0].headers["idempotency-key"] == "k-1"
    assert world.api.sent[0].headers["content-type"] == "application/json"


async def test_a_token_that_ends_meanwhile_is_renewed_by_itself(world: World) -> None:
    user, row = await authorized(world)
    async with user.client(row.id) as api:
        await api.get("/x")
        world.clock.moment += timedelta(minutes=58)
        await api.get("/x")
    assert [sent.headers["authorization"] for sent in world.api.sent] == [
        "Bearer canary-access-0",
        "Bearer canary-access-1",
    ]
    assert len(world.service.asked(TOKEN)) == 1


async def test_a_refused_token_is_renewed_once(world: World) -> None:
    user, row = await authorized(world)
    world.api.respond = in_turn(answering(401), answering(200, "ok"))
    async with user.client(row.id) as api:
        assert (await api.get("/x")).json() == "ok"
    assert len(world.service.asked(TOKEN)) == 1
    assert world.api.sent[1].headers["authorization"] == "Bearer canary-access-1"
    assert [answer.closed for answer in world.api.answers] == [1, 1]


async def test_a_token_that_somebody_else_has_renewed_is_taken_from_them(world: World) -> None:
    user, row = await authorized(world)
    async with user.client(row.id) as api:
        await world.another_process().fresh(world.database.as_user(user.caller), row.id, requested=True)
        world.api.respond = in_turn(answering(401), answering(200, "ok"))
        assert (await api.get("/x")).json() == "ok"
    assert len(world.service.asked(TOKEN)) == 1


async def test_a_new_token_that_is_refused_too_means_connecting_again(world: World) -> None:
    user, row = await authorized(world)
    world.api.respond = in_turn(answering(401))
    async with user.client(row.id) as api:
        with pytest.raises(ReauthorizationRequiredError):
            await api.get("/x")
    assert (len(world.api.sent), len(world.service.asked(TOKEN))) == (2, 1)


async def test_a_token_that_cannot_be_renewed_means_connecting_again(world: World) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(answering(401))
    async with user.client(row.id) as api:
        with pytest.raises(ReauthorizationRequiredError):
            await api.get("/x")
    assert [len(world.api.sent), world.api.answers[0].closed] == [1, 1]


@pytest.mark.parametrize("service", ["keyed_api", "with_password"])
async def test_a_refused_key_is_not_renewed(world: World, service: str) -> None:
    user, row = await with_key(world, service)
    world.api.respond = in_turn(answering(401))
    async with user.client(row.id) as api:
        with pytest.raises(CredentialsRejectedError):
            await api.get("/x")
    assert (len(world.api.sent), world.service.requests) == (1, [])


async def test_a_stream_is_sent_once_and_the_next_call_has_the_new_token(world: World) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"a"

    user, row = await authorized(world)
    world.api.respond = in_turn(answering(401), answering(200))
    async with user.client(row.id) as api:
        with pytest.raises(ServiceError) as caught:
            await api.post("/x", content=stream())
        assert caught.value.status == 401
        await api.get("/x")
    assert world.api.sent[1].headers["authorization"] == "Bearer canary-access-1"


@pytest.mark.parametrize(
    ("method", "options", "tries"),
    [
        ("GET", {}, 4),
        ("PUT", {}, 4),
        ("DELETE", {}, 4),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
        ("POST", {"idempotency_key": "k"}, 4),
    ],
)
@pytest.mark.parametrize("failure", [answering(503), LOST, FakeExchange(200, (), (b"half", LOST))])
async def test_what_may_be_repeated_is_tried_again(
    world: World, method: str, options: dict[str, str], tries: int, failure: FakeExchange | Exception
) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(failure)
    async with user.client(row.id) as api:
        with pytest.raises((ServiceError, ProviderUnavailableError)):
            await api.request(method, "/x", idempotency_key=options.get("idempotency_key"))
    assert len(world.api.sent) == tries
    assert [call.attempt for call in world.call_log.calls] == list(range(1, tries + 1))


async def test_what_passes_succeeds_in_the_end(world: World) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(answering(503, None, retry_after="1"), LOST, answering(200, "ok"))
    began = world.clock.now()
    async with user.client(row.id) as api:
        world.calls.limiter.set_config("demo_crm", max_requests=1_000, window=1)
        assert (await api.get("/x")).json() == "ok"
    assert world.clock.now() - began >= timedelta(seconds=1)


async def test_a_429_goes_back_into_the_queue_even_of_a_post(world: World) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(answering(429, "slow down", retry_after="0"), answering(200, "ok"))
    async with user.client(row.id) as api:
        assert (await api.post("/x", json={})).json() == "ok"
    assert len(world.api.sent) == 2


async def test_a_429_for_too_long_is_an_error_with_the_wait(world: World) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(answering(429, {"canary": "body"}, retry_after="3600"))
    async with user.client(row.id) as api:
        with pytest.raises(ServiceRateLimitedError) as caught:
            await api.get("/x")
    assert (caught.value.status, caught.value.retry_after) == (429, timedelta(hours=1))
    assert len(world.api.sent) == 1


async def test_a_check_may_find_a_refusal_in_a_good_answer(world: World) -> None:
    def check(reply: ServiceReply) -> None:
        if b"THROTTLED" in reply.body:
            raise ServiceRateLimitedError(retry_after=timedelta(0))

    user, row = await connected(world)
    world.api.respond = in_turn(answering(200, "THROTTLED"), answering(200, "ok"))
    async with user.client(row.id) as api:
        assert (await api.post("/x", json={}, check=check)).json() == "ok"


async def test_an_error_has_the_answer_and_shows_nothing_of_it(world: World) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(FakeExchange(400, (), (b"canary" * 20_000, b"more")))
    async with user.client(row.id) as api:
        with pytest.raises(ServiceError) as caught:
            await api.get("/x", params={"q": "canary"})
    assert (caught.value.status, len(caught.value.body)) == (400, 65_536)
    assert "canary" not in f"{caught.value!r}{caught.value}"
    assert world.api.answers[0].closed == 1


async def test_a_reply_is_held_up_to_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_replies, "MAX_REPLY_BYTES", 10)
    user, row = await connected(world)
    world.api.respond = in_turn(FakeExchange(200, (), (b"12345", b"67890", b"1")))
    async with user.client(row.id) as api:
        with pytest.raises(ReplyTooLargeError):
            await api.get("/x")
        async with api.stream("GET", "/x") as reply:
            assert [chunk async for chunk in reply.chunks()] == [b"12345", b"67890", b"1"]
    assert world.api.answers[-1].closed >= 1


async def test_a_stream_that_is_left_early_is_closed(world: World) -> None:
    parts: tuple[Part, ...] = (b"1", b"2")
    user, row = await connected(world)
    world.api.respond = in_turn(answering(503), FakeExchange(200, (), parts))
    async with user.client(row.id) as api:
        async with api.stream("GET", "/x") as reply:
            assert reply.status == 200
        assert [answer.closed for answer in world.api.answers] == [1, 1]
        world.api.respond = in_turn(answering(404))
        with pytest.raises(ServiceError):
            async with api.stream("GET", "/x"):
                pass


async def test_a_pause_ends_the_calls_of_an_open_client(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.get("/x")
        await user.update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
        with pytest.raises(IntegrationPausedError):
            await api.get("/x")
    assert len(world.api.sent) == 1


async def test_what_others_change_is_seen_after_five_seconds(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.get("/x")
        paused = IntegrationChanges(status=IntegrationStatus.INACTIVE)
        await world.database.as_user(user.caller).update_integration(row.id, paused)
        await api.get("/x")
        world.clock.moment += timedelta(seconds=5)
        with pytest.raises(IntegrationPausedError):
            await api.get("/x")


async def test_many_calls_at_once_open_the_connection_once(world: World) -> None:
    user, row = await connected(world)
    reads = 0

    class Counting(FakeStore):
        async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
            nonlocal reads
            reads += 1
            await asyncio.sleep(0.01)
            return await super().get_sealed(integration_id)

    counting = UserIntegrations(user.caller, Counting(world.database, user.caller.user_id, user.caller), user._engine)
    async with counting.client(row.id) as api:
        world.clock.moment += timedelta(seconds=5)
        await asyncio.gather(*(api.get("/x") for _ in range(50)))
    assert (reads, len(world.api.sent)) == (2, 50)


async def test_a_reading_that_began_before_a_change_is_not_kept(world: World) -> None:
    user, row = await connected(world)
    began, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeStore):
        async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
            sealed = await super().get_sealed(integration_id)
            began.set()
            await goes_on.wait()
            return sealed

    slow = UserIntegrations(user.caller, Slow(world.database, user.caller.user_id, user.caller), user._engine)
    opening = asyncio.create_task(slow.client(row.id).__aenter__())
    await began.wait()
    await user.update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    goes_on.set()
    api = await opening
    with pytest.raises(IntegrationPausedError):
        await api.get("/x")
    assert world.api.sent == []


async def test_what_was_opened_for_one_caller_is_not_for_another(world: World) -> None:
    """Another token of the same user opens the row anew, too."""
    user, row = await connected(world)
    async with user.client(row.id) as api:
        await api.get("/x")
    world.database.outages = 1
    again = world.user(world.caller(user.caller.user_id))
    other = world.user(type(user.caller)(user.caller.user_id, SecretStr("canary-other"), user.caller.expires_at))
    async with again.client(row.id) as api:
        await api.get("/x")
    assert world.database.outages == 1
    with pytest.raises(Exception, match="database cannot be reached"):
        async with other.client(row.id):
            pass


async def test_an_ended_session_opens_no_client(world: World) -> None:
    user, row = await connected(world)
    world.sessions.error = UnauthenticatedError("session_ended", "Ended.")
    with pytest.raises(UnauthenticatedError):
        async with user.client(row.id):
            pass


async def test_each_call_is_told_to_the_log(world: World) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(LOST, answering(404))
    async with user.client(row.id) as api:
        with pytest.raises(ServiceError):
            await api.get("/contacts/12345?q=canary-query")
    first, second = world.call_log.calls
    assert (first.status, first.error, first.attempt) == (None, "provider_unavailable", 1)
    assert (second.status, second.error, second.attempt) == (404, None, 2)
    assert (second.service_name, second.integration_id, second.method) == ("demo_crm", row.id, "GET")
    assert second.path_template == "/contacts/{…}"
    assert "canary" not in f"{first!r}{second!r}{world.api.sent[0].request!r}"


async def test_a_closed_client_makes_no_calls(world: World) -> None:
    user, row = await connected(world)
    async with user.client(row.id) as api:
        pass
    with pytest.raises(RuntimeError):
        await api.get("/x")
