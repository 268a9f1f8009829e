"""Who is calling: by published key, by asking Auth, or by a development secret, and remembered for a minute."""

from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest

from supabase_integrations.adapters.token_verifier import SupabaseTokenVerifier
from supabase_integrations.core.errors import IntegrationError
from supabase_integrations.core.models import Caller
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import (
    PROJECT,
    PUBLISHABLE_KEY,
    SESSION,
    SHARED_SECRET,
    USER,
    claims,
    hs256,
    key_set,
    signing_key,
)
from tests.unit.adapters.conftest import FakeProject, reply
from tests.unit.fakes import START, FakeClock

USER_PATH = "/auth/v1/user"
GOOD = signing_key().sign(claims(START))


async def refusal(verifier: SupabaseTokenVerifier, token: str) -> str:
    with pytest.raises(IntegrationError) as error:
        await verifier.verify(token)
    return error.value.code


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_a_token_under_a_published_key_names_its_user(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock, algorithm: str
) -> None:
    key = signing_key(algorithm)
    project.publish(key_set(key))
    token = key.sign(claims(clock.now()))

    caller = await verifier.verify(token)

    assert caller == Caller(USER, SecretStr(token), clock.now() + timedelta(hours=1), SESSION)
    assert project.asked(USER_PATH) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": 1}, "token_expired"),
        ({"nbf": 9_999_999_999}, "token_not_yet_valid"),
        ({"iss": "https://other.supabase.test/auth/v1"}, "token_issuer_invalid"),
        ({"iss": None}, "token_issuer_invalid"),
        ({"aud": "anon"}, "token_audience_invalid"),
        ({"sub": "nobody"}, "token_subject_invalid"),
        ({"role": "service_role"}, "token_role_invalid"),
        ({"is_anonymous": True}, "anonymous_not_allowed"),
        ({"client_id": "app-1"}, "oauth_client_not_allowed"),
    ],
)
async def test_a_signed_token_with_a_wrong_claim_is_refused_with_its_code(
    verifier: SupabaseTokenVerifier, clock: FakeClock, changes: dict[str, Any], code: str
) -> None:
    assert await refusal(verifier, signing_key().sign(with_claims(claims(clock.now()), changes))) == code


async def test_settings_admit_anonymous_users_and_listed_apps(http: httpx.AsyncClient, clock: FakeClock) -> None:
    verifier = SupabaseTokenVerifier(
        http,
        PROJECT,
        PUBLISHABLE_KEY,
        allow_anonymous_users=True,
        allowed_oauth_clients=frozenset({"app-1"}),
        clock=clock,
    )
    token = signing_key().sign(claims(clock.now(), is_anonymous=True, client_id="app-1"))
    assert (await verifier.verify(token)).user_id == USER


async def test_the_signature_is_checked_before_the_claims_tell_anything(
    verifier: SupabaseTokenVerifier, clock: FakeClock
) -> None:
    forged = signing_key("ES256", "theirs").sign(claims(clock.now(), exp=1, role="anon"), kid="current")
    assert await refusal(verifier, forged) == "token_signature_invalid"


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (GOOD + "x" * 8192, "token_too_long"),
        (GOOD.replace(".", "", 1), "token_malformed"),
        ("", "token_malformed"),
        (GOOD + "\r\nx-injected: 1", "token_malformed"),
        (signing_key("ES256", "unpublished").sign(claims(START)), "token_key_unknown"),
        (signing_key().sign(claims(START), kid="../user"), "token_key_unknown"),
        (jwt.encode(claims(START), signing_key().private, "ES256"), "token_key_unknown"),
        (jwt.encode(claims(START), "", "none", {"kid": "current"}), "token_algorithm_not_allowed"),
        (jwt.encode(claims(START), SHARED_SECRET * 2, "HS512", {"kid": "current"}), "token_algorithm_not_allowed"),
        (signing_key("RS256").sign(claims(START), kid="current"), "token_algorithm_not_allowed"),
    ],
    ids=["long", "dots", "empty", "newline", "unpublished", "odd kid", "no kid", "none", "HS512", "other algorithm"],
)
async def test_a_token_that_is_not_one_of_the_projects_is_refused_with_a_code(
    verifier: SupabaseTokenVerifier, token: str, code: str
) -> None:
    assert await refusal(verifier, token) == code


async def test_without_an_answer_from_auth_a_token_is_neither_accepted_nor_called_wrong(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
) -> None:
    project.answer("/auth/v1/.well-known/jwks.json", httpx.ConnectError("refused"))
    assert await refusal(verifier, signing_key().sign(claims(clock.now()))) == "auth_unavailable"


async def test_a_verified_token_is_remembered_for_a_minute(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
) -> None:
    project.answer(USER_PATH, reply(200, {"id": str(USER)}))
    token = hs256(claims(clock.now()))
    first = await verifier.verify(token)
    clock.moment += timedelta(seconds=59)
    assert await verifier.verify(token) == first
    assert project.asked(USER_PATH) == 1
    clock.moment += timedelta(seconds=1)
    await verifier.verify(token)
    assert project.asked(USER_PATH) == 2


async def test_a_remembered_token_still_ends_when_it_ends(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
) -> None:
    token = signing_key().sign(claims(clock.now(), exp=int(clock.now().timestamp()) + 20))
    await verifier.verify(token)
    clock.moment += timedelta(seconds=31)
    assert await refusal(verifier, token) == "token_expired"


async def test_a_refusal_is_not_remembered(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
) -> None:
    token = hs256(claims(clock.now()))
    project.answer(USER_PATH, reply(503))
    assert await refusal(verifier, token) == "auth_unavailable"
    project.answer(USER_PATH, reply(200, {"id": str(USER)}))
    assert (await verifier.verify(token)).user_id == USER


def with_claims(payload: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """None takes a claim away."""
    return {name: value for name, value in (payload | changes).items() if value is not None}
