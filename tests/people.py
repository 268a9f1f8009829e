"""Signed-in users with an HTTP client of their own, as a frontend or an attacker with an account would have."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from supabase_integrations.core.models import Caller
from supabase_integrations.core.secret import SecretStr
from tests.local_system import LocalSystem


@dataclass(frozen=True, slots=True)
class Person:
    """One user of the local system. `http` sends their access token to the API."""

    system: LocalSystem
    access_token: str
    user_id: str
    http: httpx.AsyncClient

    @classmethod
    async def sign_up(cls, system: LocalSystem) -> "Person":
        """A new user, signed in."""
        credentials = {"email": f"{uuid4().hex}@example.com", "password": "canary-password-4e6d"}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            reply = await http.post(
                f"{system.supabase_url}/auth/v1/signup", headers={"apikey": system.publishable_key}, json=credentials
            )
        reply.raise_for_status()
        session = reply.json()
        token = session["access_token"]
        client = httpx.AsyncClient(
            base_url=system.api_url, headers={"authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )
        return cls(system, token, session["user"]["id"], client)

    async def initiate(self, service_name: str, **body: Any) -> httpx.Response:
        """Start an authorization."""
        return await self.http.post("/api/integrations/oauth/initiate", json={"service_name": service_name} | body)

    async def finish(self, **body: Any) -> httpx.Response:
        """Finish an authorization from the app, with `handle` or `params`."""
        return await self.http.post("/api/integrations/oauth/callback", json=body)

    async def connect_with_key(self) -> dict[str, Any]:
        """A connection that needs no authorization."""
        body = {"service_name": "keyed", "credentials": {"api_key": "canary-api-key-93b2"}}
        reply = await self.http.post("/api/integrations", json=body)
        assert reply.status_code == 201, reply.text
        created: dict[str, Any] = reply.json()
        return created

    def data_api(self) -> httpx.AsyncClient:
        """The Data API under this user's token: what curl would reach."""
        headers = {"apikey": self.system.publishable_key, "authorization": f"Bearer {self.access_token}"}
        return httpx.AsyncClient(
            base_url=f"{self.system.supabase_url}/rest/v1", headers=headers, trust_env=False, timeout=60
        )


def caller(person: Person) -> Caller:
    """A signed-in person as the stores are told of them."""
    return Caller(UUID(person.user_id), SecretStr(person.access_token), datetime.now(UTC) + timedelta(hours=1))
