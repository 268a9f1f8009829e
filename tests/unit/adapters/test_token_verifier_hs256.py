"""HS256 tokens: whoever holds the secret can mint any role, so Auth is asked; only development gives the secret."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from supabase_integrations.adapters.token_verifier import SupabaseTokenVerifier
from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, SHARED_SECRET, USER, claims, hs256, signing_key
from tests.unit.adapters.conftest import FakeProject, reply
from tests.unit.adapters.test_token_verifier import USER_PATH, refusal, with_claims
from tests.unit.fakes import FakeClock


async def test_an_hs256_token_is_verified_by_asking_auth_with_that_token(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
) -> None:
    project.answer(USER_PATH, reply(200, {"id": str(USER), "created_at": "2026-11-23 07:49:23.206+00"}))
    token = hs256(claims(clock.now()))

    assert (await verifier.verify(token)).user_id == USER

    asked = project.requests[-1]
    assert asked.headers["authorization"] == f"Bearer {token}"
    assert asked.headers["apikey"] == PUBLISHABLE_KEY
    assert project.key_fetches == 0


async def test_simultaneous_requests_with_one_hs256_token_ask_auth_once(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
) -> None:
    project.answer(USER_PATH, reply(200, {"id": str(USER)}))
    token = hs256(claims(clock.now()))
    callers = await asyncio.gather(*[verifier.verify(token) for _ in range(50)])
    assert {caller.user_id for caller in callers} == {USER}
    assert project.asked(USER_PATH) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": 1}, "token_expired"),
        ({"iss": "https://other.supabase.test/auth/v1"}, "token_issuer_invalid"),
        ({"iss": None}, "token_issuer_invalid"),
        ({"role": "service_role"}, "token_role_invalid"),
        ({"client_id": "app-1"}, "oauth_client_not_allowed"),
    ],
)
async def test_an_hs256_token_with_a_wrong_claim_is_refused_without_asking(
    verifier: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock, changes: dict[str, Any], code: str
) -> None:
    project.answer(USER_PATH, reply(200, {"id": str(USER)}))
    assert await refusal(verifier, hs256(with_claims(claims(clock.now()), changes))) == code
    assert project.asked(USER_PATH) == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(200, {"id": str(UUID(int=1))}), "token_subject_invalid"),
        (reply(403, {"code": 403, "error_code": "bad_jwt", "msg": "signature is invalid"}), "token_signature_invalid"),
        (reply(403, {"code": 403, "error_code": "session_not_found", "msg": "…"}), "session_ended"),
        (reply(403, {"code": 403, "error_code": "user_not_found", "msg": "…"}), "session_ended"),
        (reply(401, {"message": "Invalid API key"}), "auth_unavailable"),
        (reply(403, b"<html>blocked by a firewall</html>"), "auth_unavailable"),
        (reply(429, {"code": 429, "error_code": "over_request_rate_limit", "msg": "…"}), "auth_unavailable"),
        (reply(500, {"code": 500, "error_code": "unexpected_failure", "msg": "…"}), "auth_unavailable"),
        (reply(503, b""), "auth_unavailable"),
        (reply(302, b"", location="https://elsewhere.test"), "auth_unavailable"),
        (reply(200, b"<html>"), "auth_unavailable"),
        (reply(200, {"id": None}), "auth_unavailable"),
        (reply(200, []), "auth_unavailable"),
        (httpx.ReadTimeout("slow"), "auth_unavailable"),
        (httpx.ConnectError("refused"), "auth_unavailable"),
    ],
)
async def test_only_a_clear_yes_from_auth_verifies_an_hs256_token(
    verifier: SupabaseTokenVerifier,
    project: FakeProject,
    clock: FakeClock,
    answer: httpx.Response | Exception,
    code: str,
) -> None:
    project.answer(USER_PATH, answer)
    assert await refusal(verifier, hs256(claims(clock.now()))) == code


class TestDevelopment:
    """A local system may give the secret, and its tokens may lack the issuer."""

    @pytest.fixture
    def local(self, http: httpx.AsyncClient, clock: FakeClock) -> SupabaseTokenVerifier:
        return SupabaseTokenVerifier(
            http,
            PROJECT,
            PUBLISHABLE_KEY,
            development_secret=SecretStr(SHARED_SECRET),
            hs256_needs_issuer=False,
            clock=clock,
        )

    async def test_hs256_tokens_without_issuer_are_verified_here(
        self, local: SupabaseTokenVerifier, project: FakeProject, clock: FakeClock
    ) -> None:
        assert (await local.verify(hs256(claims(clock.now(), without=["iss"])))).user_id == USER
        assert project.requests == []

    async def test_another_secrets_tokens_are_refused(self, local: SupabaseTokenVerifier, clock: FakeClock) -> None:
        token = hs256(claims(clock.now()), "canary-another-shared-secret-of-40-chars")
        assert await refusal(local, token) == "token_signature_invalid"

    async def test_a_wrong_issuer_is_refused_all_the_same(self, local: SupabaseTokenVerifier, clock: FakeClock) -> None:
        assert await refusal(local, hs256(claims(clock.now(), iss="https://other.test"))) == "token_issuer_invalid"

    async def test_published_keys_need_the_issuer_here_too(
        self, local: SupabaseTokenVerifier, clock: FakeClock
    ) -> None:
        token = signing_key().sign(claims(clock.now(), without=["iss"]))
        assert await refusal(local, token) == "token_issuer_invalid"

    async def test_a_short_secret_stops_the_service_at_start(self, http: httpx.AsyncClient) -> None:
        with pytest.raises(ConfigurationError):
            SupabaseTokenVerifier(http, PROJECT, PUBLISHABLE_KEY, development_secret=SecretStr("12345"))
