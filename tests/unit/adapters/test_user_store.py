"""What the user store sends: one caller's token, no owner, no credentials unless asked for, and never twice."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import httpx
import orjson
import pytest

from supabase_integrations.adapters.user_store import PostgrestUserStore, PostgrestUserStores
from supabase_integrations.core.errors import (
    IntegrationBusyError,
    IntegrationNotFoundError,
    InvalidValueError,
    SchemaMissingError,
    StoreUnavailableError,
)
from supabase_integrations.core.models import (
    Caller,
    CredentialReplacement,
    IntegrationChanges,
    IntegrationStatus,
    ListOrder,
    ListPosition,
    ListQuery,
    NewIntegration,
    ServiceType,
)
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, USER
from tests.unit.adapters.conftest import FakeProject, reply
from tests.unit.adapters.test_integration_rows import ID, ROW
from tests.unit.fakes import START, FakeClock

OWNER = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
INTEGRATIONS = "/rest/v1/integrations"
STATES = "/rest/v1/oauth_states"
EVENTS = "/rest/v1/integration_events"
SEALED_ROW = ROW | {"credentials": "v1.canary"}
CALLER = Caller(USER, SecretStr("canary-token"), START + timedelta(hours=1))
NEW = NewIntegration(
    id=ID,
    service_name="demo_crm",
    service_type=ServiceType.CRM,
    external_account_id="account-1",
    display_name=None,
    envelope="v1.canary",
    config={"shop": "ä.example"},
    scopes=("read",),
    expires_at=datetime(2026, 11, 23, 8, 0, 0, 5, tzinfo=UTC),
)
REPLACEMENT = CredentialReplacement(envelope="v1.canary", scopes=("read",), expires_at=None, next_refresh_at=None)

Call: TypeAlias = Callable[[PostgrestUserStore], Awaitable[Any]]


@pytest.fixture
def store(http: httpx.AsyncClient, project: FakeProject, clock: FakeClock) -> PostgrestUserStore:
    for path in (INTEGRATIONS, STATES, EVENTS):
        project.answer(path, reply(200, []))
    return PostgrestUserStores(http, PROJECT, PUBLISHABLE_KEY, clock=clock).for_caller(CALLER)


EVERY_CALL: dict[str, Call] = {
    "list": lambda store: store.list_integrations(ListQuery()),
    "get": lambda store: store.get_integration(ID),
    "get sealed": lambda store: store.get_sealed(ID),
    "find": lambda store: store.find_account("demo_crm", "account-1"),
    "insert": lambda store: store.insert_integration(NEW),
    "update": lambda store: store.update_integration(ID, IntegrationChanges(status=IntegrationStatus.INACTIVE)),
    "delete": lambda store: store.delete_integration(ID),
    "take lease": lambda store: store.take_lease(ID, OWNER),
    "replace": lambda store: store.replace_credentials(ID, REPLACEMENT, lease_owner=OWNER, seen_version=3),
    "release": lambda store: store.release_lease(ID, OWNER),
    "insert state": lambda store: store.insert_state("a" * 64, "v1.canary", ID),
    "consume state": lambda store: store.consume_state("a" * 64),
    "events": lambda store: store.list_events(ID, before=None, limit=50),
}
every_call = pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL.keys())


@every_call
async def test_every_request_carries_the_callers_token_and_names_no_owner(
    store: PostgrestUserStore, project: FakeProject, call: Call
) -> None:
    await asyncio.gather(call(store), return_exceptions=True)
    (request,) = project.requests
    assert request.headers["authorization"] == "Bearer canary-token"
    assert request.headers["apikey"] == PUBLISHABLE_KEY
    assert "canary-token" not in str(request.url)
    assert "user_id" not in request.url.params.keys() - {"select"}
    assert b"user_id" not in request.content


@every_call
@pytest.mark.parametrize("status", [503, 520])
async def test_an_outage_is_told_at_once_and_nothing_is_sent_twice(
    store: PostgrestUserStore, project: FakeProject, call: Call, status: int
) -> None:
    for path in (INTEGRATIONS, STATES, EVENTS):
        project.answer(path, reply(status, {"message": "canary"}, retry_after="9"))
    with pytest.raises(StoreUnavailableError) as error:
        await asyncio.wait_for(call(store), 0.5)
    assert len(project.requests) == 1
    assert error.value.retry_after == timedelta(seconds=9)
    assert "canary" not in str(error.value)


@every_call
@pytest.mark.parametrize("failure", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
async def test_a_connection_that_fails_is_an_outage_too(
    store: PostgrestUserStore, project: FakeProject, call: Call, failure: Exception
) -> None:
    for path in (INTEGRATIONS, STATES, EVENTS):
        project.answer(path, failure)
    with pytest.raises(StoreUnavailableError):
        await call(store)
    assert len(project.requests) == 1


@every_call
async def test_a_success_that_is_no_list_of_rows_is_an_outage(
    store: PostgrestUserStore, project: FakeProject, call: Call
) -> None:
    for path in (INTEGRATIONS, STATES, EVENTS):
        project.answer(path, reply(200, b"<html>welcome</html>"))
    with pytest.raises(StoreUnavailableError):
        await call(store)


@pytest.mark.parametrize("call", ["list", "get", "get sealed", "find", "consume state", "events"])
async def test_a_row_that_this_release_does_not_understand_asks_for_the_migrations(
    store: PostgrestUserStore, project: FakeProject, call: str
) -> None:
    for path in (INTEGRATIONS, STATES, EVENTS):
        project.answer(path, reply(200, [{"id": "new"}]))
    with pytest.raises(SchemaMissingError, match="integrations migrate"):
        await EVERY_CALL[call](store)


@pytest.mark.parametrize("call", ["get", "get sealed", "insert", "update", "delete", "take lease"])
async def test_a_reply_without_rows_is_no_such_integration(
    store: PostgrestUserStore, project: FakeProject, call: str
) -> None:
    with pytest.raises(IntegrationNotFoundError):
        await EVERY_CALL[call](store)


@pytest.mark.parametrize("call", [name for name in EVERY_CALL if name not in ("get sealed", "take lease")])
async def test_the_envelope_comes_back_only_where_it_is_opened(
    store: PostgrestUserStore, project: FakeProject, call: str
) -> None:
    await asyncio.gather(EVERY_CALL[call](store), return_exceptions=True)
    asked = project.requests[0].url.params.get("select", "id").split(",")
    assert "credentials" not in asked
    assert "*" not in asked


@pytest.mark.parametrize("call", ["get sealed", "take lease"])
async def test_who_opens_the_envelope_gets_it(store: PostgrestUserStore, project: FakeProject, call: str) -> None:
    project.answer(INTEGRATIONS, reply(200, [SEALED_ROW]))
    sealed = await EVERY_CALL[call](store)
    assert sealed.envelope == "v1.canary"
    assert sealed.integration.id == ID


async def test_a_list_is_filtered_ordered_and_limited_by_the_database(
    store: PostgrestUserStore, project: FakeProject
) -> None:
    query = ListQuery(ServiceType.CRM, "demo_crm", IntegrationStatus.ACTIVE, limit=20)
    await store.list_integrations(query)
    params = project.requests[0].url.params
    assert params["service_type"] == "eq.crm"
    assert params["service_name"] == "eq.demo_crm"
    assert params["status"] == "eq.active"
    assert params["order"] == "created_at.desc,id.desc"
    assert params["limit"] == "21"
    assert "offset" not in params


@pytest.mark.parametrize(("rows", "shown", "has_next"), [(0, 0, False), (2, 2, False), (3, 2, True)])
async def test_a_page_tells_where_the_next_one_starts(
    store: PostgrestUserStore, project: FakeProject, rows: int, shown: int, has_next: bool
) -> None:
    found = [ROW | {"id": str(UUID(int=number))} for number in range(rows)]
    project.answer(INTEGRATIONS, reply(200, found))
    page = await store.list_integrations(ListQuery(limit=2))
    assert len(page.integrations) == shown
    last = page.integrations[-1] if has_next else None
    assert page.next == (last and ListPosition(last.created_at, last.id))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (ListOrder.NEWEST, ("lte", "created_at.lt.{0},id.lt.{1}", "created_at.desc,id.desc")),
        (ListOrder.OLDEST, ("gte", "created_at.gt.{0},id.gt.{1}", "created_at.asc,id.asc")),
    ],
)
async def test_the_next_page_goes_on_after_the_last_row(
    store: PostgrestUserStore, project: FakeProject, order: ListOrder, expected: tuple[str, str, str]
) -> None:
    moment = datetime(2026, 11, 23, 7, 49, 51, 169102, tzinfo=UTC).astimezone()
    await store.list_integrations(ListQuery(order=order, after=ListPosition(moment, ID)))
    params = project.requests[0].url.params
    operator, beyond, ordering = expected
    text = "2026-11-23T07:49:51.169102Z"
    assert params["created_at"] == f"{operator}.{text}"
    assert params["or"] == f"({beyond.format(text, ID)})"
    assert params["order"] == ordering
    assert b"+" not in project.requests[0].url.query


@pytest.mark.parametrize("account", ["a+b", "a,b", 'a"b', "a&b=c", "a(b)", "ä é", "100%", "a\\b", "eq.x"])
async def test_an_account_of_any_spelling_arrives_as_it_is(
    store: PostgrestUserStore, project: FakeProject, account: str
) -> None:
    project.answer(INTEGRATIONS, reply(200, [ROW]))
    assert await store.find_account("demo_crm", account) is not None
    assert project.requests[0].url.params["external_account_id"] == f"eq.{account}"


async def test_an_insert_holds_what_the_service_decides_and_nothing_else(
    store: PostgrestUserStore, project: FakeProject
) -> None:
    project.answer(INTEGRATIONS, reply(201, [ROW]))
    assert (await store.insert_integration(NEW)).id == ID
    assert orjson.loads(project.requests[0].content) == {
        "id": str(ID),
        "service_name": "demo_crm",
        "service_type": "crm",
        "external_account_id": "account-1",
        "display_name": None,
        "status": "active",
        "credentials": "v1.canary",
        "config": {"shop": "ä.example"},
        "scopes": ["read"],
        "expires_at": "2026-11-23T08:00:00.000005+00:00",
        "next_refresh_at": None,
    }


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        (IntegrationChanges(status=IntegrationStatus.INACTIVE), {"status": "inactive"}),
        (IntegrationChanges(config={}), {"config": {}}),
        (IntegrationChanges(last_sync_at=START), {"last_sync_at": "2026-01-02T03:04:05+00:00"}),
    ],
)
async def test_an_update_changes_what_it_names_of_one_row(
    store: PostgrestUserStore, project: FakeProject, changes: IntegrationChanges, body: dict[str, Any]
) -> None:
    project.answer(INTEGRATIONS, reply(200, [ROW]))
    await store.update_integration(ID, changes)
    (request,) = project.requests
    assert request.method == "PATCH"
    assert request.url.params["id"] == f"eq.{ID}"
    assert orjson.loads(request.content) == body


async def test_an_update_of_nothing_only_reads(store: PostgrestUserStore, project: FakeProject) -> None:
    project.answer(INTEGRATIONS, reply(200, [ROW]))
    assert (await store.update_integration(ID, IntegrationChanges())).id == ID
    assert project.requests[0].method == "GET"


async def test_new_credentials_are_written_under_the_lease_and_version_that_were_seen(
    store: PostgrestUserStore, project: FakeProject
) -> None:
    project.answer(INTEGRATIONS, reply(200, [ROW]))
    await store.replace_credentials(ID, REPLACEMENT, lease_owner=OWNER, seen_version=3)
    (request,) = project.requests
    filters = {name: value for name, value in request.url.params.items() if name != "select"}
    assert filters == {"id": f"eq.{ID}", "refresh_lease_owner": f"eq.{OWNER}", "credential_version": "eq.3"}
    body = orjson.loads(request.content)
    assert body["refresh_lease_owner"] is None
    assert body["credentials"] == "v1.canary"
    assert body["status"] == "active"
    assert "display_name" not in body


async def test_new_credentials_may_bring_a_new_name(store: PostgrestUserStore, project: FakeProject) -> None:
    project.answer(INTEGRATIONS, reply(200, [ROW]))
    named = CredentialReplacement("v1.canary", (), None, None, display_name="Renamed")
    await store.replace_credentials(ID, named, lease_owner=OWNER, seen_version=3)
    assert orjson.loads(project.requests[0].content)["display_name"] == "Renamed"


async def test_without_the_lease_nothing_is_written_and_the_row_is_busy(store: PostgrestUserStore) -> None:
    with pytest.raises(IntegrationBusyError):
        await store.replace_credentials(ID, REPLACEMENT, lease_owner=OWNER, seen_version=3)


async def test_a_lease_is_ended_by_its_owner_only_and_silently(store: PostgrestUserStore, project: FakeProject) -> None:
    project.answer(INTEGRATIONS, reply(204, b""))
    await store.release_lease(ID, OWNER)
    assert project.requests[0].url.params["refresh_lease_owner"] == f"eq.{OWNER}"
    assert orjson.loads(project.requests[0].content) == {"refresh_lease_owner": None}


async def test_a_state_is_consumed_by_one_deletion(store: PostgrestUserStore, project: FakeProject) -> None:
    row = {
        "user_id": str(USER),
        "state_hash": "a" * 64,
        "flow": "v1.canary",
        "integration_id": None,
        "expires_at": "2026-01-02 03:14:05+00",
    }
    project.answer(STATES, reply(200, [row]))
    consumed = await store.consume_state("a" * 64)
    assert consumed is not None
    assert consumed.flow == "v1.canary"
    assert [request.method for request in project.requests] == ["DELETE"]


async def test_an_unknown_state_is_none(store: PostgrestUserStore) -> None:
    assert await store.consume_state("a" * 64) is None


async def test_a_state_is_inserted_without_being_read_back(store: PostgrestUserStore, project: FakeProject) -> None:
    project.answer(STATES, reply(201, b""))
    await store.insert_state("a" * 64, "v1.canary", None)
    assert orjson.loads(project.requests[0].content) == {
        "state_hash": "a" * 64,
        "flow": "v1.canary",
        "integration_id": None,
    }
    assert project.requests[0].headers["prefer"] == "return=minimal"


async def test_older_events_are_asked_for_by_position(store: PostgrestUserStore, project: FakeProject) -> None:
    assert await store.list_events(ID, before=77, limit=10) == ()
    params = project.requests[0].url.params
    assert (params["integration_id"], params["id"]) == (f"eq.{ID}", "lt.77")
    assert (params["order"], params["limit"]) == ("id.desc", "10")


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf")])
async def test_a_value_that_json_cannot_hold_is_refused_before_anything_is_sent(
    store: PostgrestUserStore, project: FakeProject, value: Any
) -> None:
    with pytest.raises(InvalidValueError):
        await store.update_integration(ID, IntegrationChanges(config={"value": value}))
    assert project.requests == []


async def test_an_account_that_is_not_unicode_is_refused_before_anything_is_sent(
    store: PostgrestUserStore, project: FakeProject
) -> None:
    with pytest.raises(InvalidValueError):
        await store.find_account("demo_crm", "\ud800")
    assert project.requests == []


async def test_two_callers_stores_share_the_pool_and_nothing_else(
    http: httpx.AsyncClient, project: FakeProject
) -> None:
    project.answer(INTEGRATIONS, reply(200, [], set_cookie="identity=a; Path=/"))
    stores = PostgrestUserStores(http, PROJECT, PUBLISHABLE_KEY)
    first = stores.for_caller(CALLER)
    second = stores.for_caller(Caller(USER, SecretStr("canary-other"), CALLER.expires_at))
    for store in (first, second, first):
        await store.list_integrations(ListQuery())
    sent = [request.headers["authorization"] for request in project.requests]
    assert sent == ["Bearer canary-token", "Bearer canary-other", "Bearer canary-token"]
    assert not [request for request in project.requests if "cookie" in request.headers]
    assert "authorization" not in http.headers
