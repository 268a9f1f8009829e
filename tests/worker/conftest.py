"""A database with our migrations, a login for the worker's role, and users whose connections have expired."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from supabase_integrations.configuration import load_catalogue
from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.local.hosted import set_password
from supabase_integrations.settings import CatalogueSettings
from tests import canaries
from tests.database.cluster import Cluster
from tests.database.conftest import cluster, database, template
from tests.scripted_service import ScriptedService
from tests.storms.rows import fate_at
from tests.worker.rotating import Rotating
from tests.worker.world import ROLE, SERVICES, Workers, World

__all__ = ["cluster", "database", "template"]


@pytest.fixture(scope="session")
async def worker_password(cluster: Cluster, template: str) -> SecretStr:
    """The role belongs to the cluster, so that every clone of the template is opened with it."""
    password = SecretStr(secrets.token_urlsafe(16))
    async with await psycopg.AsyncConnection.connect(cluster.url("postgres"), autocommit=True) as connection:
        await set_password(connection, ROLE, password)
    return password


@pytest.fixture(scope="session")
def encryption() -> Encryption:
    """With the key that every process of these tests has."""
    return Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY))


@pytest.fixture(scope="session")
def catalogue(scripted_service: ScriptedService) -> Catalogue:
    """The services as the processes of these tests know them."""
    environment = {
        "ENVIRONMENT": "development",
        "PROVIDERS_FILE": str(SERVICES),
        "SCRIPTED_URL": scripted_service.url,
    }
    return load_catalogue(CatalogueSettings.from_environment(environment), environment)


@pytest.fixture
async def world(
    cluster: Cluster, database: str, worker_password: SecretStr, encryption: Encryption, catalogue: Catalogue
) -> AsyncIterator[World]:
    """A database of this test's own and whoever may do anything in it."""
    async with fate_at(cluster.url(database), encryption) as fate:
        yield World(cluster, database, worker_password, fate, catalogue)


@pytest.fixture
def service(scripted_service: ScriptedService) -> ScriptedService:
    """The scripted service as at its start."""
    scripted_service.reset()
    return scripted_service


@pytest.fixture
async def workers(world: World, service: ScriptedService, tmp_path: Path) -> AsyncIterator[Workers]:
    """Starts worker processes; none is left at the end, and none has logged a secret."""
    started = Workers(world.environment(service.url, tmp_path / "state"), tmp_path)
    yield started
    started.end()
    for secret in (*canaries.SECRETS, world.worker_password.get_secret_value()):
        assert secret not in started.logged


@pytest.fixture
def rotating(world: World, service: ScriptedService, tmp_path: Path) -> Iterator[Rotating]:
    """A world whose key is being changed; no process of the command is left at the end."""
    started = Rotating(world, tmp_path / "state", service.url)
    yield started
    started.end()
