"""`integrations audit`, as an operator or a pipeline runs it."""

import asyncio
import json

import psycopg
import pytest
from typer.testing import CliRunner, Result

from supabase_integrations.adapters.audits import COLUMNS
from supabase_integrations.cli.commands import app
from tests.database.cluster import Cluster


@pytest.fixture
def url(cluster: Cluster, database: str) -> str:
    """The clone, as the migrating role reaches it."""
    return cluster.migrating_url(database)


async def run(*arguments: str, **environment: str) -> Result:
    """Run the command in a thread of its own: it starts its own event loop."""
    variables = {"COLUMNS": "200", "DATABASE_URL": "", **environment}
    return await asyncio.to_thread(CliRunner(env=variables).invoke, app, ["audit", *arguments])


async def offend(cluster: Cluster, database: str) -> None:
    """Open a table to visitors, under a name that would be markup."""
    async with await psycopg.AsyncConnection.connect(cluster.url(database), autocommit=True) as connection:
        await connection.execute('create policy "[red]Everyone[/red]" on public.oauth_states for select using (true)')


async def test_a_sound_database_passes(url: str) -> None:
    result = await run("--database-url", url)
    assert (result.exit_code, result.output) == (0, "23 audits, nothing found.\n")
    result = await run("--database-url", url, "--json")
    assert (result.exit_code, json.loads(result.output)) == (0, [])


async def test_findings_are_a_table_and_a_failure(cluster: Cluster, database: str, url: str) -> None:
    await offend(cluster, database)
    result = await run(DATABASE_URL=url)
    assert result.exit_code == 1
    for word in ("policies_beyond_the_list", "ERROR", "policies_without_a_role", "WARN", "[red]Everyone[/red]"):
        assert word in result.output


async def test_findings_are_read_by_programs_too(cluster: Cluster, database: str, url: str) -> None:
    await offend(cluster, database)
    result = await run("--database-url", url, "--json")
    findings = json.loads(result.output)
    assert result.exit_code == 1
    assert {tuple(finding) for finding in findings} == {COLUMNS}
    assert {finding["audit"] for finding in findings} == {"policies_beyond_the_list", "policies_without_a_role"}


async def test_a_database_must_be_named() -> None:
    result = await run()
    assert result.exit_code == 2
    assert "DATABASE_URL" in result.output
