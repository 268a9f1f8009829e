"""Attempts at syncs over hours: leases that are kept, slots that are used, and errors that stay with their sync."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.errors import ServiceRateLimitedError, StoreUnavailableError, SyncTakenOverError
from supabase_integrations.core.json_types import JsonObject
from supabase_integrations.core.sync import SyncRef, SyncState
from supabase_integrations.use_cases.sync_job import SyncJob, SyncJobPlan
from tests.unit import virtual_time
from tests.unit.use_cases.syncing import MemoryStore, Service, Told, a_ref, sync_of
from tests.unit.virtual_time import LoopClock

PLAN = SyncJobPlan(concurrency=2, poll=timedelta(seconds=60))


async def run_for(job: SyncJob, seconds: float) -> None:
    """Let it work so long, and cancel it."""
    task = asyncio.create_task(job.run())
    await asyncio.sleep(seconds)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


def test_the_lease_is_kept_while_a_page_takes_its_time() -> None:
    store = MemoryStore()
    virtual_time.run(sync_of(Service(seconds=210), store, Told()).attempt(a_ref(), uuid4()))
    assert store.kept == 5


def test_no_more_are_under_way_than_planned_and_a_free_slot_is_used_at_once() -> None:
    store, service, log = MemoryStore(), Service(seconds=10), Told()
    store.due.extend(a_ref() for _ in range(7))
    job = SyncJob(PLAN, store, sync_of(service, store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 41))
    assert len(store.finished) == 7
    assert service.most_at_once == 2


def test_each_claim_says_whose_turns_it_was() -> None:
    store, log = MemoryStore(), Told()
    refs = [a_ref() for _ in range(4)]
    store.due.extend(refs)
    job = SyncJob(PLAN, store, sync_of(Service(seconds=10), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 25))
    assert store.served[0] == ()
    assert store.served[-1] == tuple(ref.user_id for ref in refs)


def test_nothing_is_asked_for_more_often_than_the_poll() -> None:
    store, log = MemoryStore(), Told()
    job = SyncJob(PLAN, store, sync_of(Service(), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 3601))
    assert store.claims == 61


def test_a_database_that_is_away_is_told_and_asked_again() -> None:
    store, log = MemoryStore(is_away=True), Told()
    store.due.append(a_ref())
    job = SyncJob(PLAN, store, sync_of(Service(), store, log), LoopClock(), log)

    async def main() -> None:
        task = asyncio.create_task(job.run())
        await asyncio.sleep(130)
        store.is_away = False
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.wait([task])

    virtual_time.run(main())
    assert log.away == 3
    assert len(store.finished) == 1


def test_an_error_that_nobody_foresaw_ends_its_attempt_alone() -> None:
    def broken(record: JsonObject) -> object:
        raise KeyError(record["id"])

    store, log = MemoryStore(), Told()
    good, bad = a_ref(), a_ref()
    store.due.append(bad)
    service = Service(id_of=broken)
    job = SyncJob(PLAN, store, sync_of(service, store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 1))
    assert log.failures == ["KeyError"]
    assert store.pauses == [(bad, timedelta(minutes=8), "internal_error")]
    store.due.append(good)
    virtual_time.run(run_for(SyncJob(PLAN, store, sync_of(Service(), store, log), LoopClock(), log), 1))
    assert store.finished == [good]


def test_a_page_that_never_ends_does_not_keep_its_slot() -> None:
    store, log, ref = MemoryStore(), Told(), a_ref()
    store.due.append(ref)
    job = SyncJob(PLAN, store, sync_of(Service(seconds=100_000), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 419))
    assert log.failures == []
    store.pauses.clear()
    store.due.append(ref)
    virtual_time.run(run_for(job, 421))
    assert log.failures == ["provider_unavailable"]
    assert store.pauses == [(ref, timedelta(minutes=8), "provider_unavailable")]


def test_a_page_may_take_longer_than_its_turn() -> None:
    store, log, ref = MemoryStore(), Told(), a_ref()
    store.due.append(ref)
    job = SyncJob(PLAN, store, sync_of(Service(seconds=400), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 421))
    assert (store.finished, log.failures) == ([ref], [])


@pytest.mark.parametrize(
    ("asked", "waited"), [(timedelta(days=9999), timedelta(days=1)), (timedelta(0), timedelta(minutes=1))]
)
def test_a_wait_that_nobody_can_mean_puts_off_a_run_for_a_day_at_most(asked: timedelta, waited: timedelta) -> None:
    store, log, ref = MemoryStore(), Told(), a_ref()
    service = Service(error=ServiceRateLimitedError(retry_after=asked))
    virtual_time.run(sync_of(service, store, log).attempt(ref, uuid4()))
    assert store.pauses == [(ref, waited, None)]


def test_a_stop_gives_back_what_is_under_way() -> None:
    store, log = MemoryStore(), Told()
    refs = [a_ref(), a_ref()]
    store.due.extend(refs)
    job = SyncJob(PLAN, store, sync_of(Service(seconds=100), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 5))
    assert set(store.pauses) == {(ref, timedelta(0), None) for ref in refs}
    assert store.finished == []


class Leasing(MemoryStore):
    """Answers after ten seconds, and has leased by then what it was asked for, whoever still listens."""

    async def claim_due(self, limit: int, owner: UUID, served: Sequence[UUID]) -> tuple[SyncRef, ...]:
        refs = await super().claim_due(limit, owner, served)
        await asyncio.sleep(10)
        return refs

    async def begin(self, ref: SyncRef, owner: UUID) -> SyncState:
        await asyncio.sleep(10)
        return await super().begin(ref, owner)


@pytest.mark.parametrize("seconds", [5, 15])
def test_a_stop_gives_back_what_is_just_being_claimed_or_begun(seconds: float) -> None:
    store, log = Leasing(), Told()
    refs = [a_ref(), a_ref()]
    store.due.extend(refs)
    job = SyncJob(PLAN, store, sync_of(Service(), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, seconds))
    assert sorted(store.pauses, key=str) == sorted([(ref, timedelta(0), None) for ref in refs], key=str)


def test_a_stop_while_the_database_goes_away_is_a_stop() -> None:
    class Leaving(Leasing):
        async def claim_due(self, limit: int, owner: UUID, served: Sequence[UUID]) -> tuple[SyncRef, ...]:
            await super().claim_due(limit, owner, served)
            raise StoreUnavailableError

    store, log = Leaving(), Told()
    job = SyncJob(PLAN, store, sync_of(Service(), store, log), LoopClock(), log)
    virtual_time.run(run_for(job, 5))
    assert (store.pauses, log.away) == ([], 0)


def test_a_lost_lease_is_neither_written_down_nor_given_back() -> None:
    store, log, ref = MemoryStore(), Told(), a_ref()
    store.lost.add(ref)
    with pytest.raises(SyncTakenOverError):
        virtual_time.run(sync_of(Service(), store, log).attempt(ref, uuid4()))
    assert (store.pauses, store.finished, log.failures) == ([], [], [])
