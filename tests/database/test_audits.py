"""Every audit is silent on what the migrations made and fires when something is wrong."""

from collections.abc import AsyncIterator
from typing import Final

import psycopg
import pytest

from supabase_integrations.adapters.audits import (
    COLUMNS,
    Audit,
    AuditError,
    AuditFinding,
    AuditLevel,
    load_audits,
    run_audits,
)
from supabase_integrations.core.errors import ConfigurationError, SchemaMissingError, StoreUnavailableError
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.resources import audits_dir
from tests.database.audit_lists import LISTING, made_list, read_audit, written_list
from tests.database.cluster import Cluster
from tests.database.offences import ACCESS, Offence
from tests.database.offences_around import SURROUNDINGS
from tests.database.offences_definitions import DEFINITIONS
from tests.database.offences_of_reach import REACH

AUDITS: Final = {audit.name: audit for audit in load_audits(audits_dir())}

OFFENCES: Final = (*ACCESS, *SURROUNDINGS, *DEFINITIONS, *REACH)

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture(scope="module")
async def pushed(cluster: Cluster, template: str) -> AsyncIterator[str]:
    """One clone for this module: its tests roll back."""
    name = await cluster.clone("audited", template)
    yield name
    await cluster.retire(name)


@pytest.fixture
async def connection(cluster: Cluster, pushed: str) -> AsyncIterator[Connection]:
    """A superuser's connection, for whom anything may be offended; nothing of it stays, also not of roles."""
    async with await psycopg.AsyncConnection.connect(cluster.url(pushed)) as connection:
        yield connection
        await connection.rollback()


async def findings(connection: Connection, audit: str) -> list[AuditFinding]:
    """Run one audit as it is run in the dashboard's SQL editor: as `postgres`."""
    await connection.execute("set local role postgres")
    cursor = await connection.execute(AUDITS[audit].query)
    assert tuple(column.name for column in cursor.description or ()) == COLUMNS
    rows = await cursor.fetchall()
    await connection.execute("set local role none")
    return [AuditFinding(str(row[0]), AuditLevel(str(row[1])), *map(str, row[2:])) for row in rows]


@pytest.mark.parametrize("offence", OFFENCES, ids=lambda offence: f"{offence.audit}-{offence.finds}")
async def test_audit_fires_and_falls_silent(connection: Connection, offence: Offence) -> None:
    assert await findings(connection, offence.audit) == []

    await connection.execute(offence.offend)
    found = await findings(connection, offence.audit)
    assert {finding.object for finding in found} == {offence.finds}
    for finding in found:
        assert finding.audit == offence.audit
        assert finding.detail.endswith((".", ")."))
        assert finding.remediation

    await connection.execute(offence.fix)
    assert await findings(connection, offence.audit) == []


async def test_default_privileges_without_effect_are_no_finding(connection: Connection) -> None:
    await connection.execute("create role bystander")
    await connection.execute(
        "alter default privileges for role bystander in schema integrations_private grant select on tables to anon"
    )
    assert await findings(connection, "default_privileges") == []

    await connection.execute("grant create on schema integrations_private to bystander")
    assert len(await findings(connection, "default_privileges")) == 1


def test_every_audit_is_shown_firing() -> None:
    assert {offence.audit for offence in OFFENCES} == set(AUDITS)


@pytest.mark.parametrize("audit", AUDITS)
def test_an_audit_says_what_it_looks_for(audit: str) -> None:
    first, *_ = AUDITS[audit].query.decode().splitlines()
    assert first.startswith("-- ")


@pytest.mark.parametrize("audit", LISTING)
async def test_its_list_is_what_the_migrations_make(connection: Connection, audit: str) -> None:
    await connection.execute("set local role postgres")
    made = await made_list(connection, read_audit(audit))
    assert written_list(read_audit(audit)) == made, (
        f"`python -m tests.database.audit_lists` writes this into {audit}.sql:\n{made}"
    )


@pytest.mark.parametrize("audit", LISTING)
async def test_its_list_holds_whatever_the_session_prints(connection: Connection, audit: str) -> None:
    await connection.execute("set local timezone = 'Asia/Kathmandu'")
    await connection.execute("set local datestyle = 'German'")
    await connection.execute("set local intervalstyle = 'iso_8601'")
    await connection.execute("set local search_path = ''")
    assert await findings(connection, audit) == []


async def test_the_migrations_pass_every_audit(cluster: Cluster, pushed: str) -> None:
    assert await run_audits(DatabaseUrl.parse(cluster.migrating_url(pushed)), tuple(AUDITS.values())) == ()


async def test_findings_of_all_audits_are_collected(cluster: Cluster, template: str) -> None:
    name = await cluster.clone("offended", template)
    async with await psycopg.AsyncConnection.connect(cluster.url(name), autocommit=True) as connection:
        await connection.execute("grant select on public.integrations to anon")
    found = await run_audits(DatabaseUrl.parse(cluster.migrating_url(name)), tuple(AUDITS.values()))
    await cluster.retire(name)

    assert {finding.audit for finding in found} == {"anonymous_privileges", "grants_beyond_the_list"}
    assert {finding.object for finding in found} == {"public.integrations"}


async def test_a_database_without_our_tables_does_not_pass(cluster: Cluster) -> None:
    name = await cluster.create_hosted("empty")
    with pytest.raises(SchemaMissingError):
        await run_audits(DatabaseUrl.parse(cluster.migrating_url(name)), tuple(AUDITS.values()))
    columns = await run_audits(DatabaseUrl.parse(cluster.migrating_url(name)), (AUDITS["columns_beyond_the_list"],))
    await cluster.retire(name)
    assert "public.integrations" in {finding.object for finding in columns}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select 1 as audit", "must be one query with the columns"),
        ("create table public.made_by_audit (id int)", "read-only transaction"),
        ("select 1/0 as audit", "division by zero"),
        (
            "select 'a' as audit, 'WARN' as level, 'b' as object, 'c' as detail, 'd' as remediation; select 1",
            "it is several",
        ),
        (
            "select 'a' as audit, 'FATAL' as level, 'b' as object, 'c' as detail, 'd' as remediation",
            "levels must be",
        ),
    ],
)
async def test_what_is_no_audit_is_refused(cluster: Cluster, pushed: str, query: str, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        await run_audits(DatabaseUrl.parse(cluster.migrating_url(pushed)), [Audit("mine", query.encode())])


async def test_an_unreachable_database_and_a_malformed_url_are_told_apart(cluster: Cluster, pushed: str) -> None:
    wrong = cluster.migrating_url(pushed).replace(cluster.migrating_password.get_secret_value(), "canary-password")
    with pytest.raises(StoreUnavailableError) as unreachable:
        await run_audits(DatabaseUrl.parse(wrong), ())
    with pytest.raises(ConfigurationError) as malformed:
        await run_audits(DatabaseUrl.parse("canary-password without an equals sign"), ())
    assert "canary" not in str(unreachable.value) + str(malformed.value)
