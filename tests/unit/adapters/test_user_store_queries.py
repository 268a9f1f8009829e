"""What each method of the user store asks of the Data API, and what it makes of the reply."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from supabase_integrations.adapters.user_store import PostgrestUserStore
from supabase_integrations.core.errors import IntegrationBusyError
from supabase_integrations.core.models import (
    CredentialReplacement,
    IntegrationChanges,
    IntegrationStatus,
    ListOrder,
    ListPosition,
    ListQuery,
    ServiceType,
)
from tests.token_issuer import USER
from tests.unit.adapters.conftest import FakeProject, reply
from tests.unit.adapters.test_integration_rows import ID, ROW
from tests.unit.adapters.test_user_store import INTEGRATIONS, NEW, OWNER, REPLACEMENT, STATES
from tests.unit.fakes import START


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


async def test_each_list_is_asked_for_as_itself_however_often(store: PostgrestUserStore, project: FakeProject) -> None:
    for limit in (2, 3, 2):
        await store.list_integrations(ListQuery(limit=limit))
    first, second, third = (request.url for request in project.requests)
    assert (first.params["limit"], second.params["limit"]) == ("3", "4")
    assert third == first


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
        (
            IntegrationChanges(status=IntegrationStatus.REVOKED, error_code="revocation_failed"),
            {"status": "revoked", "last_error_code": "revocation_failed", "last_error_at": "now"},
        ),
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
    assert not {"display_name", "status", "config", "last_sync_at"} & body.keys()


async def test_new_credentials_may_bring_other_changes(store: PostgrestUserStore, project: FakeProject) -> None:
    project.answer(INTEGRATIONS, reply(200, [ROW]))
    renamed = CredentialReplacement(
        "v1.canary", (), None, None, display_name="Renamed", status=IntegrationStatus.ACTIVE, config={"a": 1}
    )
    await store.replace_credentials(ID, renamed, lease_owner=OWNER, seen_version=3)
    body = orjson.loads(project.requests[0].content)
    assert (body["display_name"], body["status"], body["config"]) == ("Renamed", "active", {"a": 1})


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
