"""What a process needs in its environment to work with the shared local system and this folder's service."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg

from supabase_integrations.local.postgres import SUPERUSER
from supabase_integrations.local.secrets import LocalSecrets
from tests import canaries
from tests.local_system import LocalSystem
from tests.storms.grants import DemoClient

SERVICES: Final = Path(__file__).with_name("services.toml")
ROOT: Final = Path(__file__).parents[2]
_INHERITED: Final = ("PATH", "HOME", "LANG")


def superuser_url(system: LocalSystem) -> str:
    """The database as its superuser, whose password only the state directory knows."""
    password = LocalSecrets.load_or_generate(system.state_dir / "secrets.json").superuser_password
    return psycopg.conninfo.make_conninfo(system.database_url, user=SUPERUSER, password=password.get_secret_value())


def process_environment(
    demo: DemoClient, token_endpoint: str, state_dir: Path, settings: Mapping[str, str]
) -> dict[str, str]:
    """The settings that every door needs, and those of one."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "ENVIRONMENT": "development",
        "ENCRYPTION_KEY": canaries.ENCRYPTION_KEY,
        "STATE_DIR": str(state_dir),
        "PROVIDERS_FILE": str(SERVICES),
        "STORMY_TOKEN_URL": token_endpoint,
        "STORMY_CLIENT_ID": demo.client_id,
        "STORMY_CLIENT_SECRET": demo.client_secret.get_secret_value(),
        **settings,
    }


def user_settings(system: LocalSystem) -> dict[str, str]:
    """What an app's backend has, whose users bring their own tokens."""
    return {
        "SUPABASE_URL": system.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": system.publishable_key,
        "SUPABASE_JWT_SECRET": system.jwt_secret,
        "APP_URL": system.api_url,
    }


def worker_settings(system: LocalSystem) -> dict[str, str]:
    """What a job on the operator's side has: a login of the worker's role."""
    return {"WORKER_DATABASE_URL": system.worker_database_url}
