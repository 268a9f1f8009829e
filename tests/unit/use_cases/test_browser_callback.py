"""What a browser's arrival at the redirect URI leads to."""

from datetime import timedelta

import pytest

from supabase_integrations.core.browser_binding import cookie_name, open_handle, seal_cookie
from supabase_integrations.core.callback import CallbackQuery
from supabase_integrations.core.errors import (
    AuthUnavailableError,
    InvalidCallbackError,
    InvalidHandleError,
    InvalidStateError,
    UnauthenticatedError,
)
from supabase_integrations.core.http_messages import HttpReply
from supabase_integrations.core.models import Caller
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.browser_callback import BrowserCallback, CookieReader, Failed, HandedOn, Stored
from supabase_integrations.use_cases.oauth_manager import Initiation, StartedAuthorization
from tests.unit.conftest import APP_PAGE, World
from tests.unit.use_cases.test_oauth_manager import DEMO, TOKEN_URL, state_of

Parameters = tuple[tuple[str, str], ...]


async def begin(world: World, caller: Caller, redirect_to: str | None = APP_PAGE) -> StartedAuthorization:
    return await world.user(caller).initiate_auth(Initiation("demo_crm", redirect_to=redirect_to))


def returned(started: StartedAuthorization, **changes: str) -> Parameters:
    parameters = {"code": "canary-code", "state": state_of(started), "iss": DEMO} | changes
    return tuple((name, value) for name, value in parameters.items() if value)


NO_COOKIES = dict[str, str]().get


def cookies(world: World, caller: Caller, started: StartedAuthorization) -> CookieReader:
    sealed = seal_cookie(world.encryption, caller.access_token, started.state_hash)
    assert sealed is not None
    return {cookie_name(started.state_hash): sealed}.get


async def test_the_browser_that_started_finishes_by_itself(world: World) -> None:
    caller = world.caller()
    started = await begin(world, caller)
    end = await world.browser.finish(returned(started), cookies(world, caller, started))
    assert isinstance(end.outcome, Stored)
    assert (caller.user_id, end.outcome.integration_id) in world.database.rows
    assert end.redirect_to == APP_PAGE
    assert end.spent_cookie == cookie_name(started.state_hash)
    assert end.user_id == caller.user_id


async def test_without_the_cookie_nothing_is_exchanged(world: World) -> None:
    started = await begin(world, world.caller())
    end = await world.browser.finish(returned(started), NO_COOKIES)
    assert isinstance(end.outcome, HandedOn)
    assert end.redirect_to == APP_PAGE
    assert world.service.requests == []
    assert len(world.database.states) == 1


async def test_the_handle_is_finished_by_the_user_who_started(world: World) -> None:
    caller = world.caller()
    started = await begin(world, caller)
    end = await world.browser.finish(returned(started), NO_COOKIES)
    assert isinstance(end.outcome, HandedOn)
    query = open_handle(world.encryption, end.outcome.handle, world.clock.now())
    row = await world.user(caller).handle_callback(query)
    assert row.external_account_id == "ada"
    assert "canary" not in end.outcome.handle


async def test_a_victim_who_follows_an_attackers_link_cannot_finish_it(world: World) -> None:
    victim, attacker = world.caller(), world.caller()
    started = await begin(world, attacker)
    end = await world.browser.finish(returned(started), NO_COOKIES)
    assert isinstance(end.outcome, HandedOn)
    query = open_handle(world.encryption, end.outcome.handle, world.clock.now())
    with pytest.raises(InvalidStateError):
        await world.user(victim).handle_callback(query)
    assert world.service.requests == []
    assert world.database.rows == {}


async def test_a_cookie_of_another_flow_is_no_cookie(world: World) -> None:
    caller = world.caller()
    first, second = await begin(world, caller), await begin(world, caller)
    value = cookies(world, caller, second)(cookie_name(second.state_hash))
    assert value is not None
    end = await world.browser.finish(returned(first), {cookie_name(first.state_hash): value}.get)
    assert isinstance(end.outcome, HandedOn)
    assert world.service.requests == []


async def test_the_cookie_of_another_user_does_not_finish_a_flow(world: World) -> None:
    victim, attacker = world.caller(), world.caller()
    started = await begin(world, attacker)
    end = await world.browser.finish(returned(started), cookies(world, victim, started))
    assert isinstance(end.outcome, Failed)
    assert end.outcome.code == "invalid_state"
    assert world.service.requests == []


async def test_a_token_that_ended_meanwhile_leads_to_the_handle(world: World) -> None:
    caller = world.caller()
    started = await begin(world, caller)
    world.sessions.error = UnauthenticatedError("session_ended", "The session has ended.")
    end = await world.browser.finish(returned(started), cookies(world, caller, started))
    assert isinstance(end.outcome, HandedOn)
    assert len(world.database.states) == 1


async def test_auth_being_unreachable_leaves_the_rest_to_the_app(world: World) -> None:
    caller = world.caller()
    started = await begin(world, caller)
    world.sessions.error = AuthUnavailableError()
    end = await world.browser.finish(returned(started), cookies(world, caller, started))
    assert isinstance(end.outcome, HandedOn)
    world.sessions.error = None
    query = open_handle(world.encryption, end.outcome.handle, world.clock.now())
    assert (await world.user(caller).handle_callback(query)).external_account_id == "ada"


@pytest.mark.parametrize("state", ["", "x", "A" * 107])
async def test_a_state_that_is_not_ours_never_redirects(world: World, state: str) -> None:
    with pytest.raises(InvalidStateError):
        await world.browser.finish((("code", "c"), ("state", state)), NO_COOKIES)


async def test_a_page_that_is_allowed_no_more_is_not_redirected_to(world: World) -> None:
    started = await begin(world, world.caller())
    browser = BrowserCallback(world.encryption, ("https://app.example/other",), world.clock, world.open_for)
    end = await browser.finish(returned(started), NO_COOKIES)
    assert end.redirect_to is None


async def test_an_expired_state_ends_at_the_app_with_its_code(world: World) -> None:
    started = await begin(world, world.caller())
    world.clock.moment += timedelta(minutes=10)
    end = await world.browser.finish(returned(started), NO_COOKIES)
    assert end.redirect_to == APP_PAGE
    assert isinstance(end.outcome, Failed)
    assert end.outcome.code == "state_expired"


async def test_a_services_error_reaches_the_app_without_a_jwt(world: World) -> None:
    started = await begin(world, world.caller())
    end = await world.browser.finish(returned(started, code="", error="access_denied"), NO_COOKIES)
    assert isinstance(end.outcome, Failed)
    assert end.outcome.code == "access_denied"
    assert len(world.database.states) == 1


async def test_a_services_error_consumes_the_state_where_the_cookie_is(world: World) -> None:
    caller = world.caller()
    started = await begin(world, caller)
    parameters = returned(started, code="", error="access_denied")
    end = await world.browser.finish(parameters, cookies(world, caller, started))
    assert isinstance(end.outcome, Failed)
    assert end.outcome.code == "access_denied"
    assert world.database.states == {}


async def test_a_failed_exchange_is_told_and_not_handed_on(world: World) -> None:
    """The code is spent by then: a handle would only promise what cannot be kept."""
    caller = world.caller()
    started = await begin(world, caller)
    page = HttpReply(200, {"content-type": "text/html"}, b"<html>canary</html>")
    world.service.answers[TOKEN_URL] = lambda _: page
    end = await world.browser.finish(returned(started), cookies(world, caller, started))
    assert isinstance(end.outcome, Failed)
    assert end.outcome.code == "malformed_token_response"


@pytest.mark.parametrize(
    "parameters",
    [
        (("state", "a"), ("state", "b")),
        (("code", "a"), ("code", "b")),
        (("iss", "a"), ("iss", "b")),
        (("code", "a\0"),),
        (("code", "a\r\nb"),),
        (("code", "\ud800"),),
        (("code", "a" * 9000),),
    ],
)
def test_queries_that_no_service_sends_are_refused(parameters: Parameters) -> None:
    with pytest.raises(InvalidCallbackError):
        CallbackQuery.parse(parameters)


async def test_a_handle_ends_with_its_state(world: World) -> None:
    started = await begin(world, world.caller())
    end = await world.browser.finish(returned(started), NO_COOKIES)
    assert isinstance(end.outcome, HandedOn)
    with pytest.raises(InvalidHandleError):
        open_handle(world.encryption, end.outcome.handle, started.expires_at)


@pytest.mark.parametrize("handle", ["", "v1.00000000.AAAA", "x" * 40_000])
def test_a_forged_handle_is_refused(world: World, handle: str) -> None:
    with pytest.raises(InvalidHandleError):
        open_handle(world.encryption, handle, world.clock.now())


def test_a_cookie_is_no_handle(world: World) -> None:
    sealed = seal_cookie(world.encryption, SecretStr("canary"), "0" * 64)
    assert sealed is not None
    with pytest.raises(InvalidHandleError):
        open_handle(world.encryption, sealed, world.clock.now())


def test_a_token_too_long_for_a_cookie_makes_none(world: World) -> None:
    assert seal_cookie(world.encryption, SecretStr("a" * 2800), "0" * 64) is not None
    assert seal_cookie(world.encryption, SecretStr("a" * 3100), "0" * 64) is None
