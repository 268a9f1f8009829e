"""Grants at the demo service, as connecting an account brings them, and whether they still live."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from supabase_integrations.core.secret import SecretStr
from tests.consent import pass_consent, query_of

SCOPE = "openid offline_access contacts:read"
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A registration at a running demo service."""

    url: str
    client_id: str
    client_secret: SecretStr
    redirect_uri: str

    @property
    def token_endpoint(self) -> str:
        """Where tokens are renewed."""
        return f"{self.url}/token"

    async def grants(self, accounts: Sequence[str]) -> list[SecretStr]:
        """Connect accounts, through the pages that a person sees; the refresh token of each."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(account: str) -> SecretStr:
            async with limit:
                return await self._grant(account)

        return list(await asyncio.gather(*map(one, accounts)))

    async def is_active(self, token: SecretStr) -> bool:
        """Whether the service would accept an access token or a refresh token (RFC 7662)."""
        reply = await self._post("/token/introspection", {"token": token.get_secret_value()})
        return bool(reply["active"])

    async def _grant(self, account: str) -> SecretStr:
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": self.client_id,
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        code = query_of(await pass_consent(f"{self.url}/auth?{urlencode(query)}", account))["code"]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        return SecretStr(str((await self._post("/token", form))["refresh_token"]))

    async def _post(self, path: str, form: dict[str, str]) -> dict[str, object]:
        auth = (self.client_id, self.client_secret.get_secret_value())
        # Without TLS: reading the list of authorities would take longer than the request.
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=False) as http:  # noqa: S501
            reply = await http.post(self.url + path, data=form, auth=auth)
        answer: dict[str, object] = reply.raise_for_status().json()
        return answer
