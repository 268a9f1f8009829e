"""Lists of which the service refuses a part: nothing that was stored of it is taken for gone."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from supabase_integrations.cli.sync_output import SyncOutput
from supabase_integrations.clients.nested import Nested
from supabase_integrations.clients.paging import Listing, Page, objects_at, text
from supabase_integrations.core.errors import ServiceError
from supabase_integrations.use_cases.integration_client import IntegrationClient
from supabase_integrations.use_cases.sync import SyncOutcome
from supabase_integrations.use_cases.sync_resources import SyncResource
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations
from tests.scripted_service import Answer, Asked, ScriptedService
from tests.sync.conftest import Door, Syncing


class Accounts:
    """Answers GET /api/contacts?account=…: each account has so many contacts, in pages of two."""

    def __init__(self) -> None:
        self.sizes = {"a": 4, "b": 4, "c": 4}
        self.refused: set[str] = set()

    def __call__(self, asked: Asked) -> Answer:
        """One page of one account."""
        account, start = asked.query["account"], int(asked.query.get("cursor", "0"))
        if account in self.refused:
            return Answer(403)
        ids = [f"{account}{number}" for number in range(self.sizes[account])]
        more = str(start + 2) if start + 2 < len(ids) else None
        return Answer.json({"contacts": [{"id": name} for name in ids[start : start + 2]], "next_cursor": more})


def contacts(api: IntegrationClient, _since: datetime | None) -> Nested:
    """The contacts of all accounts."""

    async def accounts() -> Iterable[str]:
        return "abc"

    def of_account(account: str) -> Listing:
        async def fetch(cursor: str | None) -> Page:
            params = {"account": account} | ({"cursor": cursor} if cursor else {})
            found = (await api.get("/api/contacts", params=params)).json()
            return Page(objects_at(found, "contacts"), text(found, "next_cursor") or None)

        return Listing(fetch)

    return Nested(accounts, of_account)


@pytest.fixture
def accounts(service: ScriptedService) -> Accounts:
    """Three of them."""
    accounts = Accounts()
    service.scripts["/api/contacts"] = accounts
    return accounts


@pytest.fixture
async def door(syncing: Syncing) -> AsyncIterator[Door]:
    """Opened with that list."""
    resources = {"demo_crm": {"contacts": SyncResource(contacts, lambda record: record.get("id"))}}
    configuration = WorkerConfiguration.from_environment(syncing.environment)
    async with open_worker_integrations(configuration, resources=resources) as system:
        yield Door(system)


@pytest.mark.parametrize("refused", ["a", "b", "c", "ab", "bc", "ac"])
async def test_what_is_in_a_refused_part_stays(syncing: Syncing, door: Door, accounts: Accounts, refused: str) -> None:
    (ref,) = await syncing.connect()
    await door.sync(ref)
    before = await syncing.cursor(ref)
    accounts.refused = set(refused)

    outcome = await door.sync(ref)

    assert (outcome.complete, outcome.is_partial, outcome.removed) == (True, True, 0)
    assert len(await syncing.records(ref)) == 12
    after = await syncing.cursor(ref)
    assert after["synced_until"] > before["synced_until"]
    assert after["complete_until"] == before["complete_until"]


async def test_what_is_gone_is_removed_by_the_next_run_that_reads_everything(
    syncing: Syncing, door: Door, accounts: Accounts
) -> None:
    (ref,) = await syncing.connect()
    await door.sync(ref)
    accounts.sizes["b"] = 3
    accounts.refused = {"a"}
    assert (await door.sync(ref)).removed == 0
    accounts.refused = set()

    outcome = await door.sync(ref)

    assert (outcome.is_partial, outcome.removed) == (False, 1)
    assert "b3" not in await syncing.records(ref)
    cursor = await syncing.cursor(ref)
    assert cursor["complete_until"] == cursor["synced_until"]


@pytest.mark.parametrize("refused", ["a", "b", "c"])
async def test_a_run_of_many_attempts_remembers_what_was_refused_in_one_of_them(
    syncing: Syncing, door: Door, accounts: Accounts, refused: str
) -> None:
    """Each attempt reads one page, and the account is open again from the attempt on that has passed it over."""
    (ref,) = await syncing.connect()
    await door.sync(ref)
    accounts.refused = {refused}
    removed = attempts = 0
    goes_on_in: timedelta | None = timedelta(0)
    while goes_on_in is not None:
        outcome = await door.system.sync.attempt(ref, uuid4(), until=datetime.now(UTC))
        attempts, removed, goes_on_in = attempts + 1, removed + outcome.removed, outcome.goes_on_in
        if outcome.is_partial:
            accounts.refused = set()
    assert (attempts > 2, removed, outcome.is_partial) == (True, 0, True)
    assert len(await syncing.records(ref)) == 12


async def test_where_every_part_is_refused_the_attempt_fails(syncing: Syncing, door: Door, accounts: Accounts) -> None:
    (ref,) = await syncing.connect()
    await door.sync(ref)
    accounts.refused = set("abc")
    with pytest.raises(ServiceError):
        await door.sync(ref)
    assert len(await syncing.records(ref)) == 12


@pytest.mark.parametrize("is_partial", [True, False])
def test_the_command_says_so(capsys: pytest.CaptureFixture[str], is_partial: bool) -> None:
    SyncOutput().finished(SyncOutcome(records=7, is_partial=is_partial))
    assert ("The service refused a part of it." in capsys.readouterr().out) is is_partial
