"""Batches over any pages, any bad records and a kill after any write: nothing is missing, nothing is said too early."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.errors import InvalidValueError
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.sync import SkipReason, SyncRecord, SyncRef, SyncState
from supabase_integrations.use_cases.sync import SyncOutcome
from supabase_integrations.use_cases.sync_batches import SyncBatches

REF = SyncRef(IntegrationRef(uuid4(), uuid4()), "contacts")
OWNER = uuid4()


class KilledError(Exception):
    """The process ends here."""


class Table:
    """Implements what batches need of `SyncStore`. Refuses bad records, and dies after so many writes."""

    def __init__(self, bad: set[str], writes: int) -> None:
        self.bad = bad
        self.writes = writes
        self.stored: set[str] = set()
        self.cursor: str | None = None
        self.skipped = 0

    async def write(
        self, ref: SyncRef, owner: UUID, records: Sequence[SyncRecord], *, cursor: str | None, skipped: int
    ) -> None:
        if self.writes == 0:
            raise KilledError
        ids = [record.external_id for record in records]
        assert len(set(ids)) == len(ids)
        assert len(ids) <= 500
        if self.bad & set(ids):
            raise InvalidValueError("data", "refused")
        self.writes -= 1
        self.stored |= set(ids)
        self.cursor = cursor
        self.skipped += skipped

    async def claim_due(self, limit: int, owner: UUID, served: Sequence[UUID]) -> tuple[SyncRef, ...]:
        raise NotImplementedError

    async def add(self, ref: SyncRef) -> None:
        raise NotImplementedError

    async def begin(self, ref: SyncRef, owner: UUID) -> SyncState:
        raise NotImplementedError

    async def keep(self, ref: SyncRef, owner: UUID) -> None:
        raise NotImplementedError

    async def start_run(self, ref: SyncRef, owner: UUID, changes_since: datetime | None) -> None:
        raise NotImplementedError

    async def remove_unseen(self, ref: SyncRef, owner: UUID, limit: int) -> int:
        raise NotImplementedError

    async def finish(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, complete: bool) -> None:
        raise NotImplementedError

    async def pause(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, error_code: str | None) -> None:
        raise NotImplementedError


class Quiet:
    """Counts what is told."""

    def __init__(self) -> None:
        self.told = 0

    def skipped(self, ref: SyncRef, reason: SkipReason, count: int) -> None:
        self.told += count

    def finished(self, ref: SyncRef, *, records: int, skipped: int, removed: int, complete: bool) -> None:
        raise NotImplementedError

    def paused(self, ref: SyncRef, *, records: int, wait: timedelta) -> None:
        raise NotImplementedError

    def failed(self, ref: SyncRef, code: str, *, retry_in: timedelta) -> None:
        raise NotImplementedError

    def database_away(self, code: str) -> None:
        raise NotImplementedError


async def copy(pages: Sequence[int], table: Table, log: Quiet) -> SyncOutcome:
    """Copy pages of these sizes, from where the table says."""
    outcome = SyncOutcome()
    batches = SyncBatches(table, REF, OWNER, log, outcome, cursor=table.cursor, stored=0)
    first = int(table.cursor or 0)
    for number in range(first, len(pages)):
        begin = sum(pages[:number])
        for record in range(begin, begin + pages[number]):
            await batches.add({"id": str(record)}, lambda found: found["id"])
        await batches.end_page(str(number + 1) if number + 1 < len(pages) else None)
    await batches.flush()
    return outcome


PAGES = st.lists(st.integers(0, 1200), min_size=1, max_size=6)


@given(PAGES, st.data())
async def test_whatever_is_before_the_cursor_is_stored_at_every_kill(pages: list[int], data: st.DataObject) -> None:
    total = sum(pages)
    bad = data.draw(st.sets(st.integers(0, max(total - 1, 0)).map(str), max_size=5))
    table, log = Table(bad, writes=data.draw(st.integers(0, 12))), Quiet()
    killed = False
    try:
        await copy(pages, table, log)
    except KilledError:
        killed = True
    before = {str(record) for record in range(sum(pages[: int(table.cursor or 0)]))}
    assert before - bad <= table.stored

    table.writes = 10_000
    outcome = await copy(pages, table, log)
    wanted = {str(record) for record in range(total)} - bad
    assert table.stored == wanted
    if not killed:
        assert outcome.records <= total
    assert log.told >= len(bad & {str(record) for record in range(total)})


async def test_a_batch_is_bounded_in_bytes_too() -> None:
    table, log = Table(set(), writes=100), Quiet()
    batches = SyncBatches(table, REF, OWNER, log, SyncOutcome(), cursor=None, stored=0)
    for number in range(40):
        await batches.add({"id": str(number), "notes": "n" * 200_000}, lambda found: found["id"])
    assert 15 <= len(table.stored) < 40


async def test_what_the_database_refuses_without_a_record_in_it_is_an_error() -> None:
    class Refusing(Table):
        async def write(
            self, ref: SyncRef, owner: UUID, records: Sequence[SyncRecord], *, cursor: str | None, skipped: int
        ) -> None:
            raise InvalidValueError("cursor", "refused")

    batches = SyncBatches(Refusing(set(), 1), REF, OWNER, Quiet(), SyncOutcome(), cursor=None, stored=0)
    await batches.end_page("x" * 20_000)
    with pytest.raises(InvalidValueError):
        await batches.flush()
