"""A signed-in supabase-py client stands for its user; anything else is refused with what to use instead."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import supabase
from supabase import AsyncClientOptions
from supabase_auth.errors import AuthApiError, AuthRetryableError, AuthSessionMissingError

from supabase_integrations.adapters.supabase_client import access_token_of
from supabase_integrations.core.errors import AuthUnavailableError, ConfigurationError, UnauthenticatedError
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, USER, claims, signing_key
from tests.unit.adapters.conftest import FakeProject, reply

USER_RECORD = {
    "id": str(USER),
    "aud": "authenticated",
    "app_metadata": {},
    "user_metadata": {},
    "created_at": "2026-01-02T03:04:05Z",
}


@pytest.fixture
async def client(http: httpx.AsyncClient) -> supabase.AsyncClient:
    """A real supabase-py client of the fake project, over the pool."""
    options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False)
    return await supabase.acreate_client(PROJECT, PUBLISHABLE_KEY, options)


async def test_a_signed_in_clients_user_is_known_by_their_token(
    client: supabase.AsyncClient, project: FakeProject
) -> None:
    token = signing_key().sign(claims())
    session = {"access_token": token, "refresh_token": "canary-r", "token_type": "bearer", "expires_in": 3600}
    project.answer("/auth/v1/token", reply(200, session | {"user": USER_RECORD}))
    await client.auth.sign_in_with_password({"email": "user@example.com", "password": "canary-password"})

    assert await access_token_of(client) == token


async def test_a_client_nobody_is_signed_in_to_is_refused(client: supabase.AsyncClient) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await access_token_of(client)
    assert refusal.value.code == "session_ended"


async def test_a_synchronous_client_is_refused_before_it_can_block() -> None:
    client: Any = supabase.create_client(PROJECT, PUBLISHABLE_KEY)
    with pytest.raises(TypeError, match="acreate_client"):
        await access_token_of(client)


@pytest.mark.parametrize("thing", [None, "token", SimpleNamespace(auth=None), SimpleNamespace(auth=SimpleNamespace())])
async def test_what_is_no_client_is_refused_by_name(thing: Any) -> None:
    with pytest.raises(TypeError, match=type(thing).__name__):
        await access_token_of(thing)


def client_whose_session(outcome: object) -> Any:
    async def get_session() -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return SimpleNamespace(auth=SimpleNamespace(get_session=get_session))


@pytest.mark.parametrize(
    "failure",
    [
        AuthSessionMissingError(),
        AuthApiError("gone", 400, "refresh_token_not_found"),  # type: ignore[arg-type]
        AuthApiError("gone", 403, "session_not_found"),
    ],
)
async def test_a_session_that_cannot_be_refreshed_has_ended(failure: Exception) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await access_token_of(client_whose_session(failure))
    assert refusal.value.code == "session_ended"


async def test_a_refresh_without_an_answer_is_an_outage() -> None:
    with pytest.raises(AuthUnavailableError):
        await access_token_of(client_whose_session(AuthRetryableError("canary", 503)))


@pytest.mark.parametrize("token", ["", None, 7])
async def test_a_session_without_a_token_is_a_configuration_error(token: object) -> None:
    with pytest.raises(ConfigurationError):
        await access_token_of(client_whose_session(SimpleNamespace(access_token=token)))
