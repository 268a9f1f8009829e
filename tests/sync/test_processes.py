"""Syncs by real processes: killed in the middle, shared, stopped, beside renewals, and from the command line."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from supabase_integrations.core.sync import SyncRef
from tests import canaries
from tests.scripted_service import Answer, Asked, ScriptedService
from tests.sync.conftest import Syncing
from tests.sync.contacts import ContactBook, people
from tests.worker.world import Workers

WORKER = {"SYNC_EVERY_MINUTES": "60"}


@pytest.fixture
async def syncers(syncing: Syncing, tmp_path: Path) -> AsyncIterator[Workers]:
    """Starts worker processes that sync; none is left at the end, and none has logged a secret or a record."""
    started = Workers({**syncing.environment, **WORKER}, tmp_path)
    yield started
    started.end()
    for secret in (*canaries.SECRETS, syncing.world.worker_password.get_secret_value(), "p7@example.com"):
        assert secret not in started.logged


@contextmanager
def held_at(cursor: str, book: ContactBook) -> Iterator[None]:
    """The page there does not come within the block; whoever waits for it is refused afterwards."""
    is_over = threading.Event()

    def hold(asked: Asked) -> Answer | None:
        if asked.query.get("cursor") != cursor or is_over.is_set():
            return None
        is_over.wait(60)
        return Answer(503)

    book.before = hold
    try:
        yield
    finally:
        is_over.set()


async def until_finished(syncing: Syncing, ref: SyncRef, seconds: float = 120) -> None:
    """Wait for the end of a run."""
    deadline = time.monotonic() + seconds
    while True:
        cursor = await syncing.cursor(ref)
        if cursor["synced_until"]:
            return
        assert time.monotonic() < deadline, cursor
        await asyncio.sleep(0.05)


async def test_a_killed_worker_is_followed_without_gaps_or_duplicates(
    syncing: Syncing, syncers: Workers, service: ScriptedService
) -> None:
    book = ContactBook(people(5000), page=100)
    service.scripts["/api/contacts"] = book
    (ref,) = await syncing.connect()
    await syncing.want(ref)
    with held_at("2500", book):
        first = await syncers.start()
        await syncing.until_stored(ref, 1500)
        first.signal(signal.SIGKILL)
        await first.ended()
    left = len(await syncing.records(ref))
    cursor = await syncing.cursor(ref)
    assert 1500 <= left <= 2500
    assert int(cursor["cursor"]) <= left
    await syncing.execute("update public.sync_cursors set lease_until = now(), next_run_at = now()")
    book.pages_given.clear()

    second = await syncers.start()
    await until_finished(syncing, ref)

    assert await syncing.records(ref) == {contact["id"]: contact for contact in book.contacts}
    assert book.pages_given[0] == cursor["cursor"]
    (finished,) = await second.until_logged("sync.finished")
    assert finished["removed"] == 0


async def test_a_stopped_worker_gives_its_sync_back_at_once(
    syncing: Syncing, syncers: Workers, service: ScriptedService
) -> None:
    book = ContactBook(people(5000), page=100)
    service.scripts["/api/contacts"] = book
    (ref,) = await syncing.connect()
    await syncing.want(ref)
    with held_at("2500", book):
        worker = await syncers.start()
        await syncing.until_stored(ref, 500)

        worker.signal()

        assert await worker.ended(50) == 0
    cursor = await syncing.cursor(ref)
    assert (cursor["lease_owner"], cursor["failures"]) == (None, 0)
    assert int(cursor["cursor"]) <= len(await syncing.records(ref)) <= 2500


async def test_two_workers_sync_each_connection_once(
    syncing: Syncing, syncers: Workers, service: ScriptedService
) -> None:
    book = ContactBook(people(200), page=100)
    all_slots = threading.Barrier(8, timeout=60)

    def when_both_are_busy(_: Asked) -> Answer | None:
        """Neither of them can sync everything while the other one has not looked yet."""
        if len(service.asked_for("/api/contacts")) <= 8:
            all_slots.wait()
        return None

    book.before = when_both_are_busy
    service.scripts["/api/contacts"] = book
    refs = await syncing.connect(12)
    both = await asyncio.gather(*(syncers.start(SYNC_CONCURRENCY="4") for _ in range(2)))
    await syncing.want(*refs)

    for ref in refs:
        await until_finished(syncing, ref)

    assert len(book.pages_given) == 24
    await both[0].until(lambda: sum(len(worker.lines("sync.finished")) for worker in both) >= 12)
    shares = [len(worker.lines("sync.finished")) for worker in both]
    assert sum(shares) == 12
    assert min(shares) >= 4


async def test_renewals_go_on_while_syncs_take_all_their_slots(
    syncing: Syncing, syncers: Workers, service: ScriptedService
) -> None:
    book, renewed = ContactBook(people(200), page=100), threading.Event()

    def wait(_: Asked) -> Answer | None:
        renewed.wait(60)
        return None

    book.before = wait
    service.scripts["/api/contacts"] = book
    await syncing.want(*await syncing.connect(6))
    worker = await syncers.start(SYNC_CONCURRENCY="4")
    await worker.until(lambda: len(service.asked_for("/api/contacts")) >= 4)
    try:
        await syncing.world.until_renewed(await syncing.world.connect(20))
        assert book.pages_given == []
    finally:
        renewed.set()


async def test_a_broken_service_ends_no_worker(syncing: Syncing, syncers: Workers, service: ScriptedService) -> None:
    service.scripts["/api/contacts"] = lambda _: Answer(200, b'{"contacts": [{"id": {}}], "next_cursor": 5}')
    bad, good = await syncing.connect(2)
    await syncing.want(bad)
    worker = await syncers.start()
    await until_finished(syncing, bad)
    assert (await worker.until_logged("sync.records_skipped"))[0]["reason"] == "no_id"

    service.scripts["/api/contacts"] = ContactBook(people(10))
    await syncing.want(good)
    await until_finished(syncing, good)
    assert len(await syncing.records(good)) == 10


async def test_a_worker_that_was_not_told_to_syncs_nothing(
    syncing: Syncing, workers: Workers, service: ScriptedService
) -> None:
    book = ContactBook(people(10))
    service.scripts["/api/contacts"] = book
    (ref,) = await syncing.connect()
    await syncing.want(ref)
    await workers.start()
    await syncing.world.until_renewed(await syncing.world.connect(1))
    await asyncio.sleep(1.5)
    assert book.pages_given == []


def run(syncing: Syncing, folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """`integrations sync …` without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "supabase_integrations", "sync", *arguments],
        env={**syncing.environment, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


async def test_the_command_syncs_and_says_what_it_did(
    syncing: Syncing, service: ScriptedService, tmp_path: Path
) -> None:
    service.scripts["/api/contacts"] = ContactBook([*people(1200), {"name": "nobody"}])
    (ref,) = await syncing.connect()
    arguments = (str(ref.integration.id), "contacts", "--user", str(ref.user_id))

    done = await asyncio.to_thread(run, syncing, tmp_path, *arguments)

    assert done.returncode == 0, done.stderr
    assert "Asked for everything: stored 1,200 records" in done.stdout
    assert "1 record could not be stored" in done.stdout
    assert '"reason":"no_id"' in done.stderr
    assert len(await syncing.records(ref)) == 1200
    for secret in canaries.SECRETS:
        assert secret not in done.stdout + done.stderr


async def test_the_command_refuses_what_it_cannot_find(
    syncing: Syncing, service: ScriptedService, tmp_path: Path
) -> None:
    service.scripts["/api/contacts"] = ContactBook(people(1))
    mine, theirs = await syncing.connect(2)
    for integration, user, resource, told in (
        (theirs.integration.id, mine.user_id, "contacts", f"`integrations explain {theirs.integration.id}`"),
        (uuid4(), mine.user_id, "contacts", "This user has no such connection"),
        (mine.integration.id, mine.user_id, "invoices", "It has: contacts."),
    ):
        done = await asyncio.to_thread(run, syncing, tmp_path, str(integration), resource, "--user", str(user))
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr
    assert await syncing.execute("select 1 from public.sync_cursors") == []


async def test_the_command_says_that_it_waits_for_the_database(syncing: Syncing, tmp_path: Path) -> None:
    """Half a minute without a word would look like a hang."""
    away = "postgresql://integrations_worker:canary@127.0.0.1:1/postgres"
    command = [sys.executable, "-m", "supabase_integrations", "sync", str(uuid4()), "contacts", "--user", str(uuid4())]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**syncing.environment, "WORKER_DATABASE_URL": away},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            first, second = [(await process.stdout.readline()).decode() for _ in range(2)]
    finally:
        process.send_signal(signal.SIGINT)
        said, errors = await process.communicate()
    assert "127.0.0.1:1/postgres cannot be reached" in first
    assert second == "Trying for half a minute.\n"
    assert said.decode() == "Stopped. What is stored stays: run it again to go on from there.\n"
    assert process.returncode == 130
    assert "canary" not in first
    assert errors == b""


async def test_the_command_waits_for_a_service_that_wants_it_to(
    syncing: Syncing, service: ScriptedService, tmp_path: Path
) -> None:
    book = ContactBook(people(200), page=100)
    # One more than a call is tried in all: the run pauses, and the next attempt is refused once.
    refusals = iter([Answer(429, headers={"retry-after": "1"})] * 5)
    book.before = lambda asked: next(refusals, None) if asked.query.get("cursor") else None
    service.scripts["/api/contacts"] = book
    (ref,) = await syncing.connect()
    arguments = (str(ref.integration.id), "contacts", "--user", str(ref.user_id))

    done = await asyncio.to_thread(run, syncing, tmp_path, *arguments)

    assert done.returncode == 0, done.stderr
    assert len(await syncing.records(ref)) == 200
