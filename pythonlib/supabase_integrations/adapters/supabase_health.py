"""Asks a Supabase project whether it can be worked with, as a stranger: no user's token is needed for that."""

import asyncio
from datetime import timedelta
from typing import Final

import httpx
import orjson

from ..core.plurals import counted
from ..core.readiness import CheckResult
from ..single_flight import SingleFlight
from .clock import SystemClock

REMEMBERED_FOR: Final = timedelta(seconds=2)
PATIENCE: Final = timedelta(seconds=5)
"""For both questions together: whoever asks is a load balancer, or a person who runs the doctor."""
_MIGRATE: Final = "Run `integrations migrate --database-url …` or `supabase db push`."
_MISSING: Final = frozenset({"PGRST205", "PGRST204", "PGRST106", "42P01"})


class SupabaseHealth:
    """Two questions to one project."""

    def __init__(
        self, http: httpx.AsyncClient, supabase_url: str, publishable_key: str, *, shares_jwt_secret: bool = False
    ) -> None:
        self._http = http
        self._url = supabase_url
        self._headers = {"apikey": publishable_key}
        self._clock = SystemClock()
        self._flight: SingleFlight[str, tuple[CheckResult, ...]] = SingleFlight()
        self._found: tuple[CheckResult, ...] | None = None
        self._found_at = self._clock.now()
        self._hs256 = "verified here, under SUPABASE_JWT_SECRET" if shares_jwt_secret else "verified by Supabase Auth"

    async def check(self) -> tuple[CheckResult, ...]:
        """Whether the tables are there and closed to strangers, and whether Supabase Auth publishes its keys.

        Found out once every two seconds, however many ask: anybody may.
        """
        now = self._clock.now()
        if self._found is None or now - self._found_at > REMEMBERED_FOR:
            self._found = await self._flight.run("", self._ask)
            self._found_at = now
        return self._found

    async def _ask(self) -> tuple[CheckResult, ...]:
        return tuple(await asyncio.gather(self._tables(), self._auth()))

    async def _tables(self) -> CheckResult:
        reply = await self._get("/rest/v1/integrations?select=id&limit=1")
        if reply is None:
            return CheckResult("database", False, "The Data API cannot be reached. Check SUPABASE_URL.")
        code = _code(reply)
        if code == "42501":
            return CheckResult("database", True, "The tables are there, and strangers are refused.")
        if code in _MISSING:
            return CheckResult("database", False, f"The table public.integrations is missing. {_MIGRATE}")
        if reply.status_code == 200:
            return CheckResult("database", False, "Strangers may read public.integrations! Run `integrations audit`.")
        if reply.status_code in (401, 403):
            return CheckResult("database", False, "The publishable key is refused. Check SUPABASE_PUBLISHABLE_KEY.")
        return CheckResult("database", False, f"The Data API answered {reply.status_code}. See the project's status.")

    async def _auth(self) -> CheckResult:
        reply = await self._get("/auth/v1/.well-known/jwks.json")
        if reply is None:
            return CheckResult("auth", False, "Supabase Auth cannot be reached. Check SUPABASE_URL.")
        try:
            keys = orjson.loads(reply.content)["keys"] if reply.status_code == 200 else None
        except (orjson.JSONDecodeError, KeyError, TypeError):
            keys = None
        if not isinstance(keys, list):
            return CheckResult("auth", False, "Supabase Auth does not publish its keys. Check SUPABASE_URL.")
        if not keys:
            return CheckResult("auth", True, f"No public keys: HS256 tokens are {self._hs256}.")
        return CheckResult("auth", True, f"{counted(len(keys), 'public key')}: tokens are verified here.")

    async def _get(self, target: str) -> httpx.Response | None:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                return await self._http.get(self._url + target, headers=self._headers)
        except (httpx.TransportError, TimeoutError):
            return None


def _code(reply: httpx.Response) -> str | None:
    try:
        body = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        return None
    return body.get("code") if isinstance(body, dict) else None
