"""A database that is in use and lacks the later migrations gets them, and keeps what it holds."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from supabase_integrations.resources import migrations_dir
from tests.database.acts import ENVELOPE, OWNER, Actor, change, connect_service, user_claims
from tests.database.cluster import Cluster
from tests.database.snapshots import take_snapshot

DISCARDED = "20261123002380_tell_discarded_credentials.sql"


@pytest.fixture
async def project(cluster: Cluster, tmp_path: Path) -> AsyncIterator[str]:
    """A hosted project with the migrations before that one."""
    earlier = tmp_path / "migrations"
    earlier.mkdir()
    for path in migrations_dir().glob("*.sql"):
        if path.name < DISCARDED:
            shutil.copy(path, earlier)
    name = await cluster.create_hosted("upgraded")
    await cluster.push(name, earlier)
    yield name
    await cluster.drop(name)


async def empty_and_fill(owner: Actor, integration: UUID, envelope: str) -> None:
    """As a revocation does it, and connecting again."""
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(owner, integration, credentials=None, status="revoked", refresh_lease_owner=None)
    await change(owner, integration, refresh_lease_owner=owner.id)
    await change(owner, integration, credentials=envelope, status="active", refresh_lease_owner=None)


async def test_emptied_rows_are_told_apart_from_then_on_and_the_trail_stays(
    cluster: Cluster, template: str, project: str
) -> None:
    owner = Actor(cluster.url(project), "authenticated", user_claims(OWNER))
    auth = Actor(cluster.url(project), "supabase_auth_admin")
    await auth.run("insert into auth.users (id) values (%s)", OWNER)
    integration = await connect_service(owner)
    await empty_and_fill(owner, integration, f"{ENVELOPE}2")
    trail = "select * from public.integration_events order by id"
    before = await owner.run(trail)

    pushed = await cluster.push(project)

    assert DISCARDED in pushed
    await empty_and_fill(owner, integration, f"{ENVELOPE}3")
    after = await owner.run(trail)
    assert after[: len(before)] == before
    told = [(event["event"], event["status"]) for event in after[1:]]
    assert told == [
        ("credentials.replaced", "revoked"),
        ("credentials.replaced", "active"),
        ("credentials.discarded", "revoked"),
        ("credentials.replaced", "active"),
    ]
    for connection in (*owner.opened, *auth.opened):
        await connection.close()
    copy = await cluster.clone("fresh", template)
    ours = [{thing for thing in await take_snapshot(cluster.url(name)) if thing.ours} for name in (project, copy)]
    await cluster.drop(copy)
    assert ours[0] == ours[1]
