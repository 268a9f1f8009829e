"""Renewing credentials: one request for everybody, and what each failure leaves behind."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.credentials import ApiKeyCredentials, CredentialPayload, OAuthCredentials
from supabase_integrations.core.errors import (
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    IntegrationPausedError,
    InvalidClientError,
    MalformedTokenResponseError,
    NotRefreshableError,
    ProviderUnavailableError,
    QuotaExceededError,
    ReauthorizationRequiredError,
    ServiceNotConfiguredError,
    StoreUnavailableError,
    TokenEndpointError,
    UnauthenticatedError,
)
from supabase_integrations.core.http_messages import HttpReply
from supabase_integrations.core.models import (
    Caller,
    Integration,
    IntegrationChanges,
    IntegrationStatus,
)
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.user_integrations import UserIntegrations
from tests.unit.conftest import World, token_reply
from tests.unit.fakes import START, form_of, json_reply

TOKEN_URL = "http://127.0.0.1:9400/token"
GRAPH = "https://graph.facebook.com/v26.0"
HOUR = timedelta(hours=1)
SECOND = token_reply(access_token="canary-access-2", refresh_token="canary-refresh-2")


def tokens(lifetime: timedelta | None = HOUR, refresh_token: str | None = "canary-refresh-1") -> OAuthCredentials:
    return OAuthCredentials(
        SecretStr("canary-access-1"),
        issued_at=START,
        refresh_token=SecretStr(refresh_token) if refresh_token else None,
        expires_at=START + lifetime if lifetime else None,
        scopes=("openid", "contacts:read"),
    )


async def connected(
    world: World, caller: Caller, credentials: OAuthCredentials | None = None, service: str = "demo_crm"
) -> Integration:
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    world.service.answers[f"{GRAPH}/me"] = lambda _: json_reply({"id": "77"})
    row = await world.user(caller).create(service, credentials or tokens(), service_type=None, config={})
    world.clock.moment += timedelta(seconds=10)
    return row


async def stored(world: World, caller: Caller, row_id: UUID) -> tuple[Integration, OAuthCredentials]:
    sealed = world.database.rows[caller.user_id, row_id]
    payload = world.vault.open(sealed, world.catalogue.get(sealed.integration.service_name))
    assert payload is not None
    assert isinstance(payload.credentials, OAuthCredentials)
    return sealed.integration, payload.credentials


async def test_a_fresh_token_is_returned_without_asking(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    assert await world.user(caller).get_integration_credentials(row.id) == tokens()
    assert world.service.asked(TOKEN_URL) == []


@pytest.mark.parametrize("age", [timedelta(minutes=55), HOUR, timedelta(days=30)])
async def test_a_due_token_is_renewed_first(world: World, age: timedelta) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += age
    credentials = await world.user(caller).get_integration_credentials(row.id)
    (request,) = world.service.asked(TOKEN_URL)
    after, written = await stored(world, caller, row.id)
    assert form_of(request) == {"grant_type": "refresh_token", "refresh_token": "canary-refresh-1"}
    assert credentials == written
    assert written.access_token.get_secret_value() == "canary-access-2"
    assert written.refresh_token is not None
    assert written.refresh_token.get_secret_value() == "canary-refresh-2"
    assert after.credential_version == 2
    assert after.refresh_lease_owner is None
    assert after.expires_at == world.clock.now() + HOUR
    assert after.last_refreshed_at == world.clock.now()


async def test_a_requested_refresh_renews_a_fresh_token(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    renewed = await world.user(caller).refresh_token(row.id)
    assert renewed.credential_version == 2
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_a_token_that_was_renewed_just_now_is_not_renewed_again(world: World) -> None:
    """A caller in a loop does not make the operator's client storm the service."""
    caller = world.caller()
    row = await connected(world, caller)
    for _ in range(10):
        assert (await world.user(caller).refresh_token(row.id)).credential_version == 2
    assert len(world.service.asked(TOKEN_URL)) == 1
    world.clock.moment += timedelta(seconds=5)
    assert (await world.user(caller).refresh_token(row.id)).credential_version == 3


async def test_a_write_that_is_refused_ends_the_lease(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    store = world.database.as_user(caller)

    async def refuse(*_: object, **__: object) -> Integration:
        raise QuotaExceededError

    user = UserIntegrations(caller, store, world.user(caller)._engine)
    store.replace_credentials = refuse  # type: ignore[method-assign]
    with pytest.raises(QuotaExceededError):
        await user.refresh_token(row.id)
    after, _ = await stored(world, caller, row.id)
    assert after.refresh_lease_owner is None


async def test_waiting_looks_seldom_and_not_for_long(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.database.as_user(caller).take_lease(row.id, uuid4())
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.clock.moment += timedelta(seconds=seconds)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(IntegrationBusyError):
        await world.user(caller).refresh_token(row.id)
    assert sum(slept) == pytest.approx(40)
    assert len(slept) < 50


async def test_what_the_reply_leaves_out_stays(world: World) -> None:
    """RFC 6749 §6: neither refresh token nor scopes are wiped by a reply without them."""
    caller = world.caller()
    row = await connected(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(
        {"access_token": "canary-access-2", "refresh_token": None, "expires_in": 3600}
    )
    await world.user(caller).refresh_token(row.id)
    _, credentials = await stored(world, caller, row.id)
    assert credentials.refresh_token is not None
    assert credentials.refresh_token.get_secret_value() == "canary-refresh-1"
    assert credentials.scopes == ("openid", "contacts:read")


async def test_fifty_callers_make_one_request(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    user = world.user(caller)
    credentials = await asyncio.gather(*(user.get_integration_credentials(row.id) for _ in range(50)))
    assert len(world.service.asked(TOKEN_URL)) == 1
    assert len({item.access_token for item in credentials if isinstance(item, OAuthCredentials)}) == 1


async def test_a_caller_without_the_lease_waits_for_the_new_token(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    store, owner = world.database.as_user(caller), uuid4()
    leased = await store.take_lease(row.id, owner)
    payload = CredentialPayload("demo_crm", "", tokens(2 * HOUR))
    waits = 0

    async def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        world.clock.moment += timedelta(seconds=seconds)
        if waits == 3:
            service = world.catalogue.get("demo_crm")
            await world.vault.write(store, leased.integration, payload, service, lease_owner=owner)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    assert await world.user(caller).get_integration_credentials(row.id) == payload.credentials
    assert waits == 3
    assert world.service.asked(TOKEN_URL) == []


async def test_a_token_that_still_holds_is_used_while_another_renews_it(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += timedelta(minutes=56)
    await world.database.as_user(caller).take_lease(row.id, uuid4())
    assert await world.user(caller).get_integration_credentials(row.id) == tokens()
    assert world.service.asked(TOKEN_URL) == []


async def test_a_holder_that_died_is_replaced_when_its_lease_ends(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    await world.database.as_user(caller).take_lease(row.id, uuid4())
    world.clock.moment += timedelta(seconds=45)
    credentials = await world.user(caller).get_integration_credentials(row.id)
    assert isinstance(credentials, OAuthCredentials)
    assert credentials.access_token.get_secret_value() == "canary-access-2"


async def test_a_lease_that_never_ends_is_not_waited_for_forever(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    store = world.database.as_user(caller)

    async def sleep(seconds: float) -> None:
        world.clock.moment += timedelta(seconds=seconds)
        await store.release_lease(row.id, holder[-1])
        holder.append(uuid4())
        await store.take_lease(row.id, holder[-1])

    holder = [uuid4()]
    await store.take_lease(row.id, holder[0])
    world.clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(IntegrationBusyError):
        await world.user(caller).get_integration_credentials(row.id)


async def test_a_refused_refresh_token_needs_the_user(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_grant"}, 400)
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError):
            await world.user(caller).refresh_token(row.id)
    after, credentials = await stored(world, caller, row.id)
    assert (after.status, after.last_error_code) == (IntegrationStatus.NEEDS_REAUTHORIZATION, "invalid_grant")
    assert after.next_refresh_at is None
    assert credentials == tokens()
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_a_refused_client_needs_the_operator_and_makes_no_storm(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_client"}, 401)
    for _ in range(5):
        with pytest.raises(InvalidClientError):
            await world.user(caller).refresh_token(row.id)
    after, _ = await stored(world, caller, row.id)
    assert (after.status, after.last_error_code) == (IntegrationStatus.ERROR, "invalid_client")
    assert len(world.service.asked(TOKEN_URL)) == 1
    world.clock.moment += timedelta(minutes=11)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    healed = await world.user(caller).refresh_token(row.id)
    assert (healed.status, healed.last_error_code, healed.refresh_failures) == (IntegrationStatus.ACTIVE, None, 0)


@pytest.mark.parametrize(
    ("reply", "raised", "code"),
    [
        (HttpReply(503), ProviderUnavailableError, "provider_unavailable"),
        (HttpReply(429), ProviderUnavailableError, "provider_unavailable"),
        (HttpReply(200, {}, b"<html>"), MalformedTokenResponseError, "malformed_token_response"),
        (HttpReply(404, {}, b"<html>"), TokenEndpointError, "token_endpoint_error"),
    ],
)
async def test_an_outage_never_kills_a_connection(
    world: World, reply: HttpReply, raised: type[IntegrationError], code: str
) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: reply
    with pytest.raises(raised):
        await world.user(caller).refresh_token(row.id)
    after, credentials = await stored(world, caller, row.id)
    assert (after.status, after.last_error_code, after.refresh_failures) == (IntegrationStatus.ACTIVE, code, 1)
    assert after.refresh_lease_owner is None
    assert credentials == tokens()


async def test_nobody_asks_again_before_the_service_said(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    world.service.answers[TOKEN_URL] = lambda _: HttpReply(429, {"retry-after": "120"})
    waits = []
    for _ in range(4):
        with pytest.raises(ProviderUnavailableError) as error:
            await world.user(caller).get_integration_credentials(row.id)
        waits.append(error.value.retry_after)
        world.clock.moment += timedelta(seconds=10)
    assert waits == [timedelta(seconds=seconds) for seconds in (120, 110, 100, 90)]
    assert len(world.service.asked(TOKEN_URL)) == 1
    world.clock.moment += timedelta(seconds=90)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(SECOND)
    await world.user(caller).get_integration_credentials(row.id)
    assert len(world.service.asked(TOKEN_URL)) == 2


async def test_waits_grow_to_an_hour_and_no_further(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.clock.moment += HOUR
    world.service.answers[TOKEN_URL] = lambda _: HttpReply(503)
    ceilings = []
    for attempt in range(12):
        with pytest.raises(ProviderUnavailableError):
            await world.user(caller).refresh_token(row.id)
        after, _ = await stored(world, caller, row.id)
        assert after.next_refresh_at is not None
        wait = after.next_refresh_at - world.clock.now()
        ceilings.append(wait <= min(timedelta(hours=1), timedelta(minutes=1) * 2**attempt))
        world.clock.moment += HOUR
    assert all(ceilings)
    assert len(world.service.asked(TOKEN_URL)) == 12


async def test_meta_trades_its_token_while_it_lives(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, tokens(timedelta(days=60), None), "meta_ads")
    url = f"{GRAPH}/oauth/access_token"
    world.service.answers[url] = lambda _: json_reply({"access_token": "canary-access-2", "expires_in": 5_184_000})
    await world.user(caller).refresh_token(row.id)
    form = form_of(world.service.asked(url)[0])
    assert form["grant_type"] == "fb_exchange_token"
    assert form["fb_exchange_token"] == "canary-access-1"
    world.clock.moment += timedelta(days=61)
    with pytest.raises(ReauthorizationRequiredError):
        await world.user(caller).get_integration_credentials(row.id)
    assert len(world.service.asked(url)) == 1


async def test_metas_own_code_for_a_dead_token_needs_the_user(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, tokens(timedelta(days=60), None), "meta_ads")
    answer = {"error": {"message": "canary", "type": "OAuthException", "code": 190, "error_subcode": 460}}
    world.service.answers[f"{GRAPH}/oauth/access_token"] = lambda _: json_reply(answer, 400)
    with pytest.raises(ReauthorizationRequiredError):
        await world.user(caller).refresh_token(row.id)
    after, _ = await stored(world, caller, row.id)
    assert (after.status, after.last_error_code) == (IntegrationStatus.NEEDS_REAUTHORIZATION, "invalid_grant")


async def test_an_expired_token_without_means_is_never_served(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, tokens(HOUR, None))
    assert await world.user(caller).get_integration_credentials(row.id) == tokens(HOUR, None)
    with pytest.raises(ReauthorizationRequiredError):
        await world.user(caller).refresh_token(row.id)
    world.clock.moment += HOUR
    with pytest.raises(ReauthorizationRequiredError):
        await world.user(caller).get_integration_credentials(row.id)
    assert world.service.asked(TOKEN_URL) == []


async def test_a_refresh_token_past_its_own_end_is_not_sent(world: World) -> None:
    caller = world.caller()
    world.service.answers[TOKEN_URL] = lambda _: json_reply(token_reply(refresh_token_expires_in=7200))
    row = await connected(world, caller)
    world.service.answers[TOKEN_URL] = lambda _: json_reply(token_reply(refresh_token_expires_in=7200))
    await world.user(caller).refresh_token(row.id)
    world.clock.moment += timedelta(hours=2)
    with pytest.raises(ReauthorizationRequiredError):
        await world.user(caller).get_integration_credentials(row.id)
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_a_token_without_end_is_good(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller, tokens(None))
    world.clock.moment += timedelta(days=3650)
    assert await world.user(caller).get_integration_credentials(row.id) == tokens(None)


async def test_keys_are_handed_over_and_not_refreshed(world: World) -> None:
    caller = world.caller()
    key = ApiKeyCredentials(SecretStr("canary-key"))
    row = await world.user(caller).create("keyed", key, service_type=None, config={})
    assert await world.user(caller).get_integration_credentials(row.id) == key
    with pytest.raises(NotRefreshableError):
        await world.user(caller).refresh_token(row.id)


async def test_a_paused_connection_hands_out_nothing(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    await world.user(caller).update(row.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    for attempt in (world.user(caller).get_integration_credentials, world.user(caller).refresh_token):
        with pytest.raises(IntegrationPausedError):
            await attempt(row.id)
    assert world.service.asked(TOKEN_URL) == []


async def test_somebody_elses_connection_looks_like_an_unknown_one(world: World) -> None:
    owner, stranger = world.caller(), world.caller()
    row = await connected(world, owner)
    for integration_id in (row.id, uuid4()):
        with pytest.raises(IntegrationNotFoundError):
            await world.user(stranger).refresh_token(integration_id)
        with pytest.raises(IntegrationNotFoundError):
            await world.user(stranger).get_integration_credentials(integration_id)


async def test_credentials_are_not_handed_to_a_signed_out_user(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.sessions.error = UnauthenticatedError("session_ended", "The session has ended.")
    with pytest.raises(UnauthenticatedError):
        await world.user(caller).get_integration_credentials(row.id)


async def test_a_service_that_is_configured_no_more_leaves_the_row_alone(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    del world.clients["demo_crm"]
    with pytest.raises(ServiceNotConfiguredError):
        await world.user(caller).refresh_token(row.id)
    after, credentials = await stored(world, caller, row.id)
    assert (after.status, after.refresh_lease_owner, credentials) == (IntegrationStatus.ACTIVE, None, tokens())


async def test_an_outage_of_the_database_after_the_reply_loses_nothing(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    def reply_and_break(_: object) -> HttpReply:
        world.database.outages = 3
        return json_reply(SECOND)

    world.service.answers[TOKEN_URL] = reply_and_break
    renewed = await world.user(caller).refresh_token(row.id)
    assert renewed.credential_version == 2


async def test_a_longer_outage_is_told(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)

    def reply_and_break(_: object) -> HttpReply:
        world.database.outages = 100
        return json_reply(SECOND)

    world.service.answers[TOKEN_URL] = reply_and_break
    with pytest.raises(StoreUnavailableError):
        await world.user(caller).refresh_token(row.id)


async def test_a_write_whose_answer_was_lost_counts(world: World) -> None:
    caller = world.caller()
    row = await connected(world, caller)
    world.database.lost_answers = 1
    renewed = await world.user(caller).refresh_token(row.id)
    assert renewed.credential_version == 2
    assert len(world.service.asked(TOKEN_URL)) == 1
