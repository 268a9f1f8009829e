"""What a local system is told: ports, its state directory, and a Supabase of the developer's own where there is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from supabase_integrations.core.errors import ConfigurationError
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl

from .ports import HOST

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class ExternalSupabase:
    """A Supabase that runs already: Docker's, from `supabase start`, or a hosted project."""

    url: str
    publishable_key: SecretStr
    database: DatabaseUrl | None
    """As the migrating role; without it the migrations are left to the developer."""
    worker_database: DatabaseUrl | None = None
    """As the worker's role; without it no worker is started."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The settings of one local system."""

    port: int
    supabase_port: int
    database_port: int
    demo_port: int
    state_dir: Path
    reset: bool
    starts_worker: bool
    supabase: ExternalSupabase | None
    """None: start one."""
    environment: Mapping[str, str] = field(repr=False)
    """The developer's own environment, handed on to the API: client ids, PROVIDERS_FILE and the like."""

    @property
    def app_url(self) -> str:
        """The public address of the API; a tunnel's, where APP_URL names one."""
        return self.environment.get("APP_URL", "").strip().rstrip("/") or self.api_url

    @property
    def api_url(self) -> str:
        """Where the API answers on this machine."""
        return f"http://{HOST}:{self.port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings; empty values count as absent. Raises ConfigurationError, naming the setting."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        ports = {
            name: _port(name, given.get(name, default))
            for name, default in (
                ("PORT", "8000"),
                ("SUPABASE_PORT", "54321"),
                ("DB_PORT", "54322"),
                ("DEMO_PORT", "9400"),
            )
        }
        if len(set(ports.values())) < len(ports):
            raise ConfigurationError(
                "Two of PORT, SUPABASE_PORT, DB_PORT and DEMO_PORT are the same: each needs its own."
            )
        return cls(
            port=ports["PORT"],
            supabase_port=ports["SUPABASE_PORT"],
            database_port=ports["DB_PORT"],
            demo_port=ports["DEMO_PORT"],
            state_dir=Path(given.get("STATE_DIR", ".local")),
            reset=given.get("RESET", "").lower() in _TRUE,
            starts_worker=given.get("WORKER", "").lower() not in _FALSE,
            supabase=_external(given),
            environment=dict(environment),
        )


def _external(given: Mapping[str, str]) -> ExternalSupabase | None:
    url = given.get("SUPABASE_URL")
    key = given.get("SUPABASE_PUBLISHABLE_KEY") or given.get("SUPABASE_ANON_KEY")
    if not url and not key:
        return None
    if not url or not key:
        missing = "SUPABASE_PUBLISHABLE_KEY" if url else "SUPABASE_URL"
        raise ConfigurationError(
            f"{missing} is missing. Set both to use a Supabase of your own, or neither to have one started."
        )
    database, worker = (given.get(name) for name in ("DATABASE_URL", "WORKER_DATABASE_URL"))
    return ExternalSupabase(
        url.rstrip("/"),
        SecretStr(key),
        DatabaseUrl.parse(database) if database else None,
        DatabaseUrl.parse(worker) if worker else None,
    )


def _port(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65_535:
        raise ConfigurationError(f"{name} must be a port number from 1 to 65535.")
    return int(value)
