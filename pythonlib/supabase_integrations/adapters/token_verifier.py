"""Establishes who is calling from a Supabase access token, without the power to make one.

Tokens under a published key are verified here. For HS256 only Supabase Auth itself is asked, because whoever holds that
secret can mint any role; a development system may give the secret instead, as its tokens protect nothing.
"""

from datetime import datetime, timedelta
from typing import Final

import httpx

from ..core.access_token import AccessTokenPolicy, TokenOwner, check_claims
from ..core.models import Caller
from ..core.secret import SecretStr
from ..core.token_refusal import TokenRefusal
from ..port import Clock
from .auth_sessions import AuthUsers
from .clock import SystemClock
from .json_web_tokens import TokenHeader, read_claims, read_header, shared_secret_key, unverified_payload
from .jwks import PublishedKeys
from .success_cache import SuccessCache, token_digest

MAX_TOKEN_LENGTH: Final = 8192
"""Characters; what proxies commonly accept as one header line."""
REMEMBERED_FOR: Final = timedelta(seconds=60)
"""How long a verified token is not verified again; never beyond its own end."""

_PUBLISHED_ALGORITHMS: Final = frozenset({"ES256", "RS256", "EdDSA"})


class SupabaseTokenVerifier:
    """Verifies the access tokens of one Supabase project, and remembers for a minute which ones were good.

    Implements `port.TokenVerifier`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        supabase_url: str,
        publishable_key: str,
        *,
        allow_anonymous_users: bool = False,
        allowed_oauth_clients: frozenset[str] = frozenset(),
        development_secret: SecretStr | None = None,
        hs256_needs_issuer: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            http: the shared pool.
            supabase_url: the project's address; its tokens name `{supabase_url}/auth/v1` as their issuer.
            publishable_key: the project's publishable key.
            allow_anonymous_users: accept users who signed in anonymously.
            allowed_oauth_clients: accept tokens that Supabase's OAuth server issued to these apps.
            development_secret: verify HS256 tokens here instead of asking Auth. For development only.
            hs256_needs_issuer: False accepts HS256 tokens without issuer, as Supabase Lite's are. For development only.
            clock: the time; by default the machine's.

        Raises:
            ConfigurationError: the development secret is too short to be one.
        """
        self._clock = clock or SystemClock()
        self._keys = PublishedKeys(http, supabase_url, publishable_key, self._clock)
        self._users = AuthUsers(http, supabase_url, publishable_key)
        self._policy = AccessTokenPolicy(f"{supabase_url}/auth/v1", allow_anonymous_users, allowed_oauth_clients)
        self._secret = shared_secret_key(development_secret) if development_secret else None
        self._hs256_needs_issuer = hs256_needs_issuer
        self._verified: SuccessCache[TokenOwner] = SuccessCache()

    async def verify(self, access_token: str) -> Caller:
        """The user a token was issued to.

        Raises:
            UnauthenticatedError, ForbiddenError: with the code of the check that failed (see `TokenRefusal`).
            AuthUnavailableError: it takes Supabase Auth to tell, and it does not answer.
        """
        if len(access_token) > MAX_TOKEN_LENGTH:
            raise TokenRefusal.TOO_LONG.error()
        now = self._clock.now()
        digest = token_digest(access_token)
        owner = self._verified.get(digest, now=now)
        if owner is None:
            owner = await self._owner(access_token, now)
            self._verified.put(digest, owner, until=min(owner.expires_at, now + REMEMBERED_FOR))
        return Caller(owner.user_id, SecretStr(access_token), owner.expires_at, owner.session_id)

    async def _owner(self, token: str, now: datetime) -> TokenOwner:
        header = read_header(token)
        if header.algorithm in _PUBLISHED_ALGORITHMS:
            return await self._owner_by_published_key(token, header, now)
        if header.algorithm != "HS256":
            raise TokenRefusal.ALGORITHM_NOT_ALLOWED.error()
        if self._secret is not None:
            payload = self._secret.verified_payload(token)
            return self._checked(payload, now, issuer_required=self._hs256_needs_issuer)
        return await self._owner_by_asking(token, now)

    async def _owner_by_published_key(self, token: str, header: TokenHeader, now: datetime) -> TokenOwner:
        if header.key_id is None:
            raise TokenRefusal.KEY_UNKNOWN.error()
        key = await self._keys.key(header.key_id)
        return self._checked(key.verified_payload(token), now)

    async def _owner_by_asking(self, token: str, now: datetime) -> TokenOwner:
        # The claims first: a token that would be refused anyway is not worth a question.
        owner = self._checked(unverified_payload(token), now, issuer_required=self._hs256_needs_issuer)
        if await self._users.owner_of(token) != owner.user_id:
            raise TokenRefusal.SUBJECT_INVALID.error()
        return owner

    def _checked(self, payload: bytes, now: datetime, *, issuer_required: bool = True) -> TokenOwner:
        return check_claims(read_claims(payload), self._policy, now=now, issuer_required=issuer_required)
