"""Identity against the real Auth and Data API of the local system: tokens, sessions, and the tables under them."""

from datetime import timedelta
from uuid import UUID

import httpx
import jwt
import pytest

from supabase_integrations.adapters.auth_sessions import AuthSessions
from supabase_integrations.adapters.token_verifier import SupabaseTokenVerifier
from supabase_integrations.adapters.user_store import PostgrestUserStore
from supabase_integrations.core.errors import (
    AuthUnavailableError,
    UnauthenticatedError,
)
from supabase_integrations.core.models import (
    ListQuery,
)
from supabase_integrations.core.secret import SecretStr
from tests.local_system import LocalSystem
from tests.people import Person, caller


async def sign_out(http: httpx.AsyncClient, person: Person) -> None:
    system = person.system
    headers = {"apikey": system.publishable_key, "authorization": f"Bearer {person.access_token}"}
    assert (await http.post(f"{system.supabase_url}/auth/v1/logout", headers=headers)).status_code == 204


class TestTokens:
    """Supabase Lite signs with HS256, publishes no keys and names no issuer, as no hosted project does."""

    @pytest.fixture
    def asking(self, http: httpx.AsyncClient, local_system: LocalSystem) -> SupabaseTokenVerifier:
        return SupabaseTokenVerifier(
            http, local_system.supabase_url, local_system.publishable_key, hs256_needs_issuer=False
        )

    @pytest.fixture
    def with_secret(self, http: httpx.AsyncClient, local_system: LocalSystem) -> SupabaseTokenVerifier:
        return SupabaseTokenVerifier(
            http,
            local_system.supabase_url,
            local_system.publishable_key,
            development_secret=SecretStr(local_system.jwt_secret),
            hs256_needs_issuer=False,
        )

    async def test_both_ways_name_the_same_user(
        self, asking: SupabaseTokenVerifier, with_secret: SupabaseTokenVerifier, ada: Person
    ) -> None:
        assert await asking.verify(ada.access_token) == await with_secret.verify(ada.access_token)
        assert (await asking.verify(ada.access_token)).user_id == UUID(ada.user_id)

    async def test_a_forged_signature_is_refused_both_ways(
        self, asking: SupabaseTokenVerifier, with_secret: SupabaseTokenVerifier, ada: Person
    ) -> None:
        claims = jwt.decode(ada.access_token, options={"verify_signature": False})
        forged = jwt.encode(claims, "canary-secret-of-an-attacker-0123456789", "HS256")
        for verifier in (asking, with_secret):
            with pytest.raises(UnauthenticatedError) as refusal:
                await verifier.verify(forged)
            assert refusal.value.code == "token_signature_invalid"

    async def test_outside_development_its_tokens_lack_an_issuer(
        self, http: httpx.AsyncClient, local_system: LocalSystem, ada: Person
    ) -> None:
        strict = SupabaseTokenVerifier(http, local_system.supabase_url, local_system.publishable_key)
        with pytest.raises(UnauthenticatedError) as refusal:
            await strict.verify(ada.access_token)
        assert refusal.value.code == "token_issuer_invalid"

    async def test_a_signed_out_users_token_is_refused_by_asking(
        self, asking: SupabaseTokenVerifier, http: httpx.AsyncClient, ada: Person
    ) -> None:
        await sign_out(http, ada)
        with pytest.raises(UnauthenticatedError) as refusal:
            await asking.verify(ada.access_token)
        assert refusal.value.code == "session_ended"


class TestSessions:
    """A token outlives the sign-out; the session does not."""

    @pytest.fixture
    def sessions(self, http: httpx.AsyncClient, local_system: LocalSystem) -> AuthSessions:
        return AuthSessions(http, local_system.supabase_url, local_system.publishable_key, confirmed_for=timedelta(0))

    async def test_a_session_ends_with_the_sign_out_though_the_data_api_still_takes_the_token(
        self, sessions: AuthSessions, adas: PostgrestUserStore, http: httpx.AsyncClient, ada: Person
    ) -> None:
        await sessions.require_session(caller(ada))
        await sign_out(http, ada)
        with pytest.raises(UnauthenticatedError) as refusal:
            await sessions.require_session(caller(ada))
        assert refusal.value.code == "session_ended"
        assert (await adas.list_integrations(ListQuery())).integrations == ()

    async def test_one_users_sign_out_is_not_anothers(
        self, sessions: AuthSessions, http: httpx.AsyncClient, ada: Person, mallory: Person
    ) -> None:
        await sign_out(http, mallory)
        await sessions.require_session(caller(ada))

    async def test_a_refused_publishable_key_is_not_taken_for_an_ended_session(
        self, http: httpx.AsyncClient, local_system: LocalSystem, ada: Person
    ) -> None:
        sessions = AuthSessions(http, local_system.supabase_url, "sb_publishable_wrong")
        with pytest.raises(AuthUnavailableError, match="SUPABASE_PUBLISHABLE_KEY"):
            await sessions.require_session(caller(ada))
