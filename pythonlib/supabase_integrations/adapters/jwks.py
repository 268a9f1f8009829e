"""The keys a Supabase project publishes, fetched rarely: many requests share one fetch, and an outage is sat out.

Anyone may send a token with an invented key id, so what such a token can cause is bounded: one fetch in 30 seconds,
which no request with a known key waits for.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import httpx

from ..core.errors import AuthUnavailableError
from ..core.token_refusal import TokenRefusal
from ..port import Clock
from ..single_flight import SingleFlight
from .json_web_tokens import VerificationKey, read_key_set

FRESH_FOR: Final = timedelta(minutes=10)
"""How long keys are used without asking again: also how long a revoked one may still be accepted."""
UNKNOWN_KEY_PAUSE: Final = timedelta(seconds=30)
"""At least this long between two fetches that tokens with unknown key ids cause."""
FAILURE_PAUSE: Final = timedelta(seconds=5)
"""At least this long between a fetch that failed and the next, so that an outage does not delay every request."""
_PATIENCE: Final = 5.0
"""Seconds; less than the pool allows, because everyone waits for this one."""
_MAX_BYTES: Final = 64 * 1024


class PublishedKeys:
    """The project's current verification keys, by key id. While Auth does not answer, those of its last answer."""

    def __init__(self, http: httpx.AsyncClient, supabase_url: str, publishable_key: str, clock: Clock) -> None:
        """Nothing is fetched yet."""
        self._http = http
        self._url = f"{supabase_url}/auth/v1/.well-known/jwks.json"
        self._headers = {"apikey": publishable_key}
        self._clock = clock
        self._keys: Mapping[str, VerificationKey] | None = None
        self._fetched_at: datetime | None = None
        self._failed_at: datetime | None = None
        self._asked_for_unknown_at: datetime | None = None
        self._fetches = 0
        self._flight: SingleFlight[str, None] = SingleFlight()

    async def key(self, key_id: str) -> VerificationKey:
        """The published key of that id.

        Raises:
            UnauthenticatedError: no such key is published (`token_key_unknown`).
            AuthUnavailableError: it is not known whether there is such a key, because Auth does not answer.
        """
        asked_at, fetches_before = self._clock.now(), self._fetches
        await self._refresh(asked_at)
        found = self._find(key_id)
        if found is None and self._fetches == fetches_before and self._may_look_again(asked_at):
            await self._flight.run(self._url, self._fetch)
            found = self._find(key_id)
        if found is not None:
            return found
        if self._failed_at is not None:
            raise AuthUnavailableError("Supabase Auth does not tell its keys, so the access token cannot be checked.")
        raise TokenRefusal.KEY_UNKNOWN.error()

    async def _refresh(self, asked_at: datetime) -> None:
        """See to it that the keys are no older than they may be."""
        is_stale = _is_over(FRESH_FOR, self._fetched_at, asked_at)
        if not is_stale or not _is_over(FAILURE_PAUSE, self._failed_at, asked_at):
            return
        fetch = self._flight.begin(self._url, self._fetch)
        # Once Auth is known to be away, nobody waits for its answer who can be served without.
        if self._keys is None or self._failed_at is None:
            await asyncio.shield(fetch)

    def _find(self, key_id: str) -> VerificationKey | None:
        return self._keys.get(key_id) if self._keys is not None else None

    def _may_look_again(self, asked_at: datetime) -> bool:
        """Whether to await a fetch for a key id that is not among the keys: it may have been published just now."""
        if self._flight.is_running(self._url):
            return True
        if not _is_over(FAILURE_PAUSE, self._failed_at, asked_at):
            return False
        if not _is_over(UNKNOWN_KEY_PAUSE, self._asked_for_unknown_at, asked_at):
            return False
        self._asked_for_unknown_at = asked_at
        return True

    async def _fetch(self) -> None:
        """Replace the keys, or remember that it did not work."""
        self._fetches += 1
        try:
            keys = _read(await self._http.get(self._url, headers=self._headers, timeout=_PATIENCE))
        except (httpx.HTTPError, ValueError):
            self._failed_at = self._clock.now()
        else:
            self._keys, self._fetched_at, self._failed_at = keys, self._clock.now(), None


def _read(reply: httpx.Response) -> Mapping[str, VerificationKey]:
    if reply.status_code != 200 or len(reply.content) > _MAX_BYTES:
        raise ValueError("Not a JWK set.")
    return read_key_set(reply.content)


def _is_over(pause: timedelta, since: datetime | None, now: datetime) -> bool:
    return since is None or now - since >= pause
