"""What the user store sends: one caller's token, no owner, no credentials unless asked for, and never twice."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import httpx
import pytest

from supabase_integrations.adapters.user_store import PostgrestUserStore, PostgrestUserStores
from supabase_integrations.core.errors import (
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
    ListQuery,
    NewIntegration,
    ServiceType,
)
from supabase_integrations.core.secret import SecretStr
from tests.token_issuer import PROJECT, PUBLISHABLE_KEY, USER
from tests.unit.adapters.conftest import FakeProject, reply
from tests.unit.adapters.test_integration_rows import ID, ROW
from tests.unit.fakes import START

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
        await asyncio.wait_for(call(store), 8)
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


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf")])
async def test_a_value_that_json_cannot_hold_is_refused_before_anything_is_sent(
    store: PostgrestUserStore, project: FakeProject, value: Any
) -> None:
    with pytest.raises(InvalidValueError):
        await store.update_integration(ID, IntegrationChanges(config={"value": value}))
    assert project.requests == []


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.find_account("demo_crm", "\ud800"),
        lambda store: store.list_integrations(ListQuery(service_name="\ud800")),
    ],
    ids=["account", "filter"],
)
async def test_text_that_is_not_unicode_is_refused_before_anything_is_sent(
    store: PostgrestUserStore, project: FakeProject, call: Call
) -> None:
    with pytest.raises(InvalidValueError):
        await call(store)
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
