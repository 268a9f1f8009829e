"""The authorization code flow, from its start to the stored connection."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from supabase_integrations.core.callback import CallbackQuery, sign_query
from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.errors import (
    AccountMismatchError,
    AccountUnknownError,
    AuthorizationDeniedError,
    IntegrationBusyError,
    IntegrationNotFoundError,
    InvalidCallbackError,
    InvalidGrantError,
    InvalidStateError,
    InvalidValueError,
    IssuerMismatchError,
    ProviderUnavailableError,
    ServiceNotConfiguredError,
    StateExpiredError,
    UnknownServiceError,
)
from supabase_integrations.core.flow import open_flow
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.models import Caller, IntegrationStatus
from supabase_integrations.core.pkce import code_challenge
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.core.state import state_hash
from supabase_integrations.use_cases.oauth_manager import Initiation, StartedAuthorization
from tests.unit.conftest import APP_PAGE, REDIRECT_URI, World, token_reply
from tests.unit.fakes import Answer, form_of, json_reply

DEMO = "http://127.0.0.1:9400"
TOKEN_URL = f"{DEMO}/token"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def state_of(started: StartedAuthorization) -> str:
    return query_of(started.auth_url)["state"]


def callback(started: StartedAuthorization, **changes: str) -> CallbackQuery:
    parameters = {"code": "canary-code", "state": state_of(started), "iss": DEMO} | changes
    return CallbackQuery.parse((name, value) for name, value in parameters.items() if value)


async def start(world: World, caller: Caller, initiation: Initiation | None = None) -> StartedAuthorization:
    return await world.user(caller).initiate_auth(initiation or Initiation("demo_crm"))


async def test_authorize_url_carries_what_the_flow_is_checked_with_later(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller, Initiation("demo_crm", redirect_to=APP_PAGE))
    query = query_of(started.auth_url)
    pending = world.database.states[caller.user_id, started.state_hash]
    flow = open_flow(world.encryption, pending.flow, user_id=caller.user_id, state_hash=started.state_hash)
    assert started.auth_url.startswith(f"{DEMO}/auth?")
    assert started.state_hash == state_hash(query["state"])
    assert started.expires_at == world.clock.now() + timedelta(minutes=10)
    assert query["client_id"] == "demo_crm-id"
    assert query["redirect_uri"] == REDIRECT_URI == flow.redirect_uri
    assert query["response_type"] == "code"
    assert query["scope"] == "openid offline_access contacts:read"
    assert query["code_challenge_method"] == "S256"
    assert query["code_challenge"] == code_challenge(flow.code_verifier.get_secret_value())


async def test_callback_stores_the_connection_sealed(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    row = await world.user(caller).handle_callback(callback(started))
    sealed = world.database.rows[caller.user_id, row.id]
    payload = world.vault.open(sealed, world.catalogue.get("demo_crm"))
    assert payload is not None
    assert isinstance(payload.credentials, OAuthCredentials)
    assert payload.credentials.access_token.get_secret_value() == "canary-access-1"
    assert row.external_account_id == "ada"
    assert row.display_name == "Ada"
    assert row.status is IntegrationStatus.ACTIVE
    assert row.scopes == ("openid", "contacts:read")
    assert row.expires_at == world.clock.now() + timedelta(hours=1)
    assert row.next_refresh_at == world.clock.now() + timedelta(minutes=55)
    assert "canary" not in repr(sealed)
    assert "canary" not in str(sealed.envelope)


async def test_code_is_exchanged_with_verifier_and_the_same_redirect_uri(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    await world.user(caller).handle_callback(callback(started))
    (request,) = world.service.asked(TOKEN_URL)
    form = form_of(request)
    assert form["grant_type"] == "authorization_code"
    assert form["code"] == "canary-code"
    assert form["redirect_uri"] == REDIRECT_URI
    assert code_challenge(form["code_verifier"]) == query_of(started.auth_url)["code_challenge"]


async def test_a_state_is_accepted_only_once(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    await world.user(caller).handle_callback(callback(started))
    with pytest.raises(InvalidStateError):
        await world.user(caller).handle_callback(callback(started))
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_somebody_elses_state_is_refused_and_left_alone(world: World) -> None:
    victim, attacker = world.caller(), world.caller()
    started = await start(world, attacker)
    with pytest.raises(InvalidStateError):
        await world.user(victim).handle_callback(callback(started))
    assert world.service.requests == []
    assert (attacker.user_id, started.state_hash) in world.database.states


async def test_a_flow_sealed_for_another_user_does_not_open(world: World) -> None:
    """The attacker puts his own flow under the victim's id, as far as row level security is concerned."""
    victim, attacker = world.caller(), world.caller()
    started = await start(world, attacker)
    row = world.database.states.pop((attacker.user_id, started.state_hash))
    world.database.states[victim.user_id, started.state_hash] = row
    with pytest.raises(InvalidStateError):
        await world.user(victim).handle_callback(callback(started))
    assert world.service.requests == []


async def test_a_flow_of_another_state_does_not_open(world: World) -> None:
    caller = world.caller()
    first, second = await start(world, caller), await start(world, caller)
    world.database.states[caller.user_id, first.state_hash] = world.database.states[caller.user_id, second.state_hash]
    with pytest.raises(InvalidStateError):
        await world.user(caller).handle_callback(callback(first))
    assert world.service.requests == []


async def test_an_expired_state_is_refused(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    world.clock.moment += timedelta(minutes=10)
    with pytest.raises(StateExpiredError):
        await world.user(caller).handle_callback(callback(started))
    assert world.service.requests == []


@pytest.mark.parametrize("state", ["", "x", "A" * 107, "ä", "=" * 40, "A" * 5000])
async def test_a_forged_state_is_refused(world: World, state: str) -> None:
    with pytest.raises(InvalidStateError):
        await world.user(world.caller()).handle_callback(CallbackQuery((("code", "c"), ("state", state))))


async def test_an_answer_of_another_issuer_is_refused(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    with pytest.raises(IssuerMismatchError):
        await world.user(caller).handle_callback(callback(started, iss="https://accounts.google.com"))
    assert world.service.requests == []


async def test_an_answer_without_issuer_is_refused_where_one_is_known(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    with pytest.raises(IssuerMismatchError):
        await world.user(caller).handle_callback(callback(started, iss=""))
    assert world.service.requests == []


async def test_an_answer_naming_another_services_issuer_is_refused_where_none_is_known(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller, Initiation("plain"))
    with pytest.raises(IssuerMismatchError):
        await world.user(caller).handle_callback(callback(started, iss=DEMO))
    assert world.service.requests == []


async def test_a_services_error_consumes_the_state(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    with pytest.raises(AuthorizationDeniedError) as denied:
        await world.user(caller).handle_callback(callback(started, code="", error="access_denied"))
    assert denied.value.code == "access_denied"
    assert world.database.states == {}


async def test_an_unknown_error_of_a_service_becomes_a_stable_code(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    with pytest.raises(AuthorizationDeniedError) as denied:
        await world.user(caller).handle_callback(callback(started, code="", error="<script>"))
    assert denied.value.code == "provider_error"


async def test_a_callback_without_code_is_refused(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    with pytest.raises(InvalidCallbackError):
        await world.user(caller).handle_callback(callback(started, code=""))


async def test_a_code_is_never_sent_twice(world: World) -> None:
    caller = world.caller()
    world.service.answers[TOKEN_URL] = lambda _: json_reply({}, status=503)
    started = await start(world, caller)
    with pytest.raises(ProviderUnavailableError):
        await world.user(caller).handle_callback(callback(started))
    with pytest.raises(InvalidStateError):
        await world.user(caller).handle_callback(callback(started))
    assert len(world.service.asked(TOKEN_URL)) == 1


async def test_a_refused_code_stores_nothing(world: World) -> None:
    caller = world.caller()
    world.service.answers[TOKEN_URL] = lambda _: json_reply({"error": "invalid_grant"}, status=400)
    started = await start(world, caller)
    with pytest.raises(InvalidGrantError):
        await world.user(caller).handle_callback(callback(started))
    assert world.database.rows == {}


async def test_a_service_that_does_not_say_whose_token_it_is_stores_nothing(world: World) -> None:
    caller = world.caller()
    world.service.answers[f"{DEMO}/me"] = lambda _: json_reply({"sub": None})
    started = await start(world, caller)
    with pytest.raises(AccountUnknownError):
        await world.user(caller).handle_callback(callback(started))
    assert world.database.rows == {}


async def test_the_same_account_updates_its_row(world: World) -> None:
    caller = world.caller()
    first = await world.user(caller).handle_callback(callback(await start(world, caller)))
    again = await world.user(caller).handle_callback(callback(await start(world, caller)))
    assert again.id == first.id
    assert again.credential_version == 2


async def test_another_account_makes_a_new_row(world: World) -> None:
    caller = world.caller()
    first = await world.user(caller).handle_callback(callback(await start(world, caller)))
    world.service.answers[f"{DEMO}/me"] = lambda _: json_reply({"sub": "grace"})
    second = await world.user(caller).handle_callback(callback(await start(world, caller)))
    assert second.id != first.id
    assert len(world.database.rows) == 2


async def test_the_same_account_number_at_two_tenants_is_two_accounts(world: World) -> None:
    caller = world.caller()
    rows = []
    for shop in ("acme.tenants.example", "evil.tenants.example"):
        world.service.answers[f"https://{shop}/token"] = lambda _: json_reply(token_reply())
        world.service.answers[f"https://{shop}/me"] = lambda _: json_reply({"id": "1"})
        started = await start(world, caller, Initiation("tenanted", config={"shop": shop}))
        rows.append(await world.user(caller).handle_callback(callback(started, iss="")))
    acme, evil = rows
    assert (acme.external_account_id, evil.external_account_id) == ("acme.tenants.example:1", "evil.tenants.example:1")
    assert acme.config["shop"] == "acme.tenants.example"
    other = Initiation("tenanted", config={"shop": "evil.tenants.example"}, integration_id=acme.id)
    with pytest.raises(AccountMismatchError):
        await world.user(caller).handle_callback(callback(await start(world, caller, other), iss=""))


async def test_reconnecting_with_a_different_account_changes_nothing(world: World) -> None:
    caller = world.caller()
    row = await world.user(caller).handle_callback(callback(await start(world, caller)))
    before = world.database.rows[caller.user_id, row.id]
    world.service.answers[f"{DEMO}/me"] = lambda _: json_reply({"sub": "grace"})
    started = await start(world, caller, Initiation("demo_crm", integration_id=row.id))
    with pytest.raises(AccountMismatchError):
        await world.user(caller).handle_callback(callback(started))
    assert world.database.rows == {(caller.user_id, row.id): before}


async def test_reconnecting_somebody_elses_connection_looks_like_an_unknown_one(world: World) -> None:
    owner, stranger = world.caller(), world.caller()
    row = await world.user(owner).handle_callback(callback(await start(world, owner)))
    with pytest.raises(IntegrationNotFoundError) as foreign:
        await start(world, stranger, Initiation("demo_crm", integration_id=row.id))
    with pytest.raises(IntegrationNotFoundError) as unknown:
        await start(world, stranger, Initiation("demo_crm", integration_id=uuid4()))
    assert str(foreign.value) == str(unknown.value)


async def test_a_reconnection_must_be_to_the_rows_service(world: World) -> None:
    caller = world.caller()
    row = await world.user(caller).handle_callback(callback(await start(world, caller)))
    with pytest.raises(InvalidValueError) as error:
        await start(world, caller, Initiation("hubspot", integration_id=row.id))
    assert error.value.field == "integration_id"


async def test_a_refresh_that_is_under_way_is_waited_for(world: World) -> None:
    caller = world.caller()
    row = await world.user(caller).handle_callback(callback(await start(world, caller)))
    await world.database.as_user(caller).take_lease(row.id, uuid4())
    world.clock.moment += timedelta(seconds=50)
    again = await world.user(caller).handle_callback(callback(await start(world, caller)))
    assert again.credential_version == 2


async def test_a_lease_that_does_not_end_is_reported(world: World) -> None:
    caller = world.caller()
    row = await world.user(caller).handle_callback(callback(await start(world, caller)))
    await world.database.as_user(caller).take_lease(row.id, uuid4())
    with pytest.raises(IntegrationBusyError):
        await world.user(caller).handle_callback(callback(await start(world, caller)))


async def test_a_short_outage_of_the_database_does_not_lose_the_tokens(world: World) -> None:
    caller = world.caller()
    started = await start(world, caller)
    world.service.answers[f"{DEMO}/me"] = _outage(world, json_reply({"sub": "ada"}))
    row = await world.user(caller).handle_callback(callback(started))
    assert (caller.user_id, row.id) in world.database.rows


@pytest.mark.parametrize("connections", [0, 1])
async def test_a_write_whose_answer_was_lost_is_found_again(world: World, connections: int) -> None:
    caller = world.caller()
    if connections:
        await world.user(caller).handle_callback(callback(await start(world, caller)))
    started = await start(world, caller)
    world.database.lost_answers = 1
    row = await world.user(caller).handle_callback(callback(started))
    assert row.credential_version == 1 + connections
    assert len(world.database.rows) == 1


async def test_meta_trades_the_first_token_for_a_long_lived_one(world: World) -> None:
    caller = world.caller()
    graph = "https://graph.facebook.com/v26.0"

    def answer(request: HttpRequest) -> HttpReply:
        form = form_of(request)
        if form["grant_type"] == "fb_exchange_token":
            assert form["fb_exchange_token"] == "canary-short"
            return json_reply({"access_token": "canary-long", "token_type": "bearer", "expires_in": 5183944})
        return json_reply({"access_token": "canary-short", "token_type": "bearer", "expires_in": 3600})

    world.service.answers[f"{graph}/oauth/access_token"] = answer
    world.service.answers[f"{graph}/me"] = lambda _: json_reply({"id": "77", "name": "Ada Ads"})
    started = await start(world, caller, Initiation("meta_ads"))
    row = await world.user(caller).handle_callback(callback(started, iss=""))
    payload = world.vault.open(world.database.rows[caller.user_id, row.id], world.catalogue.get("meta_ads"))
    assert payload is not None
    assert isinstance(payload.credentials, OAuthCredentials)
    assert payload.credentials.access_token.get_secret_value() == "canary-long"
    assert row.external_account_id == "77"
    assert query_of(started.auth_url)["scope"] == "ads_read,business_management"
    assert "appsecret_proof=" in world.service.asked(f"{graph}/me")[0].url


async def test_meta_keeps_the_first_token_where_the_trade_fails(world: World) -> None:
    caller = world.caller()
    graph = "https://graph.facebook.com/v26.0"
    world.service.answers[f"{graph}/oauth/access_token"] = lambda request: (
        json_reply({"error": {"type": "OAuthException", "code": 1}}, 500)
        if form_of(request)["grant_type"] == "fb_exchange_token"
        else json_reply({"access_token": "canary-short", "expires_in": 3600})
    )
    world.service.answers[f"{graph}/me"] = lambda _: json_reply({"id": "77"})
    row = await world.user(caller).handle_callback(callback(await start(world, caller, Initiation("meta_ads")), iss=""))
    assert row.expires_at == world.clock.now() + timedelta(hours=1)
    assert row.next_refresh_at == world.clock.now() + timedelta(minutes=30)


async def test_hubspot_is_identified_by_introspection(world: World) -> None:
    caller = world.caller()
    base = "https://api.hubapi.com/oauth/2026-03/token"
    world.service.answers[base] = lambda _: json_reply(token_reply(expires_in="1800"))
    world.service.answers[f"{base}/introspect"] = lambda _: json_reply({"hub_id": 4711, "user": "a@b.c"})
    row = await world.user(caller).handle_callback(callback(await start(world, caller, Initiation("hubspot")), iss=""))
    form = form_of(world.service.asked(f"{base}/introspect")[0])
    assert (row.external_account_id, row.display_name) == ("4711", "a@b.c")
    assert form["client_secret"] == "canary-hubspot-secret"
    assert form["token"] == "canary-access-1"


SHOP = "canary-shop.myshopify.com"


def shopify_callback(started: StartedAuthorization, **changes: str) -> CallbackQuery:
    parameters = {"code": "canary-code", "shop": SHOP, "state": state_of(started), "timestamp": "1"} | changes
    if "hmac" not in changes:
        parameters["hmac"] = sign_query(parameters, SecretStr("canary-shopify-secret"))
    return CallbackQuery.parse(parameters.items())


async def test_shopify_connects_one_shop(world: World) -> None:
    caller = world.caller()
    url = f"https://{SHOP}/admin/oauth/access_token"
    world.service.answers[url] = lambda _: json_reply(token_reply(scope="read_products,read_orders"))
    started = await start(world, caller, Initiation("shopify", config={"shop": SHOP}))
    row = await world.user(caller).handle_callback(shopify_callback(started))
    assert started.auth_url.startswith(f"https://{SHOP}/admin/oauth/authorize?")
    assert "code_challenge" not in query_of(started.auth_url)
    assert row.external_account_id == SHOP
    assert row.config == {"shop": SHOP}
    assert row.scopes == ("read_products", "read_orders")
    assert form_of(world.service.asked(url)[0])["expiring"] == "1"


@pytest.mark.parametrize(
    "changes",
    [
        {"hmac": "0" * 64},
        {"hmac": ""},
        {"shop": "other.myshopify.com"},
        {"hmac": "ä"},
    ],
)
async def test_shopify_answers_that_are_not_shopifys_are_refused(world: World, changes: dict[str, str]) -> None:
    caller = world.caller()
    started = await start(world, caller, Initiation("shopify", config={"shop": SHOP}))
    with pytest.raises(InvalidCallbackError):
        await world.user(caller).handle_callback(shopify_callback(started, **changes))
    assert world.service.requests == []


@pytest.mark.parametrize(
    "shop",
    [
        "",
        "evil.example",
        "shop.myshopify.com.evil.example",
        "shop.myshopify.com\n",
        "shop.myshopify.com/",
        "shop.myshopify.com@evil.example",
        "evil.example/shop.myshopify.com",
        "SHOP.myshopify.com",
        "-shop.myshopify.com",
        "shop.myshopify.com:443",
        "shop.myshopify.com?x",
        "a" * 300 + ".myshopify.com",
        "ｓhop.myshopify.com",
    ],
)
async def test_a_hostile_shop_is_refused_before_a_url_is_built(world: World, shop: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        await start(world, world.caller(), Initiation("shopify", config={"shop": shop}))
    assert error.value.field == "config.shop"
    assert world.database.states == {}


async def test_redirect_to_must_be_on_the_allow_list(world: World) -> None:
    with pytest.raises(InvalidValueError) as error:
        await start(world, world.caller(), Initiation("demo_crm", redirect_to=f"{APP_PAGE}/"))
    assert error.value.field == "redirect_to"


@pytest.mark.parametrize(
    "parameters",
    [{"state": "x"}, {"redirect_uri": "https://evil.example"}, {"scope": "all"}, {"nonce": "1"}, {"unlisted": "1"}],
)
async def test_protocol_and_unlisted_parameters_are_refused(world: World, parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidValueError) as error:
        await start(world, world.caller(), Initiation("demo_crm", additional_params=parameters))
    assert error.value.field == "additional_params"


async def test_listed_parameters_and_own_scopes_reach_the_authorize_url(world: World) -> None:
    initiation = Initiation("demo_crm", additional_params={"login_hint": "ada"}, scopes=("openid",))
    query = query_of((await start(world, world.caller(), initiation)).auth_url)
    assert query["login_hint"] == "ada"
    assert query["scope"] == "openid"


@pytest.mark.parametrize("scopes", [("a b",), ("",), ('a"',), ("x" * 257,), tuple(f"s{n}" for n in range(101))])
async def test_scopes_that_are_several_are_refused(world: World, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValueError) as error:
        await start(world, world.caller(), Initiation("demo_crm", scopes=scopes))
    assert error.value.field == "scopes"


async def test_unknown_and_unconfigured_services_are_told_apart(world: World) -> None:
    with pytest.raises(UnknownServiceError):
        await start(world, world.caller(), Initiation("nowhere"))
    del world.clients["hubspot"]
    with pytest.raises(ServiceNotConfiguredError):
        await start(world, world.caller(), Initiation("hubspot"))


async def test_services_with_keys_are_not_authorized(world: World) -> None:
    with pytest.raises(InvalidValueError) as error:
        await start(world, world.caller(), Initiation("keyed"))
    assert error.value.field == "service_name"


def _outage(world: World, reply: HttpReply) -> Answer:
    def answer(_: HttpRequest) -> HttpReply:
        world.database.outages = 2
        return reply

    return answer
