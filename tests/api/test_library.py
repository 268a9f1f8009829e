"""The library as the README shows it: an app opens the system once and hands over its signed-in supabase clients."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from supabase import AsyncClient, AsyncClientOptions, Client, acreate_client, create_client
from supabase_auth import AsyncMemoryStorage
from supabase_auth.types import Session, User

from supabase_integrations.configuration import Configuration
from supabase_integrations.core.credentials import ApiKeyCredentials
from supabase_integrations.core.errors import IntegrationNotFoundError, UnauthenticatedError
from supabase_integrations.core.models import ListQuery, ServiceType
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.integrations import Integrations, open_integrations
from tests import canaries
from tests.api.serve import settings_for
from tests.api.test_refresh import connect_scripted
from tests.local_system import LocalSystem
from tests.people import Person
from tests.scripted_service import Answer, ScriptedService

SESSION_KEY = "supabase.auth.token"
"""Where supabase-auth keeps the session in its storage."""
API_KEY = ApiKeyCredentials(SecretStr(canaries.API_KEY))

OpenClient = Callable[[Person | None], Awaitable[AsyncClient]]


@pytest.fixture
async def integrations(local_system: LocalSystem, local_environment: Mapping[str, str]) -> AsyncIterator[Integrations]:
    """The system, opened as an app does at its start."""
    configuration = Configuration.from_environment(settings_for(local_system, local_environment))
    async with open_integrations(configuration) as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The app's own connections to Supabase, which supabase-py's clients can share but do not close."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def open_client(local_system: LocalSystem, http: httpx.AsyncClient) -> OpenClient:
    """Makes supabase-py clients that find a person's session in their storage, as an app's does when it starts.

    Their own sign-in would parse the user, whose timestamps Supabase Lite writes in a form its models refuse.
    """

    async def make(person: Person | None) -> AsyncClient:
        storage = AsyncMemoryStorage()
        if person is not None:
            await storage.set_item(SESSION_KEY, session_of(person).model_dump_json())
        options = AsyncClientOptions(storage=storage, auto_refresh_token=False, httpx_client=http)
        return await acreate_client(local_system.supabase_url, local_system.publishable_key, options)

    return make


def session_of(person: Person) -> Session:
    """What supabase-auth would keep after this person's sign-in."""
    now = datetime.now(UTC)
    user = User(id=person.user_id, app_metadata={}, user_metadata={}, aud="authenticated", created_at=now)
    return Session(
        access_token=person.access_token,
        refresh_token=canaries.REFRESH_TOKEN,
        expires_in=3600,
        expires_at=int((now + timedelta(hours=1)).timestamp()),
        token_type="bearer",
        user=user,
    )


async def test_a_users_connections_from_the_first_to_the_last(
    integrations: Integrations, open_client: OpenClient, ada: Person
) -> None:
    user = await integrations.for_client(await open_client(ada))
    created = await user.create("keyed", API_KEY, service_type=ServiceType.CONTENT, config={"note": "mine"})

    page = await user.list(ListQuery(limit=10))
    assert (page.integrations, page.next) == ((created,), None)
    assert str(created.user_id) == ada.user_id == str(user.caller.user_id)
    assert await user.get_integration_credentials(page.integrations[0].id) == API_KEY
    assert [event.event for event in await user.events(created.id)] == ["integration.created"]

    await user.delete(created.id)
    assert (await user.list(ListQuery())).integrations == ()
    with pytest.raises(IntegrationNotFoundError):
        await user.get_integration_credentials(created.id)


async def test_a_token_and_a_client_of_the_same_user_reach_the_same_rows(
    integrations: Integrations, open_client: OpenClient, ada: Person
) -> None:
    by_token = await integrations.for_token(ada.access_token)
    created = await by_token.create("keyed", API_KEY, service_type=None, config={})
    by_client = await integrations.for_client(await open_client(ada))
    assert await by_client.get(created.id) == created
    assert (await ada.http.get(f"/api/integrations/{created.id}")).json()["id"] == str(created.id)


async def test_a_user_calls_the_service_of_their_own_connection_alone(
    integrations: Integrations, ada: Person, mallory: Person, scripted: ScriptedService
) -> None:
    row = await connect_scripted(ada, scripted, expires_in=3600)
    scripted.scripts["/crm/v3/objects/contacts"] = lambda _: Answer.json({"results": [{"id": "1"}]})
    user = await integrations.for_token(ada.access_token)

    async with user.client(UUID(row["id"])) as api:
        reply = await api.get("/crm/v3/objects/contacts")

    assert reply.json() == {"results": [{"id": "1"}]}
    (asked,) = scripted.asked
    assert asked.headers["authorization"] == f"Bearer {canaries.ACCESS_TOKEN}"
    foreign = await integrations.for_token(mallory.access_token)
    with pytest.raises(IntegrationNotFoundError):
        async with foreign.client(UUID(row["id"])):
            pass
    assert scripted.asked == [asked]


async def test_another_users_client_sees_and_reaches_nothing(
    integrations: Integrations, open_client: OpenClient, ada: Person, mallory: Person
) -> None:
    """Both at the same time, in one process, from clients that live side by side."""
    adas = await integrations.for_client(await open_client(ada))
    foreign = await integrations.for_client(await open_client(mallory))
    created = await adas.create("keyed", API_KEY, service_type=None, config={})

    assert (await foreign.list(ListQuery())).integrations == ()
    for reach in (foreign.get, foreign.get_integration_credentials, foreign.events, foreign.delete):
        with pytest.raises(IntegrationNotFoundError):
            await reach(created.id)
    assert (await adas.list(ListQuery())).integrations == (created,)


async def test_a_client_that_signed_out_is_refused(
    integrations: Integrations, open_client: OpenClient, ada: Person
) -> None:
    client = await open_client(ada)
    user = await integrations.for_client(client)
    await client.auth.sign_out()
    with pytest.raises(UnauthenticatedError) as refusal:
        await integrations.for_client(client)
    assert refusal.value.code == "session_ended"
    # What was made before the sign-out is refused where it matters.
    with pytest.raises(UnauthenticatedError) as refusal:
        await user.create("keyed", API_KEY, service_type=None, config={})
    assert refusal.value.code == "session_ended"


async def test_a_client_that_nobody_signed_in_to_is_refused(
    integrations: Integrations, open_client: OpenClient
) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await integrations.for_client(await open_client(None))
    assert refusal.value.code == "session_ended"


async def test_a_synchronous_client_is_refused_with_what_to_use_instead(
    integrations: Integrations, local_system: LocalSystem
) -> None:
    client: Client = create_client(local_system.supabase_url, local_system.publishable_key)
    with pytest.raises(TypeError, match="acreate_client"):
        await integrations.for_client(client)  # type: ignore[arg-type]
