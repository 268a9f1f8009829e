"""`integrations rotate-key` as an operator runs it: killed, interrupted, twice at once, beside a worker."""

import asyncio
import os
import re
import secrets
import signal
import time
from collections.abc import Iterable

import pytest

from supabase_integrations.core.associated_data import AssociatedData, Purpose
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef
from tests import canaries
from tests.scripted_service import Answer, Asked, ScriptedService
from tests.worker.gate import a_gate
from tests.worker.rotating import NEW_ID, NEW_KEY, OLD_ID, Rotating
from tests.worker.world import Workers

THIRD_KEY = "5ca1ab1e" * 8


def in_the_middle(tokens: Iterable[IntegrationRef]) -> IntegrationRef:
    """A row of the second of many batches of the first lane, which has the first half of all possible users."""
    return [ref for ref in sorted(tokens) if ref.user_id.int < 1 << 127][600]


async def until_nobody_is_connected(rotating: Rotating) -> None:
    """Wait for what a killed process had sent to end on the server."""
    deadline = time.monotonic() + 90
    while True:
        cursor = await rotating.world.fate.database.execute(
            "select from pg_stat_activity where datname = current_database() and usename = 'integrations_worker'"
        )
        if not await cursor.fetchall():
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def assert_all_tokens_are_there(rotating: Rotating, tokens: dict[IntegrationRef, str]) -> None:
    """Every row opens and holds what it held."""
    found = await rotating.read(list(tokens))
    assert {ref: row.refresh_token.get_secret_value() for ref, row in found.items()} == tokens


async def test_it_seals_everything_and_says_so(rotating: Rotating) -> None:
    tokens = await rotating.connect(7)
    status, said = await rotating.command()
    assert status == 0, said
    assert "Re-sealed 7 connections in " in said
    assert f"Nothing stored needs key {OLD_ID} any more" in said
    await assert_all_tokens_are_there(rotating, tokens)

    status, said = await rotating.command()
    assert (status, "Re-sealed 0 connections in " in said) == (0, True)


async def test_killed_between_lease_and_write_it_leaves_nothing_behind_and_goes_on(rotating: Rotating) -> None:
    tokens = await rotating.connect(300, each=30)
    async with a_gate(rotating.world, in_the_middle(tokens)) as gate:
        process = rotating.start()
        await gate.until_reached()
        counts = await rotating.counts()
        assert counts[NEW_ID] >= 500
        process.kill()
        await asyncio.to_thread(process.wait)
        await gate.open()
        await until_nobody_is_connected(rotating)

    sealed, counts = counts[NEW_ID], await rotating.counts()
    assert sealed < counts[NEW_ID] < len(tokens)
    assert [row for row in await rotating.rows() if row["refresh_lease_owner"]] == []
    await assert_all_tokens_are_there(rotating, tokens)

    status, said = await rotating.command()
    assert (status, f"Re-sealed {counts[OLD_ID]:,} connections in " in said) == (0, True), said
    assert {row["credential_version"] for row in await rotating.rows()} == {2}
    await assert_all_tokens_are_there(rotating, tokens)


async def test_interrupted_it_says_how_far_it_came(rotating: Rotating) -> None:
    tokens = await rotating.connect(300, each=30)
    async with a_gate(rotating.world, in_the_middle(tokens)) as gate:
        process = rotating.start()
        await gate.until_reached()
        process.send_signal(signal.SIGINT)
        await gate.open()
        said, _ = await asyncio.to_thread(process.communicate, timeout=90)

    assert process.returncode == 130, said
    assert "run it again to go on" in said
    assert "Traceback" not in said
    await until_nobody_is_connected(rotating)
    assert (await rotating.counts())[OLD_ID] > 0
    assert [row for row in await rotating.rows() if row["refresh_lease_owner"]] == []
    assert (await rotating.command())[0] == 0
    await assert_all_tokens_are_there(rotating, tokens)


async def test_two_at_once_share_the_work(rotating: Rotating) -> None:
    tokens = await rotating.connect(200, each=20)
    (first, _), (second, _) = await asyncio.gather(rotating.command(), rotating.command())
    assert (first, second) == (0, 0)
    assert {row["credential_version"] for row in await rotating.rows()} == {2}
    await assert_all_tokens_are_there(rotating, tokens)


async def test_refreshes_run_beside_it_and_no_token_is_lost(
    rotating: Rotating, service: ScriptedService, workers: Workers
) -> None:
    """The service hands out another refresh token each time: what it handed out last is what must be in the rows."""
    quiet = await rotating.connect(150, each=20)
    due = await rotating.connect(300, due=True)
    handed: dict[str, str] = {}

    def rotate_tokens(asked: Asked) -> Answer:
        spent, new = asked.form["refresh_token"], secrets.token_urlsafe(12)
        if spent in handed:
            return Answer.json({"error": "invalid_grant"}, status=400)
        handed[spent] = new
        return Answer.json(
            {"access_token": "renewed", "refresh_token": new, "token_type": "Bearer", "expires_in": 3600}, delay=0.02
        )

    service.scripts["/token"] = rotate_tokens
    keys = {"ENCRYPTION_KEY": NEW_KEY, "ENCRYPTION_KEYS_RETIRED": canaries.ENCRYPTION_KEY}
    worker, (status, said) = await asyncio.gather(workers.start(**keys), rotating.command())
    assert status == 0, said
    deadline = time.monotonic() + 180  # a lease that was lost on the way would last for 90 s
    while len(handed) < len(due):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    worker.signal()
    assert await worker.ended() == 0

    await assert_all_tokens_are_there(rotating, quiet | {ref: handed[token] for ref, token in due.items()})
    assert await rotating.counts() == {NEW_ID: len(quiet) + len(due)}
    assert {row["status"] for row in await rotating.rows()} == {"active"}


async def test_unreadable_rows_are_named_and_make_it_fail(rotating: Rotating) -> None:
    first, second, *_ = await rotating.connect(4)
    await rotating.world.fate.database.execute(
        "update public.integrations set credentials = %s where id = %s", ["v1.5ea1ed00." + "canary" * 9, first.id]
    )
    await rotating.world.fate.database.execute(
        "update public.integrations set credentials = overlay(credentials placing 'AAAAAA' from 60) where id = %s",
        [second.id],
    )
    status, said = await rotating.command()
    assert status == 1
    assert "Re-sealed 2 connections in " in said
    assert f"user_id={first.user_id} id={first.id} unknown_encryption_key" in said
    assert f"user_id={second.user_id} id={second.id} tampered_ciphertext" in said


async def test_status_counts_by_key_and_knows_which_are_here(rotating: Rotating) -> None:
    await rotating.connect(3)
    foreign, *_ = await rotating.connect(1)
    await rotating.world.fate.database.execute(
        "update public.integrations set credentials = %s where id = %s", ["v1.5ea1ed00." + "canary" * 9, foreign.id]
    )
    before = await rotating.rows()
    status, said = await rotating.command("--status")
    lines = re.findall(r"^ +([0-9a-f]{8}) +(\w[\w ]*?) +([\d,]+) +([\d,]+) +([\d,]+)", said, re.MULTILINE)
    assert status == 0
    assert lines == [
        (NEW_ID, "primary", "0", "0", "0"),
        (OLD_ID, "retired", "3", "0", "0"),
        ("5ea1ed00", "UNKNOWN here", "1", "0", "0"),
    ]
    assert await rotating.rows() == before


async def test_a_key_is_not_dropped_while_anything_needs_it(rotating: Rotating) -> None:
    tokens = await rotating.connect(2)
    status, said = await rotating.command("--drop", OLD_ID)
    assert (status, "2 connections" in said) == (1, True), said
    assert f"there is no journal in {rotating.state_dir / 'journal'}" in said
    assert (await rotating.command())[0] == 0

    (user, *_) = {ref.user_id for ref in tokens}
    flow = f"v1.{OLD_ID}." + "canary-" * 6
    await rotating.world.fate.database.execute(
        "insert into public.oauth_states (user_id, state_hash, flow) values (%s, %s, %s)", [user, "0" * 64, flow]
    )
    status, said = await rotating.command("--drop", OLD_ID)
    assert (status, "1 authorization under way" in said) == (1, True), said
    await rotating.world.fate.database.execute("update public.oauth_states set expires_at = now()")

    journal = rotating.state_dir / "journal"
    journal.mkdir()
    kept = Encryption(Keyring.from_hex(canaries.ENCRYPTION_KEY)).seal_bytes(b"x", AssociatedData(Purpose.JOURNAL))
    ref = next(iter(tokens))
    reply = journal / f"{ref.user_id}.{ref.id}.1.reply"
    reply.write_bytes(kept)
    status, said = await rotating.command("--drop", OLD_ID)
    assert (status, "1 reply in the journal" in said) == (1, True), said
    reply.unlink()

    status, said = await rotating.command("--drop", OLD_ID)
    assert status == 0, said
    assert f"Looked into the database and the journal in {journal}." in said
    assert "Other machines have journals of their own, which cannot be seen from here. Run this on each" in said
    assert f"Then remove {OLD_ID} from ENCRYPTION_KEYS_RETIRED" in said
    assert "ten minutes" in said


async def test_it_names_the_journal_that_it_looked_into_whatever_way_it_was_named(rotating: Rotating) -> None:
    """With another STATE_DIR than the servers' it would find nothing, and nobody could tell."""
    here = rotating.world_folder
    for arguments in (("--status",), ("--drop", OLD_ID)):
        _, said = await rotating.command(*arguments, STATE_DIR="elsewhere")
        assert f"there is no journal in {here / 'elsewhere' / 'journal'}." in said
        assert "Other machines have journals of their own" in said


async def test_files_that_are_no_replies_do_not_stop_it(rotating: Rotating) -> None:
    """Whoever can write into the directory cannot make the command hang or fail."""
    (ref,) = await rotating.connect(1)
    await rotating.world.fate.database.execute(
        "update public.integrations"
        " set refresh_lease_owner = gen_random_uuid(), refresh_lease_until = now() - interval '1 hour'"
    )
    journal = rotating.state_dir / "journal"
    journal.mkdir(parents=True)
    (journal / "notes.txt").write_text("hello")
    (journal / f"{ref.user_id}.{ref.id}.7.reply").symlink_to("/dev/zero")

    os.mkfifo(journal / f"{ref.user_id}.{ref.id}.8.reply")
    (journal / f"{ref.user_id}.{ref.id}.9.reply").write_bytes(b"abc")
    status, said = await rotating.command()
    assert (status, "Re-sealed 1 connection in " in said) == (0, True), said


@pytest.mark.parametrize(
    ("key_id", "words"),
    [
        (NEW_ID, "is the primary key"),
        ("01234567", "There is no key 01234567 here"),
        ("5ea1ed00", "not in this environment"),
    ],
)
async def test_other_keys_are_not_dropped(rotating: Rotating, key_id: str, words: str) -> None:
    (ref,) = await rotating.connect(1)
    await rotating.world.fate.database.execute(
        "update public.integrations set credentials = %s where id = %s", ["v1.5ea1ed00." + "canary" * 9, ref.id]
    )
    status, said = await rotating.command("--drop", key_id)
    assert (status, words in said) == (1, True), said


async def test_several_former_keys_are_rotated_in_one_run(rotating: Rotating) -> None:
    tokens = await rotating.connect(5)
    assert (await rotating.command())[0] == 0
    more = await rotating.connect(5)
    retired = f"{NEW_KEY},{canaries.ENCRYPTION_KEY}"
    status, said = await rotating.command(ENCRYPTION_KEY=THIRD_KEY, ENCRYPTION_KEYS_RETIRED=retired)
    assert (status, "Re-sealed 10 connections in " in said) == (0, True), said
    assert set(await rotating.counts()) == {Keyring.from_hex(THIRD_KEY).primary_id}
    assert len(tokens) + len(more) == len(await rotating.rows())


async def test_only_the_workers_role_may_rotate(rotating: Rotating) -> None:
    """A login that reads every row would reach rows of users that were not declared."""
    await rotating.connect(1)
    status, said = await rotating.command(WORKER_DATABASE_URL=rotating.world.cluster.url(rotating.world.database))
    assert (status, "must log in as integrations_worker" in said) == (1, True), said
    assert await rotating.counts() == {OLD_ID: 1}


async def test_a_setting_that_is_missing_is_named(rotating: Rotating) -> None:
    status, said = await rotating.command(ENCRYPTION_KEY="")
    assert (status, "ENCRYPTION_KEY" in said) == (1, True), said
    status, said = await rotating.command("--drop", "nonsense")
    assert status == 2
