"""Make a fresh PostgreSQL database look like a hosted Supabase project before its first migration.

    await prepare_hosted(postgres.url(), migrating_password=SecretStr("…"))
    await prepare_hosted(postgres.url("scratch"), migrating_password=…, default_privileges="closed", auth_schema=True)

Roles belong to the cluster, everything else to the database of the URL, which must be the superuser's. `auth_schema`
adds `auth.users`, `auth.uid()`, `auth.jwt()` and `auth.role()` for databases without an Auth server. May be repeated.
"""

from typing import Literal

import psycopg
from psycopg import sql

from supabase_integrations.core.secret import SecretStr

from .scripts import read_script

MIGRATING_ROLE = "postgres"
API_ROLES = ("anon", "authenticated", "service_role")

DefaultPrivileges = Literal["permissive", "closed"]
"""What the API roles get on everything new in `public`: all (projects until 2026) or nothing (projects since)."""


async def prepare_hosted(
    superuser_url: str,
    *,
    migrating_password: SecretStr,
    default_privileges: DefaultPrivileges = "permissive",
    auth_schema: bool = False,
) -> None:
    """Create the roles, schemas, timeouts and default privileges that a hosted project has."""
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=False) as connection:
        await connection.execute(read_script("hosted"))
        await set_password(connection, MIGRATING_ROLE, migrating_password)
        if auth_schema:
            await connection.execute(read_script("hosted_auth"))
        for statement in _default_privileges(default_privileges):
            await connection.execute(statement)


async def set_password(connection: psycopg.AsyncConnection[tuple[object, ...]], role: str, password: SecretStr) -> None:
    """Set a role's password without sending it: the server, and its log, see only the SCRAM verifier."""
    verifier = connection.pgconn.encrypt_password(password.get_secret_value().encode(), role.encode(), b"scram-sha-256")
    await connection.execute(
        sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
    )


def _default_privileges(world: DefaultPrivileges) -> list[sql.Composed]:
    if world == "permissive":
        change = sql.SQL("alter default privileges for role {} in schema public grant all on {} to {}")
    else:
        change = sql.SQL("alter default privileges for role {} in schema public revoke all on {} from {}")
    api_roles = sql.SQL(", ").join(map(sql.Identifier, API_ROLES))
    return [
        change.format(sql.Identifier(creator), sql.SQL(kind), api_roles)
        for creator in (MIGRATING_ROLE, "supabase_admin")
        for kind in ("tables", "functions", "sequences")
    ]
