"""Two real users, and the pieces every test over HTTP needs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest

from supabase_integrations.adapters.http_pool import open_http_pool
from supabase_integrations.adapters.user_store import PostgrestUserStore, PostgrestUserStores
from tests.local_system import LocalSystem
from tests.people import Person, caller
from tests.scripted_service import ScriptedService

SignUp = Callable[[], Awaitable[Person]]


@pytest.fixture
async def sign_up(local_system: LocalSystem) -> AsyncIterator[SignUp]:
    """Makes further users."""
    made: list[Person] = []

    async def make() -> Person:
        person = await Person.sign_up(local_system)
        made.append(person)
        return person

    yield make
    for person in made:
        await person.http.aclose()


@pytest.fixture
async def ada(sign_up: SignUp) -> Person:
    """A user with nothing connected yet."""
    return await sign_up()


@pytest.fixture
async def mallory(sign_up: SignUp) -> Person:
    """Another user, with an account of their own and bad intentions."""
    return await sign_up()


@pytest.fixture
async def stranger(local_system: LocalSystem) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without an account: the API with no token at all."""
    async with httpx.AsyncClient(base_url=local_system.api_url, timeout=30, trust_env=False) as http:
        yield http


@pytest.fixture
def scripted(scripted_service: ScriptedService) -> Iterator[ScriptedService]:
    """The scripted service as at its start."""
    scripted_service.reset()
    yield scripted_service
    scripted_service.reset()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The pool that the service itself would use."""
    async with open_http_pool() as client:
        yield client


@pytest.fixture
def stores(http: httpx.AsyncClient, local_system: LocalSystem) -> PostgrestUserStores:
    """The tables through the Data API."""
    return PostgrestUserStores(http, local_system.supabase_url, local_system.publishable_key)


@pytest.fixture
def adas(stores: PostgrestUserStores, ada: Person) -> PostgrestUserStore:
    """The tables as Ada sees them."""
    return stores.for_caller(caller(ada))
