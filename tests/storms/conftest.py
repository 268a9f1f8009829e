"""The demo service behind a recording proxy, and people whose connections to it have expired."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supabase_integrations.configuration import load_catalogue
from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.local.secrets import LocalSecrets
from supabase_integrations.settings import CALLBACK_PATH, CatalogueSettings
from tests import canaries
from tests.local_system import LocalSystem
from tests.people import Person
from tests.storms.database import Database, running_database
from tests.storms.grants import DemoClient
from tests.storms.rows import Fate, fate_at
from tests.storms.system import SERVICES, superuser_url
from tests.storms.token_proxy import TokenProxy, running_proxy


@pytest.fixture(scope="session")
def encryption() -> Encryption:
    """With the key that every process of these tests has."""
    return Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY))


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The services as the processes of these tests know them."""
    environment = {"ENVIRONMENT": "development", "PROVIDERS_FILE": str(SERVICES)}
    return load_catalogue(CatalogueSettings.from_environment(environment), environment)


@pytest.fixture
async def people(local_system: LocalSystem) -> AsyncIterator[tuple[Person, Person]]:
    """Two users, signed in."""
    ada, bert = await Person.sign_up(local_system), await Person.sign_up(local_system)
    yield ada, bert
    for person in (ada, bert):
        await person.http.aclose()


@pytest.fixture
def demo(local_system: LocalSystem) -> DemoClient:
    """The shared system's registration at its OAuth server, which rotates refresh tokens and notices reuse."""
    secrets = LocalSecrets.load_or_generate(local_system.state_dir / "secrets.json")
    return DemoClient(
        local_system.demo_url,
        secrets.demo_client_id.get_secret_value(),
        secrets.demo_client_secret,
        local_system.api_url + CALLBACK_PATH,
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A server of a test's own. What is committed survives its crash, if not the machine's."""
    async with running_database(tmp_path, {"fsync": "off"}) as running:
        yield running


@pytest.fixture
async def proxy(demo: DemoClient) -> AsyncIterator[TokenProxy]:
    """In front of that server's token endpoint."""
    async with running_proxy(demo.token_endpoint) as running:
        yield running


@pytest.fixture
async def fate(local_system: LocalSystem, encryption: Encryption) -> AsyncIterator[Fate]:
    """Whoever lets an hour pass in the shared system's tables."""
    async with fate_at(superuser_url(local_system), encryption) as opened:
        yield opened
