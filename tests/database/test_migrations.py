"""The migrations in projects of every kind: pushed by the real tool, twice, beside another app, and taken away again.

Under the role's name other databases of the server may hold grants, so what becomes of it is looked at apart.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
import pytest

from supabase_integrations.adapters.audits import load_audits, run_audits
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.local.migration_copies import copy_migrations
from supabase_integrations.local.supabase_cli import run_advisors
from supabase_integrations.resources import audits_dir, migrations_dir
from tests.database.cluster import Cluster
from tests.database.snapshots import Snapshot, take_snapshot

MIGRATIONS: Final = sorted(path.name for path in migrations_dir().glob("*.sql"))
OTHER_APP: Final = Path(__file__).with_name("other_app.sql")
UNINSTALL: Final = migrations_dir().parent.parent / "sql" / "operations" / "uninstall.sql"


@pytest.fixture
async def project(cluster: Cluster) -> AsyncIterator[str]:
    """A hosted project without our migrations."""
    name = await cluster.create_hosted("project")
    yield name
    await cluster.drop(name)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Another app's folder, with one migration of its own."""
    migrations = tmp_path / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "20240101000000_first.sql").write_bytes(OTHER_APP.read_bytes())
    return tmp_path


def without_worker(snapshot: Snapshot) -> Snapshot:
    """All but the role."""
    return frozenset(thing for thing in snapshot if "integrations_worker" not in thing.name)


async def uninstall(cluster: Cluster, database: str) -> None:
    """Run the operator's script as the migrating role."""
    script = UNINSTALL.read_bytes()
    async with await psycopg.AsyncConnection.connect(cluster.migrating_url(database), autocommit=True) as connection:
        await connection.execute(script)


async def test_they_apply_and_a_second_push_changes_nothing(cluster: Cluster, project: str) -> None:
    assert len(await cluster.push(project)) == len(MIGRATIONS)
    pushed = await take_snapshot(cluster.url(project))
    assert await cluster.push(project) == []
    assert await take_snapshot(cluster.url(project)) == pushed


async def test_both_worlds_of_default_privileges_end_the_same(cluster: Cluster, template: str) -> None:
    closed = await cluster.create_hosted("closed", default_privileges="closed")
    await cluster.push(closed)
    found = await run_audits(DatabaseUrl.parse(cluster.migrating_url(closed)), load_audits(audits_dir()))
    permissive_copy = await cluster.clone("permissive", template)
    ours = [
        {thing for thing in await take_snapshot(cluster.url(name)) if thing.ours} for name in (closed, permissive_copy)
    ]
    await cluster.drop(closed)
    await cluster.drop(permissive_copy)

    assert ours[0] == ours[1]
    assert len(ours[0]) > 100
    assert found == ()


async def test_what_was_there_before_is_untouched(cluster: Cluster, project: str, app: Path) -> None:
    migrations = app / "supabase" / "migrations"
    await cluster.push(project, migrations)
    before = await take_snapshot(cluster.url(project))
    copied = copy_migrations(migrations_dir(), app, now=datetime.now(UTC))
    assert len(copied.written) == len(MIGRATIONS)
    await cluster.push(project, migrations)
    after = await take_snapshot(cluster.url(project))

    assert {thing.name for thing in before - after} == set()
    assert [thing.name for thing in after - before if not thing.ours] == []


async def test_wide_default_privileges_of_a_project_are_seen_by_the_audit(
    cluster: Cluster, project: str, app: Path
) -> None:
    """We do not alter them, and revoke only from roles we know: what they gave to others is named."""
    migrations = app / "supabase" / "migrations"
    copy_migrations(migrations_dir(), app, now=datetime.now(UTC))
    await cluster.push(project, migrations)
    found = await run_audits(DatabaseUrl.parse(cluster.migrating_url(project)), load_audits(audits_dir()))

    assert {finding.audit for finding in found} == {"grants_beyond_the_list"}
    assert all(finding.detail.startswith("reporting may ") for finding in found)
    assert {"public.integrations", "public.oauth_states"} < {finding.object for finding in found}


async def test_uninstalling_leaves_what_was_there_before(cluster: Cluster, project: str, database: str) -> None:
    before = await take_snapshot(cluster.url(project))
    await uninstall(cluster, database)
    assert without_worker(await take_snapshot(cluster.url(database))) == without_worker(before)
    assert len(await cluster.push(database)) == len(MIGRATIONS)


async def test_uninstalling_from_another_apps_project_leaves_the_app(cluster: Cluster, project: str, app: Path) -> None:
    migrations = app / "supabase" / "migrations"
    await cluster.push(project, migrations)
    before = await take_snapshot(cluster.url(project))
    copied = copy_migrations(migrations_dir(), app, now=datetime.now(UTC))
    await cluster.push(project, migrations)
    await uninstall(cluster, project)
    for path in copied.written:
        path.unlink()

    assert without_worker(await take_snapshot(cluster.url(project))) == without_worker(before)
    assert await cluster.push(project, migrations) == []


async def test_uninstalling_refuses_to_drop_what_is_not_ours(cluster: Cluster, database: str) -> None:
    async with await psycopg.AsyncConnection.connect(cluster.migrating_url(database), autocommit=True) as connection:
        await connection.execute("create view public.mine as select id from public.integrations")
        pushed = await take_snapshot(cluster.url(database))
        with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="view mine"):
            await connection.execute(UNINSTALL.read_bytes())
    assert await take_snapshot(cluster.url(database)) == pushed


async def test_a_role_of_that_name_with_more_rights_is_not_taken_over(cluster: Cluster, project: str) -> None:
    script = (migrations_dir() / next(name for name in MIGRATIONS if "worker" in name)).read_bytes()
    async with await psycopg.AsyncConnection.connect(cluster.url(project)) as connection:
        await connection.execute("do $$ begin create role integrations_worker; exception when others then null; end $$")
        await connection.execute("alter role integrations_worker bypassrls")
        with pytest.raises(psycopg.errors.RaiseException, match="may do more than the worker must"):
            await connection.execute(script)


async def test_a_project_that_closed_public_opens_it_to_the_worker_alone(cluster: Cluster, project: str) -> None:
    async with await psycopg.AsyncConnection.connect(cluster.url(project), autocommit=True) as connection:
        await connection.execute("revoke usage on schema public from public")
        await cluster.push(project)
        cursor = await connection.execute("select has_schema_privilege('integrations_worker', 'public', 'usage')")
        assert await cursor.fetchone() == (True,)
    await uninstall(cluster, project)


async def test_every_object_of_ours_has_a_comment(cluster: Cluster, database: str) -> None:
    ours = {thing for thing in await take_snapshot(cluster.url(database)) if thing.ours}
    # A table brings its row type along, and a key its index: the table's and the key's comments speak for them.
    keys = {thing.name.split()[1] for thing in ours if thing.facts.startswith(("PRIMARY KEY", "UNIQUE"))}
    silent = {
        thing.name
        for thing in ours
        if not thing.comment
        and not thing.name.startswith(("type ", "member "))
        and thing.name.rpartition(".")[2] not in keys
    }
    assert silent == set()


async def test_supabases_advisors_report_nothing(cluster: Cluster, database: str) -> None:
    assert await run_advisors(DatabaseUrl.parse(cluster.migrating_url(database)), level="warn") == []
    at_info = await run_advisors(DatabaseUrl.parse(cluster.migrating_url(database)), level="info")
    assert {finding.name for finding in at_info} == {"unused_index"}


def test_no_migration_alters_what_is_not_ours() -> None:
    """No default privileges, no search path of a role, nothing in another schema."""
    for name in MIGRATIONS:
        text = (migrations_dir() / name).read_text().lower()
        assert "alter default privileges" not in text
        assert "alter database" not in text
        assert "alter role" not in text
        assert " cascade;" not in text
