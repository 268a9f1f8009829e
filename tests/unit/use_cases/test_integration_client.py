"""Calling a connection's service: what is sent, what is tried again, and what each failure is called."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from supabase_integrations.core.credentials import ApiKeyCredentials
from supabase_integrations.core.errors import (
    CredentialsRejectedError,
    InvalidValueError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    ReplyTooLargeError,
    ServiceError,
    ServiceRateLimitedError,
)
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.service_reply import ServiceReply
from supabase_integrations.use_cases import whole_replies
from tests.unit.conftest import World
from tests.unit.service_fakes import FakeExchange, Part, answering
from tests.unit.use_cases.calling import LOST, TOKEN, authorized, connected, in_turn, with_key


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


@pytest.mark.parametrize("status", [200, 202, 303])
async def test_a_job_that_takes_its_time_holds_no_other_call_back(world: World, status: int) -> None:
    user, row = await connected(world)
    world.api.respond = in_turn(answering(status, None, retry_after="3600"), answering(200, "ok"))
    async with user.client(row.id) as api:
        assert (await api.get("/jobs/1")).headers["retry-after"] == "3600"
        assert (await api.get("/x")).json() == "ok"


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


@pytest.mark.parametrize(("pattern", "is_held"), [("^[^/]+$", False), (r"^[a-z]+\\.shops\\.example$", True)])
async def test_less_is_held_of_what_a_host_says_that_a_user_names(pattern: str, is_held: bool) -> None:
    """4 MiB of brackets take 130 MB when they are read, 64 MiB take two gigabytes."""
    world = World(
        services='[service.shops]\nauth = "api_key"\ndisplay_name = "S"\nservice_type = "crm"\n'
        f'tenant_param = "host"\ntenant_pattern = "{pattern}"\napi_base_url = "https://{{host}}/api"\n'
    )
    user = world.user(world.caller())
    credentials = ApiKeyCredentials(SecretStr("canary-key"))
    row = await user.create("shops", credentials, service_type=None, config={"host": "ada.shops.example"})
    parts = (b"[", *(b"[]," * 400_000 for _ in range(4)), b"[]]")
    world.api.respond = in_turn(FakeExchange(200, (), parts))
    async with user.client(row.id) as api:
        if is_held:
            assert (await api.get("/x")).body == b"".join(parts)
            return
        with pytest.raises(ReplyTooLargeError):
            await api.get("/x")
    assert world.api.answers[0].closed == 1


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
