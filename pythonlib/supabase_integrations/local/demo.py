"""The service `demo_crm`: a real OAuth server on this machine, so that everything works with no account anywhere."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.resources import clone_root

from .node import find_node, find_tool
from .ports import HOST
from .process import Child
from .processes import Processes
from .readiness import wait_until_answering

CLIENT_NAME = "Your app"


@dataclass(frozen=True, slots=True)
class DemoService:
    """How to start the service. Creating this object does nothing yet."""

    port: int
    client_id: SecretStr
    client_secret: SecretStr
    redirect_uri: str
    store: Path
    """Where it remembers accounts, grants and tokens between runs."""
    more_clients: Sequence[object] = ()
    """Further client registrations, with the standard names and `access_token_seconds`."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self, processes: Processes, http: httpx.AsyncClient) -> Child:
        """Start it and wait until it answers."""
        node = await asyncio.to_thread(find_node)
        find_tool("oidc-provider", "package.json")
        child = await processes.spawn(
            "demo_crm",
            [node, Path(__file__).with_name("demo_crm") / "server.mjs"],
            env=self._environment(),
            cwd=clone_root() or self.store.parent,
        )
        await wait_until_answering(http, child, f"{self.url}/.well-known/openid-configuration")
        return child

    def _environment(self) -> dict[str, str]:
        client = {
            "client_id": self.client_id.get_secret_value(),
            "client_secret": self.client_secret.get_secret_value(),
            "client_name": CLIENT_NAME,
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_basic",
        }
        return {
            "DEMO_PORT": str(self.port),
            "DEMO_ISSUER": self.url,
            "DEMO_STORE": str(self.store),
            "DEMO_CLIENTS": json.dumps([client, *self.more_clients]),
        }
