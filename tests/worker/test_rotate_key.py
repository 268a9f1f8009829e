"""Key rotation on a real Postgres, and what could lose a token in it: refreshes, old versions, users who are deleted
meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.file_journal import open_file_journal
from supabase_integrations.adapters.journal_log import JournalLogger
from supabase_integrations.adapters.key_rotation_store import PostgresKeyRotationDatabase
from supabase_integrations.adapters.worker_pool import open_worker_pool
from supabase_integrations.adapters.worker_store import PostgresCredentialStore, PostgresWorkerDatabase
from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import UnknownKeyError, WrongCredentialVersionError
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.key_rotation import ResealedRow, RotatingPage
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import CredentialReplacement, IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.credential_vault import CredentialVault
from tests import canaries
from tests.worker.rotating import NEW_ID, OLD_ID, Rotating
from tests.worker.world import World


@pytest.fixture
async def tables(rotating: Rotating) -> AsyncIterator[PostgresKeyRotationDatabase]:
    """The tables as the rotation reaches them."""
    async with rotating.database() as opened:
        yield opened


@pytest.fixture
async def worker(world: World) -> AsyncIterator[PostgresWorkerDatabase]:
    """The tables as a refresh in another process reaches them."""
    async with open_worker_pool(world.worker_database, connections=1) as pool:
        yield PostgresWorkerDatabase(pool)


class HurriedClock(SystemClock):
    """Runs `meanwhile` where the rotation waits, and lets half a minute pass there."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.pauses = 0

    def now(self) -> datetime:
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.pauses += 1
        self.ahead += timedelta(seconds=30)
        await self.meanwhile()

    async def meanwhile(self) -> None:
        """Nothing."""


async def renew(store: PostgresCredentialStore, ref: IntegrationRef, vault: CredentialVault, token: str) -> None:
    """What a refresh does once the service has answered with another refresh token."""
    now = datetime.now(UTC)
    credentials = OAuthCredentials(
        access_token=SecretStr("renewed"), issued_at=now, refresh_token=SecretStr(token), expires_at=now
    )
    payload = CredentialPayload("scripted", "", credentials)
    owner = uuid4()
    leased = await store.take_lease(ref.id, owner)
    envelope = vault.seal(
        payload,
        integration_id=ref.id,
        user_id=ref.user_id,
        credential_version=leased.integration.credential_version + 1,
    )
    await write(store, ref, envelope, owner, leased.integration.credential_version)


async def write(store: PostgresCredentialStore, ref: IntegrationRef, envelope: str, owner: UUID, seen: int) -> None:
    """The fenced write of a refresh."""
    replacement = CredentialReplacement(envelope=envelope, scopes=("read",), expires_at=None, next_refresh_at=None)
    await store.replace_credentials(ref.id, replacement, lease_owner=owner, seen_version=seen)


def old_vault() -> CredentialVault:
    """A service that still seals under the former key."""
    return CredentialVault(Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY)), SystemClock())


async def test_every_row_is_under_the_new_key_with_the_same_tokens(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    tokens = await rotating.connect(130, each=9)
    report = await rotating.run(tables)

    assert (report.resealed, report.unreadable, report.held) == (1_170, 0, 0)
    assert await rotating.counts() == {NEW_ID: 1_170}
    found = await rotating.read(list(tokens))
    assert {ref: row.refresh_token.get_secret_value() for ref, row in found.items()} == tokens
    assert (await rotating.run(tables)).resealed == 0


async def test_nothing_else_of_a_row_changes(rotating: Rotating, tables: PostgresKeyRotationDatabase) -> None:
    (ref,) = await rotating.connect(1)
    await rotating.world.fate.database.execute(
        "update public.integrations set status = 'error', last_error_code = 'invalid_client', refresh_failures = 3,"
        " last_error_at = now(), next_refresh_at = now() + interval '10 minutes', scopes = '{a,b}' where id = %s",
        [ref.id],
    )
    (before,) = await rotating.rows()
    await rotating.run(tables)
    (after,) = await rotating.rows()

    assert {name for name in before if before[name] != after[name]} == {
        "credentials",
        "credential_version",
        "key_id",
        "updated_at",
    }
    assert (after["credential_version"], after["refresh_lease_owner"]) == (2, None)


async def test_a_row_that_is_due_stays_so_for_the_worker(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    """The guard moves a leased row's schedule behind the lease; that must not be what is left of it."""
    await rotating.connect(3, due=True)
    await rotating.run(tables)
    for row in await rotating.rows():
        assert row["next_refresh_at"] <= datetime.now(UTC) + timedelta(seconds=31)


async def test_its_history_says_who_sealed_it(rotating: Rotating, tables: PostgresKeyRotationDatabase) -> None:
    (ref,) = await rotating.connect(1)
    await rotating.run(tables)
    cursor = await rotating.world.fate.database.execute(
        "select event, actor_role, changed_columns from public.integration_events where integration_id = %s", [ref.id]
    )
    assert await cursor.fetchall() == [
        {"event": "credentials.replaced", "actor_role": "integrations_worker", "changed_columns": ["credentials"]}
    ]


async def test_what_a_row_held_before_opens_nowhere_any_more(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    (ref,) = await rotating.connect(1)
    (before,) = await rotating.rows()
    await rotating.run(tables)
    await rotating.world.fate.database.execute(
        "update public.integrations set credentials = %s where id = %s", [before["credentials"], ref.id]
    )

    with pytest.raises(WrongCredentialVersionError):
        await rotating.read([ref])
    report = await rotating.run(tables)
    assert [(row.ref, row.reason) for row in report.unreadable_rows] == [(ref, "wrong_credential_version")]


async def test_the_former_key_alone_opens_nothing_any_more(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    (ref,) = await rotating.connect(1)
    await rotating.run(tables)
    with pytest.raises(UnknownKeyError):
        await rotating.world.read([ref])


async def test_a_refresh_that_holds_a_row_keeps_it_and_its_new_token_survives(
    rotating: Rotating, tables: PostgresKeyRotationDatabase, worker: PostgresWorkerDatabase
) -> None:
    held, *others = await rotating.connect(5)
    store, owner = worker.for_user(held.user_id), uuid4()
    seen = (await store.take_lease(held.id, owner)).integration.credential_version
    (row,) = await rotating.world.read([held])
    clock = HurriedClock()

    async def answered() -> None:
        """The service has answered meanwhile, and the refresh writes what it got, sealed under the former key."""
        counts = await rotating.counts()
        assert counts == {NEW_ID: len(others), OLD_ID: 1}
        new = replace(row.credentials, refresh_token=SecretStr("rotated-by-the-service"))
        payload = CredentialPayload("scripted", "", new)
        envelope = old_vault().seal(payload, integration_id=held.id, user_id=held.user_id, credential_version=seen + 1)
        await write(store, held, envelope, owner, seen)

    clock.meanwhile = answered  # type: ignore[method-assign]
    report = await rotating.run(tables, clock=clock)

    assert (report.resealed, report.held, clock.pauses) == (5, 0, 1)
    found = (await rotating.read([held]))[held]
    assert found.refresh_token.get_secret_value() == "rotated-by-the-service"
    assert (found.integration.credential_version, found.integration.refresh_lease_owner) == (3, None)
    assert await rotating.counts() == {NEW_ID: 5}


class Between(PostgresKeyRotationDatabase):
    """Does something between the reading of a batch and its writing, once."""

    something: Callable[[], Awaitable[None]] | None = None

    async def read_sealed_under(self, key_id: str, refs: Sequence[IntegrationRef]) -> RotatingPage:
        page = await super().read_sealed_under(key_id, refs)
        something, self.something = self.something, None
        if something:
            await something()
        return page


@pytest.fixture
async def between(rotating: Rotating) -> AsyncIterator[Between]:
    """A rotation that is interleaved with something."""
    async with open_worker_pool(rotating.world.worker_database, connections=2) as pool:
        yield Between(pool)


async def test_a_token_that_was_renewed_after_the_row_was_read_survives(
    rotating: Rotating, between: Between, worker: PostgresWorkerDatabase
) -> None:
    ref, *_ = await rotating.connect(1, each=3)  # of one user, and so read in one batch

    async def refresh() -> None:
        await renew(worker.for_user(ref.user_id), ref, old_vault(), "renewed-in-between")

    between.something = refresh
    report = await rotating.run(between, clock=HurriedClock())

    found = (await rotating.read([ref]))[ref]
    assert found.refresh_token.get_secret_value() == "renewed-in-between"
    assert (report.resealed, report.held, found.integration.credential_version) == (3, 0, 3)


async def test_a_lease_that_was_taken_after_the_row_was_read_is_respected(
    rotating: Rotating, between: Between, worker: PostgresWorkerDatabase
) -> None:
    (ref,) = await rotating.connect(1)
    store, owner = worker.for_user(ref.user_id), uuid4()
    clock = HurriedClock()

    async def lease() -> None:
        await store.take_lease(ref.id, owner)

    async def release() -> None:
        (row,) = await rotating.rows()
        assert (row["refresh_lease_owner"], row["credential_version"]) == (owner, 1)
        await store.release_lease(ref.id, owner)

    between.something = lease
    clock.meanwhile = release  # type: ignore[method-assign]
    assert (await rotating.run(between, clock=clock)).resealed == 1


async def test_a_backoff_that_was_recorded_after_the_row_was_read_is_not_undone(
    rotating: Rotating, between: Between, worker: PostgresWorkerDatabase
) -> None:
    (ref,) = await rotating.connect(1)
    store, owner = worker.for_user(ref.user_id), uuid4()
    later = datetime.now(UTC) + timedelta(minutes=50)

    async def back_off() -> None:
        await store.take_lease(ref.id, owner)
        await store.reschedule(ref.id, later, lease_owner=owner)

    between.something = back_off
    await rotating.run(between, clock=HurriedClock())
    (row,) = await rotating.rows()
    assert (row["key_id"], row["next_refresh_at"]) == (NEW_ID, later)


async def test_a_row_whose_new_token_is_in_the_journal_waits_for_its_replay(
    rotating: Rotating, tables: PostgresKeyRotationDatabase, worker: PostgresWorkerDatabase
) -> None:
    """A holder died after the service had answered. Sealing the spent token anew would fence the new one out."""
    ref, _ = await rotating.connect(2)
    (row,) = await rotating.world.read([ref])
    new = replace(row.credentials, refresh_token=SecretStr("kept-in-the-journal"))
    payload = CredentialPayload("scripted", "", new)
    owner, clock = uuid4(), HurriedClock()
    await worker.for_user(ref.user_id).take_lease(ref.id, owner)
    await rotating.world.fate.database.execute(
        "update public.integrations set refresh_lease_until = now() - interval '1 hour' where id = %s", [ref.id]
    )
    async with open_file_journal(
        rotating.state_dir, Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY)), SystemClock(), JournalLogger()
    ) as journal:
        entry = JournalEntry(ref, 1, owner, payload, None, datetime.now(UTC))
        await journal.write(entry)
        report = await rotating.run(tables, clock=clock)
        assert (report.resealed, report.held) == (1, 1)
        assert (await rotating.read([ref]))[ref].integration.credential_version == 1

        envelope = old_vault().seal(payload, integration_id=ref.id, user_id=ref.user_id, credential_version=2)
        await write(worker.for_user(ref.user_id), ref, envelope, owner, 1)
        await journal.remove(entry)
    assert (await rotating.run(tables, clock=clock)).resealed == 1
    assert (await rotating.read([ref]))[ref].refresh_token.get_secret_value() == "kept-in-the-journal"


async def test_a_lease_that_was_left_behind_long_ago_does_not_stand_in_the_way(
    rotating: Rotating, tables: PostgresKeyRotationDatabase, worker: PostgresWorkerDatabase
) -> None:
    (ref,) = await rotating.connect(1)
    await worker.for_user(ref.user_id).take_lease(ref.id, uuid4())
    await rotating.world.fate.database.execute(
        "update public.integrations set refresh_lease_until = now() - interval '29 s'"
    )
    assert (await rotating.run(tables, clock=HurriedClock())).held == 1
    await rotating.world.fate.database.execute(
        "update public.integrations set refresh_lease_until = now() - interval '31 s'"
    )
    assert (await rotating.run(tables)).resealed == 1


async def test_rows_that_do_not_open_are_listed_and_all_others_rotated(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    tokens = await rotating.connect(6)
    moved, tampered, foreign, *good = tokens
    envelopes = {row["id"]: row["credentials"] for row in await rotating.rows()}
    last = envelopes[tampered.id][-6:]
    put = {
        moved: envelopes[good[0].id],
        tampered: envelopes[tampered.id][:-6] + ("AAAAAA" if last != "AAAAAA" else "BBBBBB"),
        foreign: "v1.5ea1ed00." + "canary" * 9,
    }
    for ref, envelope in put.items():
        await rotating.world.fate.database.execute(
            "update public.integrations set credentials = %s where id = %s", [envelope, ref.id]
        )
    report = await rotating.run(tables)

    assert (report.resealed, report.unreadable) == (3, 3)
    assert {row.ref: row.reason for row in report.unreadable_rows} == {
        moved: "wrong_owner",
        tampered: "tampered_ciphertext",
        foreign: "unknown_encryption_key",
    }
    found = await rotating.read(good)
    assert all(found[ref].refresh_token.get_secret_value() == tokens[ref] for ref in good)
    for row in await rotating.rows():
        ref = IntegrationRef(row["user_id"], row["id"])
        if ref in put:
            assert (row["credentials"], row["credential_version"], row["refresh_lease_until"]) == (put[ref], 1, None)


async def test_the_largest_envelopes_are_read_a_few_megabytes_at_a_time(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    """500 rows of 64 KiB, which any two users can store, are not read at once."""
    refs = list(await rotating.connect(1, each=120))
    huge = f"v1.{OLD_ID}." + "A" * 65_000
    await rotating.world.fate.database.execute("update public.integrations set credentials = %s", [huge])
    page = await tables.read_sealed_under(OLD_ID, sorted(refs))
    assert 1 < len(page.rows) < 70
    assert page.position == page.rows[-1].ref
    assert (await rotating.run(tables)).unreadable == 120


async def test_users_who_are_deleted_meanwhile_are_deleted(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    """Deleting a user locks them and then their rows; a rotation that locked the other way round would deadlock."""
    tokens = await rotating.connect(300, each=5)
    users = sorted({ref.user_id for ref in tokens})
    url = rotating.world.cluster.url(rotating.world.database)

    async def delete_some() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as auth:
            for user in users[::3]:
                await auth.execute("delete from auth.users where id = %s", [user])

    await asyncio.gather(rotating.run(tables), delete_some())
    left = await rotating.rows()
    assert {row["user_id"] for row in left} == set(users) - set(users[::3])
    assert {row["key_id"] for row in left} == {NEW_ID}


async def test_two_rotations_at_once_seal_each_row_once(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    tokens = await rotating.connect(400, each=5)
    async with rotating.database() as other:
        first, second = await asyncio.gather(rotating.run(tables), rotating.run(other))
    assert first.resealed + second.resealed == 2_000
    assert {row["credential_version"] for row in await rotating.rows()} == {2}
    found = await rotating.read(list(tokens))
    assert {ref: row.refresh_token.get_secret_value() for ref, row in found.items()} == tokens


async def test_a_row_is_not_written_under_the_name_of_another_user(
    rotating: Rotating, tables: PostgresKeyRotationDatabase
) -> None:
    mine, theirs = sorted(await rotating.connect(2))
    envelope = f"v1.{NEW_ID}." + "x" * 60
    stolen = [
        ResealedRow(IntegrationRef(mine.user_id, theirs.id), 1, envelope, None),
        ResealedRow(IntegrationRef(uuid4(), mine.id), 1, envelope, None),
    ]
    assert await tables.write_resealed(stolen, uuid4()) == 0
    assert await rotating.counts() == {OLD_ID: 2}


async def test_an_old_version_is_not_written(rotating: Rotating, tables: PostgresKeyRotationDatabase) -> None:
    """What was read before another rotation came by."""
    (ref,) = await rotating.connect(1)
    page = await tables.read_sealed_under(OLD_ID, [ref])
    late = [ResealedRow(row.ref, row.version, row.envelope, row.next_refresh_at) for row in page.rows]
    await rotating.run(tables)
    assert await tables.write_resealed(late, uuid4()) == 0
    assert await rotating.counts() == {NEW_ID: 1}
