"""One server for the run, one template with the migrations pushed by the real tool, and a clone of it for each test."""

from collections.abc import AsyncIterator, Callable
from itertools import count
from uuid import UUID

import psycopg
import pytest

from supabase_integrations.local.postgres import SUPERUSER
from tests.database.acts import OWNER, STRANGER, Actor, Row, user_claims
from tests.database.cluster import Cluster, running_cluster

_numbers = count(1)

OpenActor = Callable[..., Actor]


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """The server."""
    async with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
async def template(cluster: Cluster) -> str:
    """A hosted-like database with our migrations in it; never connected to again, so that it can be cloned."""
    name = await cluster.create_hosted("template")
    await cluster.push(name)
    # Leases are given to nobody else for 15 seconds after the server's start.
    async with await psycopg.AsyncConnection.connect(cluster.url(name), autocommit=True) as connection:
        await connection.execute(
            "select pg_sleep_until(pg_postmaster_start_time() + interval '15 seconds')", prepare=False
        )
    return name


@pytest.fixture
async def database(cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A clone of the template."""
    name = await cluster.clone(f"clone_{next(_numbers)}", template)
    yield name
    await cluster.retire(name)


@pytest.fixture
async def actor(cluster: Cluster, database: str) -> AsyncIterator[OpenActor]:
    """Makes actors whose connections are closed at the end."""
    opened: list[psycopg.AsyncConnection[Row]] = []

    def open_actor(role: str, user_id: UUID | None = None) -> Actor:
        return Actor(cluster.url(database), role, user_claims(user_id) if user_id else None, opened=opened)

    yield open_actor
    for connection in opened:
        await connection.close()


@pytest.fixture
async def auth(actor: OpenActor) -> Actor:
    """Supabase Auth, which adds and deletes users."""
    auth = actor("supabase_auth_admin")
    await auth.run("insert into auth.users (id) values (%s), (%s)", OWNER, STRANGER)
    return auth


@pytest.fixture
def owner(actor: OpenActor, auth: Actor) -> Actor:
    """A signed-in user whose rows the test is about."""
    return actor("authenticated", OWNER)


@pytest.fixture
def stranger(actor: OpenActor, auth: Actor) -> Actor:
    """Another signed-in user."""
    return actor("authenticated", STRANGER)


@pytest.fixture
def visitor(actor: OpenActor) -> Actor:
    """Somebody who is not signed in."""
    visitor = actor("anon")
    visitor.claims = {"role": "anon"}
    return visitor


@pytest.fixture
def worker(actor: OpenActor) -> Actor:
    """The background worker, having declared nobody yet."""
    return actor("integrations_worker")


@pytest.fixture
def service_role(actor: OpenActor) -> Actor:
    """The holder of a project's secret key."""
    return actor("service_role")


@pytest.fixture
def operator(actor: OpenActor) -> Actor:
    """The person in the dashboard's SQL editor: the migrating role, who owns the tables."""
    return actor("postgres")


@pytest.fixture
def fate(actor: OpenActor) -> Actor:
    """Lets time pass, by changing rows where no trigger or grant looks."""
    fate = actor(SUPERUSER)
    fate.settings = {"session_replication_role": "replica"}
    return fate


@pytest.fixture
async def migrating_login(cluster: Cluster, database: str) -> AsyncIterator[Actor]:
    """The migrating role as it logs in, not as somebody who took its role."""
    login = Actor(cluster.migrating_url(database), "none")
    yield login
    for connection in login.opened:
        await connection.close()
