"""The API as a child process: the same `integrations serve` that runs in production, with local settings."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from supabase_integrations.core.secret import SecretStr

from .process import Child
from .processes import Processes
from .readiness import wait_until_answering
from .settings import LocalSettings

_FRONTEND_ORIGINS = ("http://localhost:3000", "http://127.0.0.1:3000")

_NOT_FOR_THE_API = frozenset(
    {
        # The API reaches rows with its callers' tokens only: it gets no door of its own to the database.
        "DATABASE_URL",
        "PGPASSWORD",
        "SUPABASE_DB_PASSWORD",
        "SUPABASE_SECRET_KEY",
        "SUPABASE_SERVICE_ROLE_KEY",
        "WORKER_DATABASE_URL",
        "WORKER_LISTEN_URL",
        "RESET",
    }
)


@dataclass(frozen=True, slots=True)
class Api:
    """How to start the API. Creating this object does nothing yet."""

    settings: LocalSettings
    supabase_url: str
    publishable_key: SecretStr
    jwt_secret: SecretStr | None
    """Of the Supabase that was started here; another one's is the developer's to set."""
    encryption_key: SecretStr
    demo_url: str
    demo_client_id: SecretStr
    demo_client_secret: SecretStr
    state_dir: Path

    async def start(self, processes: Processes, http: httpx.AsyncClient) -> Child:
        """Start it and wait until it answers."""
        child = await processes.spawn(
            "api",
            [sys.executable, "-m", "supabase_integrations", "serve"],
            env=self.environment(),
            # Where the developer is: a .env file and the path of PROVIDERS_FILE are found from there.
            cwd=Path.cwd(),
        )
        await wait_until_answering(http, child, f"{self.settings.api_url}/healthz")
        return child

    def environment(self) -> dict[str, str]:
        """The developer's environment, completed with what this system decides and defaults for local use."""
        given = self.settings.environment
        passed_on = {name: value for name, value in given.items() if name not in _NOT_FOR_THE_API}
        return {**passed_on, **self.own_settings(), "PYTHONUNBUFFERED": "1"}

    def own_settings(self) -> dict[str, str]:
        """What is not the developer's: the defaults for local use and what this system decides."""
        return {**self._defaults(self.settings.environment), **self._decided()}

    def _defaults(self, given: Mapping[str, str]) -> dict[str, str]:
        app_url = self.settings.app_url
        defaults = {
            "ALLOWED_ORIGINS": ",".join([*_FRONTEND_ORIGINS, app_url]),
            "ALLOWED_REDIRECT_URLS": ",".join(f"{origin}/integrations" for origin in [*_FRONTEND_ORIGINS, app_url]),
            "ENCRYPTION_KEY": self.encryption_key.get_secret_value(),
        }
        return {name: value for name, value in defaults.items() if not given.get(name, "").strip()}

    def _decided(self) -> dict[str, str]:
        decided = {
            "ENVIRONMENT": "development",
            "HOST": "127.0.0.1",
            "PORT": str(self.settings.port),
            "APP_URL": self.settings.app_url,
            "SUPABASE_URL": self.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": self.publishable_key.get_secret_value(),
            "STATE_DIR": str(self.state_dir),
            "DEMO_URL": self.demo_url,
            "DEMO_CRM_CLIENT_ID": self.demo_client_id.get_secret_value(),
            "DEMO_CRM_CLIENT_SECRET": self.demo_client_secret.get_secret_value(),
        }
        if self.jwt_secret:
            decided["SUPABASE_JWT_SECRET"] = self.jwt_secret.get_secret_value()
        return decided
