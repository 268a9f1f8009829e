"""A sensitive call is refused once the session is gone, and whenever that cannot be known."""

import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from supabase_integrations.adapters.auth_sessions import AuthSessions
from supabase_integrations.core.errors import AuthUnavailableError, UnauthenticatedError
from supabase_integrations.core.models import Caller
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, USER
from tests.unit.adapters.conftest import FakeProject, reply
from tests.unit.fakes import START, FakeClock

USER_PATH = "/auth/v1/user"
CALLER = Caller(USER, SecretStr("canary-token"), START + timedelta(hours=1))
ENDED = reply(403, {"code": 403, "error_code": "session_not_found", "msg": "Session does not exist"})


@pytest.fixture
def sessions(http: httpx.AsyncClient, project: FakeProject, clock: FakeClock) -> AuthSessions:
    project.answer(USER_PATH, reply(200, {"id": str(USER)}))
    return AuthSessions(http, PROJECT, PUBLISHABLE_KEY, clock=clock)


async def test_a_living_session_passes_and_is_asked_about_with_the_callers_token(
    sessions: AuthSessions, project: FakeProject
) -> None:
    await sessions.require_session(CALLER)
    assert project.requests[0].headers["authorization"] == "Bearer canary-token"
    assert project.requests[0].headers["apikey"] == PUBLISHABLE_KEY


@pytest.mark.parametrize("error_code", ["session_not_found", "session_expired", "user_not_found", "user_banned"])
async def test_an_ended_session_is_refused(sessions: AuthSessions, project: FakeProject, error_code: str) -> None:
    project.answer(USER_PATH, reply(403, {"code": 403, "error_code": error_code, "msg": "…"}))
    with pytest.raises(UnauthenticatedError) as refusal:
        await sessions.require_session(CALLER)
    assert refusal.value.code == "session_ended"


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, {"code": 500, "error_code": "unexpected_failure", "msg": "…"}),
        reply(503, b""),
        reply(429, {"code": 429, "error_code": "over_request_rate_limit", "msg": "…"}),
        reply(401, {"message": "Invalid API key"}),
        reply(404, b"page not found"),
        reply(302, b"", location="https://elsewhere.test"),
        reply(200, {"user": "unexpected"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
)
async def test_whatever_is_not_a_clear_yes_or_no_refuses_the_call(
    sessions: AuthSessions, project: FakeProject, answer: httpx.Response | Exception
) -> None:
    project.answer(USER_PATH, answer)
    with pytest.raises(AuthUnavailableError):
        await sessions.require_session(CALLER)


async def test_a_yes_about_another_user_is_a_no(sessions: AuthSessions, project: FakeProject) -> None:
    project.answer(USER_PATH, reply(200, {"id": str(UUID(int=1))}))
    for _ in range(2):
        with pytest.raises(UnauthenticatedError) as refusal:
            await sessions.require_session(CALLER)
        assert refusal.value.code == "token_subject_invalid"


async def test_a_yes_holds_for_five_seconds(sessions: AuthSessions, project: FakeProject, clock: FakeClock) -> None:
    await sessions.require_session(CALLER)
    project.answer(USER_PATH, ENDED)
    clock.moment += timedelta(seconds=4.9)
    await sessions.require_session(CALLER)
    assert project.asked(USER_PATH) == 1
    clock.moment += timedelta(seconds=0.1)
    with pytest.raises(UnauthenticatedError):
        await sessions.require_session(CALLER)


async def test_a_no_is_asked_again(sessions: AuthSessions, project: FakeProject) -> None:
    project.answer(USER_PATH, ENDED)
    with pytest.raises(UnauthenticatedError):
        await sessions.require_session(CALLER)
    project.answer(USER_PATH, reply(200, {"id": str(USER)}))
    await sessions.require_session(CALLER)


async def test_a_yes_about_one_token_is_none_about_another(sessions: AuthSessions, project: FakeProject) -> None:
    await sessions.require_session(CALLER)
    project.answer(USER_PATH, ENDED)
    with pytest.raises(UnauthenticatedError):
        await sessions.require_session(Caller(USER, SecretStr("canary-other-token"), CALLER.expires_at))


async def test_simultaneous_calls_of_one_session_ask_once_and_those_of_two_ask_twice(
    sessions: AuthSessions, project: FakeProject
) -> None:
    other = Caller(USER, SecretStr("canary-other-token"), CALLER.expires_at)
    await asyncio.gather(*[sessions.require_session(caller) for caller in [CALLER, other] * 25])
    assert sorted(request.headers["authorization"] for request in project.requests) == [
        "Bearer canary-other-token",
        "Bearer canary-token",
    ]


async def test_an_error_shows_nothing_of_the_token(sessions: AuthSessions, project: FakeProject) -> None:
    project.answer(USER_PATH, reply(500, {"msg": "canary-token was refused", "error_code": "unexpected_failure"}))
    with pytest.raises(AuthUnavailableError) as error:
        await sessions.require_session(CALLER)
    assert "canary" not in str(error.value)
    assert error.value.__suppress_context__
