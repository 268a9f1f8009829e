"""A local system of a benchmark's own, thrown away afterwards, and signed-in users with connections in it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID, uuid4

import httpx
import psycopg

from supabase_integrations.local.postgres import SUPERUSER
from supabase_integrations.local.secrets import LocalSecrets

# `python FILE` makes the file's own folder importable, and not the repository's.
sys.path.append(str(Path(__file__).parents[2]))

from tests.local_system import DevProcess, LocalSystem, free_ports

__all__ = [
    "ADD_CONNECTIONS",
    "LocalSystem",
    "User",
    "add_connections",
    "free_ports",
    "running_system",
    "sign_up",
    "superuser_url",
]

ADD_CONNECTIONS: Final = """
    insert into public.integrations (
        user_id, service_name, service_type, external_account_id, display_name, config, scopes, expires_at, credentials,
        created_at
    )
    select
        %(user_id)s, (array['demo_crm', 'hubspot', 'shopify'])[1 + number %% 3], 'crm', 'account-' || number,
        'Account ' || number, jsonb_build_object('shop', 'shop-' || number), '{contacts.read,contacts.write}',
        now() + interval '1 hour', 'v1.0000ca9a.' || repeat('A', 1000), now() - number * interval '1 hour'
    from generate_series(%(first)s::integer, %(last)s) as number
"""
"""Connections of a user by number, with credentials of 1 kB, connected one hour apart. Past the triggers, one of which
decides when a row was made: `session_replication_role` has to be `replica`.
"""


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in user."""

    id: UUID
    access_token: str = field(repr=False)

    @property
    def authorization(self) -> dict[str, str]:
        """The header that every request of theirs carries."""
        return {"authorization": f"Bearer {self.access_token}"}


@contextmanager
def running_system() -> Iterator[LocalSystem]:
    """Start a system on free ports and in a directory of its own; stop it and remove what it kept."""
    with TemporaryDirectory(prefix="integrations-benchmark-", ignore_cleanup_errors=True) as directory:
        # Postgres' own user has to enter it.
        Path(directory).chmod(0o755)
        dev = DevProcess(Path(directory) / "state")
        try:
            yield dev.start()
        finally:
            dev.stop()


async def sign_up(system: LocalSystem) -> User:
    """A new user of Supabase Auth."""
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.post(
            f"{system.supabase_url}/auth/v1/signup",
            headers={"apikey": system.publishable_key},
            json={"email": f"{uuid4().hex}@example.com", "password": uuid4().hex},
        )
    session = reply.raise_for_status().json()
    return User(UUID(session["user"]["id"]), session["access_token"])


async def add_connections(system: LocalSystem, user: User, count: int) -> None:
    """Give a user this many connections."""
    async with await psycopg.AsyncConnection.connect(superuser_url(system)) as database:
        await database.execute("set local session_replication_role = replica")
        await database.execute(ADD_CONNECTIONS, {"user_id": user.id, "first": 1, "last": count})


def superuser_url(system: LocalSystem) -> str:
    """The database as its superuser, whose password only the state directory knows."""
    password = LocalSecrets.load_or_generate(system.state_dir / "secrets.json").superuser_password
    return psycopg.conninfo.make_conninfo(system.database_url, user=SUPERUSER, password=password.get_secret_value())
