"""Copying contacts into synced_records: what is stored, what is removed, and what interrupts it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest

from supabase_integrations.clients import Page
from supabase_integrations.core.errors import (
    EndlessListError,
    IntegrationNotFoundError,
    ServiceError,
    SyncTakenOverError,
    TooManyRecordsError,
    UnknownResourceError,
)
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.sync import SyncRef
from supabase_integrations.use_cases.sync_resources import SyncResource
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations
from tests import canaries
from tests.scripted_service import Answer, Asked, ScriptedService
from tests.sync.conftest import Door, Syncing
from tests.sync.contacts import ContactBook, Interruption, people


def slow_second_page(contacts: list[dict[str, Any]]) -> Interruption:
    """The second page comes after a second, and has these contacts."""
    last = Answer.json({"contacts": contacts, "next_cursor": None}, delay=1)
    return lambda asked: last if asked.query.get("cursor") else None


async def test_everything_is_stored_once_as_the_service_gave_it(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()

    outcome = await door.sync(ref)

    assert (outcome.records, outcome.skipped, outcome.removed, outcome.goes_on_in) == (1203, 0, 0, None)
    assert await syncing.records(ref) == {contact["id"]: contact for contact in book.contacts}
    cursor = await syncing.cursor(ref)
    assert (cursor["records"], cursor["cursor"], cursor["started_at"], cursor["lease_owner"]) == (
        1203,
        None,
        None,
        None,
    )
    assert cursor["complete_until"] == cursor["synced_until"]
    (row,) = await syncing.execute("select last_sync_at from public.integrations where id = %s", ref.integration.id)
    assert datetime.now(UTC) - row["last_sync_at"] < timedelta(minutes=5)


async def test_a_second_run_changes_what_changed_and_removes_what_is_gone(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    await door.sync(ref)
    book.contacts = [{**contact, "name": "Renamed"} for contact in book.contacts[3:]]

    outcome = await door.sync(ref)

    assert (outcome.records, outcome.removed) == (1200, 3)
    assert await syncing.records(ref) == {contact["id"]: contact for contact in book.contacts}


async def test_what_was_stored_of_others_stays(syncing: Syncing, door: Door, book: ContactBook) -> None:
    mine, theirs = await syncing.connect(2)
    await door.sync(theirs)
    await door.sync(mine)
    book.contacts = []
    assert (await door.sync(mine)).removed == 1203
    assert len(await syncing.records(theirs)) == 1203


async def test_a_run_that_broke_off_goes_on_where_it_was(syncing: Syncing, door: Door, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    book.before = lambda asked: Answer(418) if asked.query.get("cursor") == "1000" else None
    with pytest.raises(ServiceError):
        await door.sync(ref)
    assert len(await syncing.records(ref)) == 1000
    assert (await syncing.cursor(ref))["last_error_code"] == "service_error"
    book.before = None
    book.pages_given.clear()

    outcome = await door.sync(ref)

    assert book.pages_given[0] == "1000"
    assert (outcome.records, outcome.removed) == (203, 0)
    assert await syncing.records(ref) == {contact["id"]: contact for contact in book.contacts}
    assert (await syncing.cursor(ref))["failures"] == 0


async def test_a_clock_that_is_set_back_during_a_run_removes_nothing(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    await syncing.want(ref)
    await door.system.sync.attempt(ref, uuid4(), until=datetime.now(UTC))
    # As if the database's clock had been five minutes ahead until now.
    await syncing.execute("update public.sync_cursors set started_at = started_at + interval '5 minutes'")
    await syncing.execute("update public.synced_records set synced_at = synced_at + interval '5 minutes'")

    outcome = await door.sync(ref)

    assert (outcome.records, outcome.removed) == (1153, 0)
    assert await syncing.records(ref) == {contact["id"]: contact for contact in book.contacts}


async def test_a_cursor_that_the_service_forgot_begins_the_list_anew(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    book.before = lambda asked: Answer(418) if asked.query.get("cursor") == "1000" else None
    with pytest.raises(ServiceError):
        await door.sync(ref)
    book.before = lambda asked: Answer(400) if asked.query.get("cursor") == "1000" else None
    book.page = 300

    assert (await door.sync(ref)).goes_on_in is None
    assert len(await syncing.records(ref)) == 1203


async def test_failures_put_the_next_attempt_off_further_each_time(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    book.before = lambda _: Answer(403)
    waits = []
    for _ in range(3):
        with pytest.raises(ServiceError):
            await door.sync(ref)
        (row,) = await syncing.execute(
            "select round(extract(epoch from next_run_at - now()) / 60) as minutes, failures from public.sync_cursors"
        )
        waits.append((int(row["minutes"]), row["failures"]))
    assert waits == [(1, 1), (2, 2), (4, 3)]


async def test_a_429_is_waited_for_and_the_list_goes_on(syncing: Syncing, door: Door, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    refusals = iter([Answer(429, headers={"retry-after": "1"})])
    book.before = lambda asked: next(refusals, None) if asked.query.get("cursor") == "500" else None

    outcome = await door.sync(ref)

    assert outcome.records == 1203
    assert book.pages_given.count("500") == 1


async def test_a_long_429_pauses_the_run_and_keeps_what_was_gathered(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    book.before = lambda asked: (
        Answer(429, headers={"retry-after": "3600"}) if asked.query.get("cursor") == "100" else None
    )
    outcome = await door.sync(ref)
    assert outcome.goes_on_in is not None
    assert timedelta(minutes=59) < outcome.goes_on_in <= timedelta(minutes=61)
    assert len(await syncing.records(ref)) == 100
    cursor = await syncing.cursor(ref)
    assert (cursor["cursor"], cursor["failures"], cursor["lease_owner"]) == ("100", 0, None)


async def test_a_token_that_ends_on_the_way_is_renewed(
    syncing: Syncing, door: Door, book: ContactBook, service: ScriptedService
) -> None:
    (ref,) = await syncing.connect()
    issued: dict[str, float] = {}

    def issue(_: Asked) -> Answer:
        token = f"{canaries.ACCESS_TOKEN}-{len(issued)}"
        issued[token] = time.monotonic()
        return Answer.json({"access_token": token, "refresh_token": "r", "token_type": "Bearer", "expires_in": 4})

    def refuse_what_has_ended(asked: Asked) -> Answer | None:
        age = time.monotonic() - issued[asked.headers["authorization"].removeprefix("Bearer ")]
        time.sleep(0.2)
        return Answer(401) if age > 4 else None

    service.scripts["/token"] = issue
    book.before = refuse_what_has_ended

    assert (await door.sync(ref)).records == 1203
    assert len(issued) >= 2


async def test_only_one_syncs_a_resource_at_a_time(syncing: Syncing, door: Door, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    others_have_been_refused = threading.Event()

    def answer_then(_: Asked) -> Answer:
        others_have_been_refused.wait(60)
        return Answer.json({"contacts": [], "next_cursor": None})

    book.before = answer_then
    attempts = [asyncio.create_task(door.sync(ref)) for _ in range(3)]
    try:
        left = set(attempts)
        while len(left) > 1:
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        others_have_been_refused.set()
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["SyncBusyError", "SyncBusyError", "SyncOutcome"]


async def test_whoever_lost_the_lease_writes_nothing_more(syncing: Syncing, door: Door, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    book.page = 500
    book.before = slow_second_page(people(600)[500:])
    attempt = asyncio.create_task(door.sync(ref))
    await syncing.until_stored(ref, 1)
    await syncing.execute("update public.sync_cursors set lease_owner = %s", uuid4())

    with pytest.raises(SyncTakenOverError):
        await attempt

    assert len(await syncing.records(ref)) == 500


async def test_a_sync_that_its_owner_ends_stops(syncing: Syncing, door: Door, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    book.page = 500
    book.before = slow_second_page([])
    attempt = asyncio.create_task(door.sync(ref))
    await syncing.until_stored(ref, 1)
    await syncing.execute("delete from public.sync_cursors")
    with pytest.raises(SyncTakenOverError):
        await attempt


async def test_a_connection_deleted_on_the_way_ends_the_sync_and_leaves_nothing(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    book.page = 500
    book.before = slow_second_page(people(9))
    attempt = asyncio.create_task(door.sync(ref))
    await syncing.until_stored(ref, 1)
    await syncing.execute("set session_replication_role = origin")
    await syncing.execute("delete from public.integrations where id = %s", ref.integration.id)
    with pytest.raises(SyncTakenOverError):
        await attempt
    assert await syncing.records(ref) == {}


async def test_another_users_connection_is_not_found(syncing: Syncing, door: Door, book: ContactBook) -> None:
    mine, theirs = await syncing.connect(2)
    crossed = SyncRef(IntegrationRef(mine.user_id, theirs.integration.id), "contacts")
    with pytest.raises(IntegrationNotFoundError):
        await door.sync(crossed)
    assert book.pages_given == []


async def test_an_unknown_resource_is_told_and_not_asked_for(syncing: Syncing, door: Door, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    with pytest.raises(UnknownResourceError, match="It has: contacts"):
        await door.sync(SyncRef(ref.integration, "invoices"))
    assert book.pages_given == []


async def test_no_more_is_copied_than_the_operator_allows(syncing: Syncing, book: ContactBook) -> None:
    (ref,) = await syncing.connect()
    environment = {**syncing.environment, "SYNC_MAX_RECORDS": "600"}
    async with open_worker_integrations(WorkerConfiguration.from_environment(environment)) as system:
        with pytest.raises(TooManyRecordsError):
            await Door(system).sync(ref)
    assert 600 < len(await syncing.records(ref)) <= 1100


async def test_pages_that_go_round_in_circles_end_the_attempt_and_the_next_one_begins_the_list_anew(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    """What was there before stays, for nobody knows whether it is gone."""
    (ref,) = await syncing.connect()
    await door.sync(ref)
    back = Answer.json({"contacts": book.contacts[:50], "next_cursor": "50"})
    book.before = lambda asked: back if asked.query.get("cursor") == "150" else None
    book.pages_given.clear()
    with pytest.raises(EndlessListError):
        await door.sync(ref)
    assert len(book.pages_given) < 12
    cursor = await syncing.cursor(ref)
    assert (cursor["last_error_code"], cursor["cursor"], cursor["failures"]) == ("endless_list", None, 1)
    assert len(await syncing.records(ref)) == 1203

    book.before = None
    book.pages_given.clear()
    outcome = await door.sync(ref)
    assert (outcome.records, outcome.removed, book.pages_given[0]) == (1203, 0, "")


async def test_such_pages_of_a_resource_of_the_operators_own_are_noticed_too(
    syncing: Syncing, book: ContactBook
) -> None:
    """Its list may be anything that has pages, and keeps no watch itself."""

    class Circle:
        async def pages(self, after: str | None = None) -> AsyncIterator[Page]:
            for cursor in cycle("abc"):
                yield Page(({"id": cursor},), cursor)

    (ref,) = await syncing.connect()
    circle = SyncResource(lambda _api, _since: Circle(), lambda record: record["id"])
    configuration = WorkerConfiguration.from_environment(syncing.environment)
    async with open_worker_integrations(configuration, resources={"demo_crm": {"contacts": circle}}) as system:
        with pytest.raises(EndlessListError):
            await Door(system).sync(ref)
    assert (await syncing.cursor(ref))["last_error_code"] == "endless_list"


async def test_an_attempt_whose_time_is_up_gives_others_their_turn_and_goes_on_later(
    syncing: Syncing, door: Door, book: ContactBook
) -> None:
    (ref,) = await syncing.connect()
    await syncing.want(ref)
    attempts = 0
    while True:
        attempts += 1
        outcome = await door.system.sync.attempt(ref, uuid4(), until=datetime.now(UTC))
        if outcome.goes_on_in is None:
            break
        assert outcome.goes_on_in == timedelta(0)
        assert (await syncing.cursor(ref))["lease_owner"] is None
    assert attempts == 25
    assert await syncing.records(ref) == {contact["id"]: contact for contact in book.contacts}
