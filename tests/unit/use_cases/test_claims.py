"""The claiming loop: no row waits under its lease, no row ends the loop, and an outage is waited out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.errors import IntegrationError, SchemaMissingError, StoreUnavailableError
from supabase_integrations.core.models import (
    Integration,
    IntegrationRef,
    IntegrationStatus,
    SealedIntegration,
    ServiceType,
)
from supabase_integrations.port import CredentialStore, WorkerDatabase
from supabase_integrations.use_cases.claims import Claims
from supabase_integrations.use_cases.due_bell import DueBell
from supabase_integrations.use_cases.refresher import Refresher
from supabase_integrations.use_cases.worker import DRAIN_SECONDS, SideTaskEndedError, Worker, WorkerPlan
from tests.unit.virtual_time import LoopClock, in_virtual_time

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_row(ref: IntegrationRef) -> SealedIntegration:
    nothing = dict.fromkeys(
        (
            *("display_name", "expires_at", "last_refreshed_at", "last_sync_at", "last_error_code", "last_error_at"),
            *("refresh_lease_owner", "refresh_lease_until", "next_refresh_at"),
        )
    )
    return SealedIntegration(
        Integration(
            id=ref.id,
            user_id=ref.user_id,
            service_name="demo_crm",
            service_type=ServiceType.CRM,
            external_account_id="",
            status=IntegrationStatus.ACTIVE,
            credential_version=1,
            config={},
            scopes=(),
            refresh_failures=0,
            created_at=NOW,
            updated_at=NOW,
            **cast(dict[str, Any], nothing),
        ),
        None,
    )


@dataclass
class Queue:
    """Implements what the loop needs of `port.WorkerDatabase`: due rows, and failures to come."""

    due: list[IntegrationRef] = field(default_factory=list)
    claim_failures: list[IntegrationError] = field(default_factory=list)
    read_failures: list[IntegrationError] = field(default_factory=list)
    asked_for: list[int] = field(default_factory=list)
    served: list[Sequence[UUID]] = field(default_factory=list)
    purged: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim_due(self, limit: int, lease_owner: UUID, served: Sequence[UUID]) -> tuple[IntegrationRef, ...]:
        await asyncio.sleep(0)
        if self.claim_failures:
            raise self.claim_failures.pop(0)
        self.asked_for.append(limit)
        self.served.append(served)
        claimed, self.due = self.due[:limit], self.due[limit:]
        return tuple(claimed)

    async def get_many_sealed(self, refs: Sequence[IntegrationRef]) -> tuple[SealedIntegration, ...]:
        if self.read_failures:
            raise self.read_failures.pop(0)
        return tuple(map(a_row, refs))

    def for_user(self, user_id: UUID) -> CredentialStore:
        return cast(CredentialStore, user_id)

    async def purge_expired_states(self, limit: int) -> int:
        self.purged.set()
        return 0

    async def purge_old_events(self, older_than: timedelta, limit: int) -> int:
        return 0


@dataclass
class Renewals:
    """Stands in for the refresher: how many run at once, and how each ends."""

    seconds: float = 0.01
    ends: dict[UUID, Exception] = field(default_factory=dict)
    running: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    most: int = 0
    done: list[UUID] = field(default_factory=list)

    async def refresh_claimed(self, store: object, sealed: SealedIntegration, owner: UUID) -> None:
        assert store == sealed.integration.user_id
        self.running += 1
        self.begun.set()
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
            if sealed.integration.id in self.ends:
                raise self.ends[sealed.integration.id]
            self.done.append(sealed.integration.id)
        finally:
            self.running -= 1

    async def drain(self) -> None:
        pass


class Noted:
    """Implements `WorkerLog`: remembers which of its methods were called."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattr__(self, event: str) -> Any:
        return lambda *_, **__: self.events.append(event)


def refs(count: int) -> list[IntegrationRef]:
    return [IntegrationRef(uuid4(), uuid4()) for _ in range(count)]


def claims(queue: Queue, renewals: Renewals, log: Noted, *, concurrency: int = 4) -> Claims:
    clock = LoopClock()
    bell = DueBell(clock, timedelta(seconds=0.05))
    return Claims(
        cast(WorkerDatabase, queue),
        cast(Refresher, renewals),
        bell,
        clock,
        cast(Any, log),
        concurrency=concurrency,
    )


async def until_done(loop: Claims, renewals: Renewals, count: int) -> None:
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        while len(renewals.done) < count:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.005)
    loop.stop()
    await running
    await loop.drain()


@in_virtual_time
async def test_no_more_is_claimed_than_begins_at_once() -> None:
    queue, renewals = Queue(refs(50)), Renewals()

    await until_done(claims(queue, renewals, Noted()), renewals, 50)

    assert renewals.most == 4
    assert max(queue.asked_for) == 4


@in_virtual_time
async def test_freed_slots_are_gathered_into_few_claims() -> None:
    """Each claim looks through up to 5,000 rows."""
    queue, renewals = Queue(refs(200)), Renewals(seconds=0.002)

    await until_done(claims(queue, renewals, Noted(), concurrency=20), renewals, 200)

    assert len([asked for asked in queue.asked_for if asked < 10]) <= 2


@in_virtual_time
async def test_each_claim_says_whose_turns_it_was_as_far_back_as_the_longest_claim_goes() -> None:
    rows = refs(600)
    queue, renewals = Queue(list(rows)), Renewals()

    await until_done(claims(queue, renewals, Noted(), concurrency=1), renewals, 600)

    users = [row.user_id for row in rows]
    assert queue.served[:3] == [(), tuple(users[:1]), tuple(users[:2])]
    assert queue.served[599] == tuple(users[99:599])


@in_virtual_time
async def test_a_slot_that_is_freed_after_a_long_time_is_used() -> None:
    queue, renewals = Queue(refs(6)), Renewals(seconds=1)

    await until_done(claims(queue, renewals, Noted(), concurrency=2), renewals, 6)

    assert renewals.most == 2
    assert min(queue.asked_for) > 0  # asked for none, the database gives one


@in_virtual_time
async def test_a_stop_is_heard_while_every_slot_is_taken() -> None:
    renewals = Renewals(seconds=3600)
    loop = claims(Queue(refs(4)), renewals, Noted(), concurrency=2)
    running = asyncio.create_task(loop.run())
    await renewals.begun.wait()
    await asyncio.sleep(1)

    loop.stop()

    async with asyncio.timeout(1):
        await running
    assert loop.in_flight == 2


@in_virtual_time
async def test_one_row_that_fails_unforeseen_ends_nothing() -> None:
    due = refs(10)
    queue, log = Queue(list(due)), Noted()
    renewals = Renewals(ends={due[0].id: ZeroDivisionError(), due[5].id: StoreUnavailableError()})

    await until_done(claims(queue, renewals, log), renewals, 8)

    assert log.events.count("crashed") == 1


@in_virtual_time
async def test_an_outage_is_waited_out() -> None:
    queue, renewals, log = Queue(refs(3)), Renewals(), Noted()
    queue.claim_failures = [StoreUnavailableError(), StoreUnavailableError()]
    queue.read_failures = [StoreUnavailableError()]

    await until_done(claims(queue, renewals, log), renewals, 3)

    assert log.events.count("database_away") == 2
    assert log.events.count("database_back") == 1


@in_virtual_time
async def test_what_no_waiting_mends_is_raised() -> None:
    queue = Queue(claim_failures=[SchemaMissingError()])

    with pytest.raises(SchemaMissingError):
        await claims(queue, Renewals(), Noted()).run()


def worker(queue: Queue, renewals: Renewals, **side_tasks: Any) -> tuple[Worker, Noted]:
    log = Noted()
    plan = WorkerPlan(4, timedelta(seconds=0.05))
    made = Worker(
        plan,
        cast(WorkerDatabase, queue),
        cast(Refresher, renewals),
        LoopClock(),
        cast(Any, log),
        side_tasks=side_tasks,
    )
    return made, log


@in_virtual_time
async def test_a_part_that_ends_ends_the_worker_after_what_was_begun() -> None:
    queue, renewals = Queue(refs(2)), Renewals(seconds=0.3)

    async def dies() -> None:
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    async def returns() -> None:
        await asyncio.sleep(0.1)

    with pytest.raises(ZeroDivisionError):
        await worker(queue, renewals, part=dies)[0].run()
    assert len(renewals.done) == 2
    with pytest.raises(SideTaskEndedError, match="part"):
        await worker(Queue(), renewals, part=returns)[0].run()


@in_virtual_time
async def test_rows_of_a_claim_that_was_under_way_at_the_stop_are_renewed_first() -> None:
    """They are leased by then, and nobody else could take them over for a minute and a quarter."""
    queue, renewals = Queue(refs(3)), Renewals()
    claim_due, is_claiming, may_answer = queue.claim_due, asyncio.Event(), asyncio.Event()

    async def answer_late(limit: int, lease_owner: UUID, served: Sequence[UUID]) -> tuple[IntegrationRef, ...]:
        claimed = await claim_due(limit, lease_owner, served)
        is_claiming.set()
        await may_answer.wait()
        return claimed

    queue.claim_due = answer_late  # type: ignore[method-assign]
    made, _ = worker(queue, renewals)
    running = asyncio.create_task(made.run())
    await is_claiming.wait()
    made.stop()
    await asyncio.sleep(1)
    assert not running.done()
    may_answer.set()

    assert await running
    assert len(renewals.done) == 3


@in_virtual_time
async def test_a_stop_takes_no_longer_than_it_says_while_a_claim_hangs() -> None:
    """A supervisor kills it ten seconds later."""
    queue, renewals = Queue(refs(2)), Renewals(seconds=3600)
    made, log = worker(queue, renewals)
    running = asyncio.create_task(made.run())
    await renewals.begun.wait()

    async def hang(limit: int, lease_owner: UUID, served: Sequence[UUID]) -> tuple[IntegrationRef, ...]:
        await asyncio.Event().wait()
        return ()

    queue.claim_due = hang  # type: ignore[method-assign]
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    made.stop()

    assert not await running
    assert asyncio.get_running_loop().time() - began == pytest.approx(DRAIN_SECONDS, abs=0.1)
    assert log.events[-1] == "stopped"


@in_virtual_time
async def test_a_full_batch_of_expired_states_is_followed_by_another() -> None:
    queue, left = Queue(), [1000, 1000, 7, 1000]

    async def purge(limit: int) -> int:
        return left.pop(0)

    queue.purge_expired_states = purge  # type: ignore[method-assign]
    made, log = worker(queue, Renewals())
    running = asyncio.create_task(made.run())
    await asyncio.sleep(59)
    assert left == [1000]
    made.stop()
    await running
    assert log.events.count("purged") == 1


@in_virtual_time
async def test_totals_are_told_every_minute() -> None:
    made, log = worker(Queue(), Renewals())
    running = asyncio.create_task(made.run())
    await asyncio.sleep(121)
    made.stop()
    await running
    assert log.events.count("totals") == 2


@in_virtual_time
async def test_a_cancelled_worker_finishes_what_it_has_begun() -> None:
    """An app that runs it beside other things ends it so."""
    queue, renewals = Queue(refs(4)), Renewals(seconds=0.2)
    running = asyncio.create_task(worker(queue, renewals)[0].run())
    await renewals.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(renewals.done) == 4


@in_virtual_time
async def test_a_stopped_worker_has_finished_and_cleared_away() -> None:
    queue, renewals = Queue(refs(4)), Renewals(seconds=0.2)
    made, log = worker(queue, renewals)
    running = asyncio.create_task(made.run())
    await queue.purged.wait()
    await renewals.begun.wait()

    made.stop()

    assert await running
    assert len(renewals.done) == 4
    assert [log.events[0], *log.events[-2:]] == ["started", "stopping", "stopped"]
