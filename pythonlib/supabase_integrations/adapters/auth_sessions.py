"""Supabase Auth's word on an access token, through supabase-auth, which only this module knows.

`GET /auth/v1/user` verifies the signature and looks the session up, so its answer settles two questions: whether a
token is genuine (projects that sign with HS256, whose secret we do not want) and whether its session still exists.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

import httpx
import orjson
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthError, AuthSessionMissingError

from ..core.errors import AuthUnavailableError, IntegrationError
from ..core.models import Caller
from ..core.token_refusal import TokenRefusal
from ..port import Clock
from ..single_flight import SingleFlight
from .clock import SystemClock
from .success_cache import SuccessCache, token_digest

CONFIRMED_FOR: Final = timedelta(seconds=5)
"""How long a session that was there is taken to be there."""

MAX_QUESTIONS: Final = 20
"""Put to Auth at once. Anybody can make up tokens that have to be asked about, and the pool is everybody's."""
MAX_WAITING: Final = 200

_SESSION_ENDED: Final = frozenset(
    {
        "session_not_found",
        "session_expired",
        "user_not_found",
        "user_banned",
        "refresh_token_not_found",
        "refresh_token_already_used",
    }
)
_TOKEN_REFUSED: Final = frozenset({"bad_jwt", "no_authorization"})


class AuthUsers:
    """Asks Supabase Auth whose access token one is. One object serves all callers: it holds the identity of none."""

    def __init__(self, http: httpx.AsyncClient, supabase_url: str, publishable_key: str) -> None:
        self._client = _Client(
            url=f"{supabase_url}/auth/v1",
            headers={"apikey": publishable_key},
            http_client=http,
            auto_refresh_token=False,
            persist_session=False,
        )
        self._flight: SingleFlight[bytes, UUID] = SingleFlight()
        self._places = asyncio.Semaphore(MAX_QUESTIONS)
        self._waiting = 0

    async def owner_of(self, access_token: str) -> UUID:
        """The user whose live session the token belongs to. Simultaneous questions about one token are asked once.

        Raises:
            UnauthenticatedError: Auth says no (`token_signature_invalid`, `session_ended`).
            AuthUnavailableError: Auth says neither yes nor no.
        """
        return await self._flight.run(token_digest(access_token), lambda: self._ask(access_token))

    async def _ask(self, access_token: str) -> UUID:
        if self._places.locked() and self._waiting >= MAX_WAITING:
            raise AuthUnavailableError("Too many tokens wait to be verified by Supabase Auth. Try again.")
        self._waiting += 1
        try:
            async with self._places:
                with translating_auth_errors():
                    return await self._client.user_id(access_token)
        finally:
            self._waiting -= 1


class AuthSessions:
    """Whether callers' sessions still exist, remembering each yes for a few seconds.

    Implements `port.SessionChecker`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        supabase_url: str,
        publishable_key: str,
        *,
        confirmed_for: timedelta = CONFIRMED_FOR,
        clock: Clock | None = None,
    ) -> None:
        self._users = AuthUsers(http, supabase_url, publishable_key)
        self._clock = clock or SystemClock()
        self._confirmed_for = confirmed_for
        self._confirmed: SuccessCache[UUID] = SuccessCache()

    async def require_session(self, caller: Caller) -> None:
        """Return if the session lives. Raises UnauthenticatedError (`session_ended`) or AuthUnavailableError."""
        token = caller.access_token.get_secret_value()
        digest = token_digest(token)
        asked_at = self._clock.now()
        owner = self._confirmed.get(digest, now=asked_at)
        if owner is None:
            owner = await self._users.owner_of(token)
            self._confirmed.put(digest, owner, until=asked_at + self._confirmed_for)
        if owner != caller.user_id:
            raise TokenRefusal.SUBJECT_INVALID.error()


class _Client(AsyncGoTrueClient):
    """supabase-auth's client, reading of a user nothing but the id.

    Its own `get_user` parses the whole record and refuses timestamps written with a space, as Supabase Lite's are.
    """

    async def user_id(self, access_token: str) -> UUID:
        """Ask with this token; nothing of it stays on the client. Raises AuthError or AuthUnavailableError."""
        reply = await self._request("GET", "user", jwt=access_token)
        try:
            return UUID(orjson.loads(reply.content)["id"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise AuthUnavailableError("Supabase Auth's answer is not a user: check SUPABASE_URL.") from None


@contextmanager
def translating_auth_errors() -> Iterator[None]:
    """Raise our errors for supabase-auth's: a refusal only where Auth itself clearly says no."""
    try:
        yield
    except AuthSessionMissingError:
        raise TokenRefusal.SESSION_ENDED.error() from None
    except AuthApiError as error:
        raise _meaning(error) from None
    except AuthError:
        raise AuthUnavailableError from None


def _meaning(error: AuthApiError) -> IntegrationError:
    if error.code in _SESSION_ENDED:
        return TokenRefusal.SESSION_ENDED.error()
    if error.code in _TOKEN_REFUSED:
        return TokenRefusal.SIGNATURE_INVALID.error()
    if error.status in (401, 403, 404):
        # A gateway's refusal, such as of the publishable key, says nothing about the session.
        return AuthUnavailableError(
            f"Supabase Auth refused the request itself (HTTP {error.status}):"
            " check SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY."
        )
    return AuthUnavailableError()
