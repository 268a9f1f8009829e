"""The operator's scripts of sql/operations do what they say, as often as they are run."""

from pathlib import Path
from typing import Final

from psycopg import sql

from supabase_integrations.resources import migrations_dir
from tests.database.acts import Actor, connect_service

OPERATIONS: Final = migrations_dir().parent.parent / "sql" / "operations"

EXAMPLE_CLIENT: Final = "00000000-0000-0000-0000-000000000000"

CRON: Final = """
    create schema cron;
    create function cron.schedule(name text, schedule text, command text) returns bigint language plpgsql as $$
    begin
        execute command;
        return 1;
    end
    $$
"""
"""Stands for pg_cron, which is not among PostgreSQL's own extensions: a job runs at once."""


async def run_script(operator: Actor, name: str) -> None:
    """Run a script as the SQL editor does."""
    connection = await operator.connection()
    async with connection.transaction(), connection.cursor() as cursor:
        await operator.begin(cursor)
        await cursor.execute(read(OPERATIONS / name))


def read(path: Path) -> bytes:
    """A script's statements."""
    return path.read_bytes()


async def test_an_app_is_let_in(owner: Actor, operator: Actor) -> None:
    app = owner.carrying(client_id=EXAMPLE_CLIENT)
    await connect_service(owner)
    assert await app.run("select id from public.integrations") == []
    for _ in range(2):
        await run_script(operator, "allow_oauth_client.sql")
    assert len(await app.run("select id from public.integrations")) == 1


async def test_anonymous_users_are_let_in(owner: Actor, operator: Actor) -> None:
    await connect_service(owner)
    for _ in range(2):
        await run_script(operator, "allow_anonymous_users.sql")
    assert len(await owner.carrying(is_anonymous=True).run("select id from public.integrations")) == 1


async def test_purges_are_scheduled_and_run(operator: Actor, fate: Actor, owner: Actor) -> None:
    await connect_service(owner)
    await owner.run("delete from public.integrations")
    await fate.run("update public.integration_events set created_at = now() - interval '2 years'")
    await fate.run(sql.SQL(CRON))
    await fate.run("grant usage on schema cron to postgres")
    await run_script(operator, "schedule_purges.sql")

    left = await operator.run("select event from public.integration_events")
    assert [row["event"] for row in left] == ["integration.created"]
