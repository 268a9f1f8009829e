"""Types in the session's temporary schema, which Postgres prefers to its own of the same name unless it is told not to.

A check of such a type is a function of whoever made it, and runs as whoever declares a variable of the type.
"""

from typing import Final, LiteralString

import pytest
from psycopg import sql

from tests.database.acts import OWNER, Actor, connect_service

TYPES: Final[tuple[LiteralString, ...]] = ("int4", "int8", "interval", "jsonb", "text", "timestamptz", "uuid")

STATEMENTS: Final[tuple[LiteralString, ...]] = (
    "select integrations_private.claim_due_refreshes(5, '1ea5e000-0000-4000-8000-000000000000'::pg_catalog.uuid)",
    "select integrations_private.claim_due_syncs(5, '1ea5e000-0000-4000-8000-000000000000'::pg_catalog.uuid)",
    "select integrations_private.purge_expired_states(5)",
    "select integrations_private.purge_old_events('31 days', 5)",
    "select integrations_private.count_integrations_by_key()",
    "select integrations_private.count_authorizations_by_key()",
    "select integrations_private.list_integrations_sealed_under('5ea1ed00', null, null, 5)",
    "update public.integrations set refresh_lease_owner = '1ea5e000-0000-4000-8000-000000000000'",
    "update public.integrations set next_refresh_at = pg_catalog.now()",
    "update public.integrations set credentials = credentials || 'A'",
    "update public.integrations set status = 'error', refresh_lease_owner = null",
)


@pytest.mark.usefixtures("auth")
async def test_nobody_runs_code_as_the_owner_of_our_functions(owner: Actor, worker: Actor) -> None:
    await connect_service(owner, next_refresh_at="2026-01-01")
    attacker = worker.acting(OWNER)
    for name in TYPES:
        await attacker.run(
            sql.SQL("""
                create function pg_temp.{check}(tried pg_catalog.{type}) returns boolean language plpgsql as $$
                begin
                    if current_user <> 'integrations_worker' then
                        raise exception 'code of the worker''s runs as %', current_user;
                    end if;
                    return true;
                end
                $$
            """).format(check=sql.Identifier(f"check_{name}"), type=sql.SQL(name))
        )
        await attacker.run(
            sql.SQL("create domain pg_temp.{name} as pg_catalog.{type} check (pg_temp.{check}(value))").format(
                name=sql.Identifier(name), check=sql.Identifier(f"check_{name}"), type=sql.SQL(name)
            )
        )
    for statement in STATEMENTS:
        await attacker.run(statement)
