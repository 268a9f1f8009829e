"""Supabase Auth and Data API over our Postgres: the npm package `@supabase/lite`, kept so small that it cannot hurt.

Logged in as an owner or superuser it grants everything on every table to the API roles, and so would hide a missing
grant here that fails on a hosted project, or a leak. `supabase_lite` therefore owns nothing of ours and inherits
nothing. It may reference every table, which shows it their shape without a row, and makes its GRANTs end as warnings.
What it sees on its first data request decides whether it applies row security until it restarts: restart it after the
migrations.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from supabase_integrations.core.secret import SecretStr

from .hosted import set_password
from .node import find_node, find_tool
from .ports import HOST
from .process import Child
from .processes import Processes
from .readiness import wait_until_answering
from .scripts import read_script
from .state import write_private

ROLE = "supabase_lite"
_CORS = Path(__file__).with_name("lite_cors.mjs")


@dataclass(frozen=True, slots=True)
class LiteServer:
    """How to start the server. Creating this object does nothing yet."""

    port: int
    database_url: SecretStr
    """As `supabase_lite`."""
    jwt_secret: SecretStr
    publishable_key: SecretStr
    site_url: str
    config_path: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self, processes: Processes, http: httpx.AsyncClient) -> Child:
        """Start it and wait until Auth answers, which reads no table of ours."""
        node = await asyncio.to_thread(find_node)
        script = find_tool("@supabase", "lite", "dist", "cli", "index.js")
        write_private(self.config_path, self._config())
        child = await processes.spawn(
            "supabase",
            [node, "--import", _CORS.as_uri(), script, "start", "--no-admin", "--config", self.config_path],
            env=self._environment(node),
            cwd=self.config_path.parent,
        )
        await wait_until_answering(http, child, f"{self.url}/auth/v1/health")
        return child

    def _config(self) -> str:
        """Supabase's configuration format. No secret key, so that nothing can act as `service_role` through it."""
        # A JSON string is a TOML string as long as it holds no control characters.
        return f"""\
project_id = "supabase-integrations"

[api]
port = {self.port}
schemas = ["public"]
max_rows = 1000

[db]
driver = "postgres"
url = "env(LITE_DATABASE_URL)"

[auth]
enabled = true
site_url = {json.dumps(self.site_url)}
jwt_secret = "env(LITE_JWT_SECRET)"
jwt_expiry = 3600
enable_signup = true
publishable_key = "env(LITE_PUBLISHABLE_KEY)"

[auth.email]
enable_signup = true
enable_confirmations = false
"""

    def _environment(self, node: Path) -> dict[str, str]:
        return {
            "PATH": f"{node.parent}",
            "HOME": str(self.config_path.parent),
            "LITE_DATABASE_URL": self.database_url.get_secret_value(),
            "LITE_JWT_SECRET": self.jwt_secret.get_secret_value(),
            "LITE_PUBLISHABLE_KEY": self.publishable_key.get_secret_value(),
            "LITE_TELEMETRY": "0",
            "DO_NOT_TRACK": "1",
        }


async def prepare_for_lite(superuser_url: str, password: SecretStr) -> None:
    """Before its first start: a login role that may create its own schemas and become an API role, nothing more."""
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        await connection.execute(read_script("lite_before"))
        await set_password(connection, ROLE, password)


async def admit_lite(superuser_url: str) -> None:
    """After its start and after each push: share the history of migrations, open `auth`, show it new tables' shape."""
    async with await psycopg.AsyncConnection.connect(superuser_url) as connection:
        await connection.execute(read_script("lite_after"))
