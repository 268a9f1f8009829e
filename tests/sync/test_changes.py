"""Runs that ask for what changed alone, between complete ones."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from supabase_integrations.clients import Listing
from supabase_integrations.clients.demo_crm import DemoCrm
from supabase_integrations.core.errors import (
    ServiceError,
)
from supabase_integrations.use_cases.integration_client import IntegrationClient
from supabase_integrations.use_cases.sync_resources import SyncResource
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations
from tests.scripted_service import Answer
from tests.sync.conftest import Door, Syncing
from tests.sync.contacts import ContactBook


@pytest.fixture
def asked_since() -> list[datetime | None]:
    """From when on changes were asked for."""
    return []


@pytest.fixture
async def changing(syncing: Syncing, asked_since: list[datetime | None]) -> AsyncIterator[Door]:
    """Contacts that can be asked for by when they changed."""

    def contacts(api: IntegrationClient, since: datetime | None) -> Listing:
        asked_since.append(since)
        return DemoCrm(api).contacts()

    resource = SyncResource(contacts, lambda record: record.get("id"), lists_changes=True)
    configuration = WorkerConfiguration.from_environment(syncing.environment)
    async with open_worker_integrations(configuration, resources={"demo_crm": {"contacts": resource}}) as system:
        yield Door(system)


async def test_between_complete_runs_only_changes_are_asked_for(
    syncing: Syncing, changing: Door, book: ContactBook, asked_since: list[datetime | None]
) -> None:
    (ref,) = await syncing.connect()
    await changing.sync(ref)
    first = await syncing.cursor(ref)
    book.contacts = [{"id": "7", "name": "Renamed"}]

    outcome = await changing.sync(ref)

    assert asked_since == [None, first["synced_until"] - timedelta(minutes=10)]
    assert (outcome.records, outcome.removed, outcome.complete) == (1, 0, False)
    assert len(await syncing.records(ref)) == 1203
    second = await syncing.cursor(ref)
    assert second["synced_until"] > first["synced_until"]
    assert second["complete_until"] == first["complete_until"]


async def test_a_day_later_everything_is_asked_for_and_what_is_gone_is_removed(
    syncing: Syncing, changing: Door, book: ContactBook, asked_since: list[datetime | None]
) -> None:
    (ref,) = await syncing.connect()
    await changing.sync(ref)
    await syncing.execute("update public.sync_cursors set complete_until = complete_until - interval '24 hours'")
    book.contacts = book.contacts[:10]

    assert (await changing.sync(ref)).removed == 1193
    assert asked_since == [None, None]


async def test_everything_is_asked_for_on_request_also_in_the_middle_of_a_run(
    syncing: Syncing, changing: Door, book: ContactBook, asked_since: list[datetime | None]
) -> None:
    (ref,) = await syncing.connect()
    await changing.sync(ref)
    book.before = lambda asked: Answer(418) if asked.query.get("cursor") == "600" else None
    with pytest.raises(ServiceError):
        await changing.sync(ref)
    book.before = None
    book.contacts = book.contacts[:700]

    outcome = await changing.sync(ref, everything=True)

    assert asked_since[-1] is None
    assert (outcome.records, outcome.removed) == (700, 503)


async def test_a_run_that_goes_on_asks_for_the_changes_it_began_with(
    syncing: Syncing, changing: Door, book: ContactBook, asked_since: list[datetime | None]
) -> None:
    (ref,) = await syncing.connect()
    await changing.sync(ref)
    book.before = lambda asked: Answer(418) if asked.query.get("cursor") == "600" else None
    with pytest.raises(ServiceError):
        await changing.sync(ref)
    book.before = None
    book.pages_given.clear()

    await changing.sync(ref)

    assert asked_since[1] == asked_since[2] is not None
    assert book.pages_given[0] == "600"
