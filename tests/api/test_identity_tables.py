"""The user store against the real Data API and the real rules of the database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from supabase_integrations.adapters.user_store import PostgrestUserStore, PostgrestUserStores
from supabase_integrations.core.errors import (
    ConfigurationError,
    DuplicateIntegrationError,
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    InvalidStateError,
    InvalidValueError,
    UnauthenticatedError,
)
from supabase_integrations.core.models import (
    Caller,
    CredentialReplacement,
    IntegrationChanges,
    IntegrationStatus,
    ListOrder,
    ListQuery,
    NewIntegration,
    ServiceType,
)
from supabase_integrations.core.secret import SecretStr
from tests.local_system import LocalSystem
from tests.people import Person, caller


def envelope() -> str:
    """The form that the database asks for; nothing here is opened."""
    return f"v1.0123abcd.{uuid4().hex}{uuid4().hex}"


def new_integration(**changes: object) -> NewIntegration:
    fields: dict[str, object] = {
        "id": uuid4(),
        "service_name": "demo_crm",
        "service_type": ServiceType.CRM,
        "external_account_id": uuid4().hex,
        "display_name": None,
        "envelope": envelope(),
        "config": {},
    }
    return NewIntegration(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
async def grace(local_system: LocalSystem) -> AsyncIterator[Person]:
    """A user for many small tests, who has something connected already."""
    person = await Person.sign_up(local_system)
    yield person
    await person.http.aclose()


@pytest.fixture
def graces(stores: PostgrestUserStores, grace: Person) -> PostgrestUserStore:
    return stores.for_caller(caller(grace))


@pytest.fixture
def mallorys(stores: PostgrestUserStores, mallory: Person) -> PostgrestUserStore:
    return stores.for_caller(caller(mallory))


async def test_a_connection_is_stored_read_changed_and_deleted_by_its_owner(
    adas: PostgrestUserStore, ada: Person
) -> None:
    new = new_integration(
        config={"shop": "ä.example"},
        scopes=("read", "write"),
        expires_at=datetime(2027, 1, 1, 0, 0, 0, 7, tzinfo=UTC),
    )
    stored = await adas.insert_integration(new)
    assert (stored.id, stored.user_id, stored.credential_version) == (new.id, UUID(ada.user_id), 1)
    assert (stored.config, stored.scopes, stored.expires_at) == (new.config, new.scopes, new.expires_at)
    assert await adas.get_integration(new.id) == stored
    assert (await adas.get_sealed(new.id)).envelope == new.envelope
    assert await adas.find_account("demo_crm", new.external_account_id) == stored

    paused = await adas.update_integration(new.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    assert paused.status is IntegrationStatus.INACTIVE
    events = await adas.list_events(new.id, before=None, limit=10)
    assert [event.event for event in events] == ["status.changed", "integration.created"]
    assert [event.event for event in await adas.list_events(new.id, before=events[0].id, limit=10)] == [
        "integration.created"
    ]

    await adas.delete_integration(new.id)
    with pytest.raises(IntegrationNotFoundError):
        await adas.get_integration(new.id)


async def test_a_stranger_meets_the_same_nothing_as_for_an_unknown_id(
    adas: PostgrestUserStore, mallorys: PostgrestUserStore
) -> None:
    theirs = (await adas.insert_integration(new_integration())).id
    paused = IntegrationChanges(status=IntegrationStatus.INACTIVE)
    for wanted in (theirs, uuid4()):
        attempts = [
            mallorys.get_integration(wanted),
            mallorys.get_sealed(wanted),
            mallorys.update_integration(wanted, paused),
            mallorys.take_lease(wanted, uuid4()),
            mallorys.insert_state(uuid4().hex * 2, envelope(), wanted),
            mallorys.delete_integration(wanted),
        ]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [IntegrationNotFoundError] * len(attempts)
    assert await mallorys.list_events(theirs, before=None, limit=10) == ()
    assert (await adas.get_integration(theirs)).status is IntegrationStatus.ACTIVE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service_name": "Not A Name"}, "service_name"),
        ({"envelope": "canary-plaintext"}, "credentials"),
        ({"config": {"text": "x" * 20_000}}, "config"),
        ({"display_name": "x" * 201}, "display_name"),
        ({"external_account_id": "x" * 256}, "external_account_id"),
        ({"expires_at": datetime(3001, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"scopes": ("two words",)}, "scopes"),
        ({"display_name": "nul \0"}, "body"),
    ],
)
async def test_what_a_rule_refuses_is_named_by_its_field(
    graces: PostgrestUserStore, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        await graces.insert_integration(new_integration(**changes))
    assert refusal.value.field == field
    assert "canary" not in str(refusal.value)


async def test_an_account_and_an_id_are_stored_once(adas: PostgrestUserStore) -> None:
    first = new_integration()
    await adas.insert_integration(first)
    for again in (
        new_integration(external_account_id=first.external_account_id),
        new_integration(id=first.id),
    ):
        with pytest.raises(DuplicateIntegrationError):
            await adas.insert_integration(again)


@pytest.mark.parametrize("account", ["a+b", "a,b", 'a"b(c)', "a&b=c%20", "ä é", "back\\slash", "eq.x"])
async def test_an_account_of_any_spelling_is_found_again(graces: PostgrestUserStore, account: str) -> None:
    stored = await graces.insert_integration(new_integration(external_account_id=account))
    assert await graces.find_account("demo_crm", account) == stored


@pytest.mark.parametrize("order", ListOrder)
async def test_pages_follow_each_other_without_gap_or_repetition(adas: PostgrestUserStore, order: ListOrder) -> None:
    stored = [(await adas.insert_integration(new_integration())).id for _ in range(7)]
    seen: list[UUID] = []
    query: ListQuery | None = ListQuery(order=order, limit=3)
    sizes = []
    while query:
        page = await adas.list_integrations(query)
        sizes.append(len(page.integrations))
        seen += [integration.id for integration in page.integrations]
        query = ListQuery(order=order, limit=3, after=page.next) if page.next else None
    assert sizes == [3, 3, 1]
    assert seen == (stored if order is ListOrder.OLDEST else stored[::-1])


async def test_filters_are_the_databases(adas: PostgrestUserStore) -> None:
    crm = await adas.insert_integration(new_integration())
    other = await adas.insert_integration(new_integration(service_name="keyed", service_type=ServiceType.CONTENT))
    paused = await adas.update_integration(other.id, IntegrationChanges(status=IntegrationStatus.INACTIVE))
    assert (await adas.list_integrations(ListQuery(service_type=ServiceType.CRM))).integrations == (crm,)
    assert (await adas.list_integrations(ListQuery(service_name="keyed"))).integrations == (paused,)
    inactive = ListQuery(status=IntegrationStatus.INACTIVE)
    assert (await adas.list_integrations(inactive)).integrations == (paused,)


async def test_credentials_change_hands_under_one_lease(adas: PostgrestUserStore) -> None:
    integration_id = (await adas.insert_integration(new_integration())).id
    mine, theirs = uuid4(), uuid4()
    sealed = await adas.take_lease(integration_id, mine)
    assert sealed.integration.refresh_lease_owner == mine
    again = await adas.take_lease(integration_id, mine)
    assert again.integration.refresh_lease_until == sealed.integration.refresh_lease_until
    with pytest.raises(IntegrationBusyError):
        await adas.take_lease(integration_id, theirs)

    renewed = CredentialReplacement(envelope(), ("read",), None, None, display_name="Renewed")
    for owner, version in ((theirs, 1), (mine, 2)):
        with pytest.raises(IntegrationBusyError):
            await adas.replace_credentials(integration_id, renewed, lease_owner=owner, seen_version=version)
    written = await adas.replace_credentials(integration_id, renewed, lease_owner=mine, seen_version=1)
    assert (written.credential_version, written.display_name) == (2, "Renewed")
    assert written.refresh_lease_owner is None
    assert written.last_refreshed_at is not None
    assert (await adas.get_sealed(integration_id)).envelope == renewed.envelope


async def test_a_lease_is_released_by_its_owner_alone(adas: PostgrestUserStore) -> None:
    integration_id = (await adas.insert_integration(new_integration())).id
    owner = uuid4()
    await adas.take_lease(integration_id, owner)
    await adas.release_lease(integration_id, uuid4())
    assert (await adas.get_integration(integration_id)).refresh_lease_owner == owner
    await adas.release_lease(integration_id, owner)
    assert (await adas.get_integration(integration_id)).refresh_lease_owner is None


async def test_of_fifty_takers_of_a_free_lease_one_gets_it(adas: PostgrestUserStore) -> None:
    integration_id = (await adas.insert_integration(new_integration())).id
    takers = [adas.take_lease(integration_id, uuid4()) for _ in range(50)]
    outcomes = await asyncio.gather(*takers, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 49
    assert {type(outcome) for outcome in refused} == {IntegrationBusyError}


async def test_a_state_is_consumed_once_by_the_user_who_inserted_it(
    adas: PostgrestUserStore, mallorys: PostgrestUserStore
) -> None:
    state_hash, flow = uuid4().hex * 2, envelope()
    await adas.insert_state(state_hash, flow, None)
    assert await mallorys.consume_state(state_hash) is None
    outcomes = await asyncio.gather(*[adas.consume_state(state_hash) for _ in range(20)])
    assert [outcome.flow for outcome in outcomes if outcome] == [flow]
    with pytest.raises(InvalidStateError):
        await adas.insert_state(state_hash, flow, None)


async def test_a_refused_token_key_or_address_is_told_apart(
    http: httpx.AsyncClient, local_system: LocalSystem, ada: Person
) -> None:
    url, key = local_system.supabase_url, local_system.publishable_key
    forged = Caller(UUID(ada.user_id), SecretStr(ada.access_token[:-4] + "AAAA"), datetime.now(UTC))
    attempts: list[tuple[PostgrestUserStores, Caller, type[IntegrationError]]] = [
        (PostgrestUserStores(http, url, key), forged, UnauthenticatedError),
        (PostgrestUserStores(http, url, "sb_publishable_wrong"), caller(ada), ConfigurationError),
    ]
    for stores, who, expected in attempts:
        with pytest.raises(expected):
            await stores.for_caller(who).list_integrations(ListQuery())
