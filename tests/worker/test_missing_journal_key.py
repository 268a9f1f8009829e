"""A new token waits in the journal under a key that is no longer here: nobody spends the old one again.

It ends well once the key is back. Where that is lost, so is the token: the file is removed, and the service asked.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.file_journal import FileJournal, open_file_journal
from supabase_integrations.adapters.journal_log import JournalLogger
from supabase_integrations.core.credentials import CredentialPayload
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.encryption_errors import UnknownKeyError
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.keyring import Keyring
from supabase_integrations.core.models import IntegrationRef, IntegrationStatus
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations
from tests import canaries
from tests.scripted_service import ScriptedService
from tests.worker.world import Workers, World

DROPPED_KEY = "d0" * 32
DROPPED = Keyring.from_hex(DROPPED_KEY)
KEPT = SecretStr("kept-in-the-journal")


@pytest.fixture
async def journal(workers: Workers) -> AsyncIterator[FileJournal]:
    """The workers' journal, as a process with another key has it."""
    state_dir = Path(workers.environment["STATE_DIR"])
    async with open_file_journal(state_dir, Encryption(DROPPED), SystemClock(), JournalLogger()) as opened:
        yield opened


@pytest.fixture
async def kept(world: World, journal: FileJournal) -> IntegrationRef:
    """A connection that is due, for which a reply came an hour ago."""
    (ref,) = await world.connect(1)
    (row,) = await world.read([ref])
    new = CredentialPayload("scripted", "", replace(row.credentials, refresh_token=KEPT))
    await journal.write(JournalEntry(ref, 1, uuid4(), new, None, datetime.now(UTC) - timedelta(hours=1)))
    return ref


async def test_the_worker_leaves_the_row_and_tells_until_the_key_is_back(
    world: World, workers: Workers, service: ScriptedService, kept: IntegrationRef
) -> None:
    others = await world.connect(2)
    worker = await workers.start()
    await world.until_renewed(others)
    (skipped,) = await worker.until_logged("credential.refresh_skipped")
    assert (skipped["integration_id"], skipped["code"]) == (str(kept.id), "unknown_encryption_key")
    (line,) = [line for line in worker.lines() if "journal.unreadable" in line["event"]]
    assert f"integration_id={kept.id} user_id={kept.user_id} version=1" in line["event"]

    (row,) = await world.read([kept])
    assert row.refresh_token.get_secret_value() == canaries.REFRESH_TOKEN
    found = row.integration
    assert (found.status, found.refresh_failures, found.credential_version) == (IntegrationStatus.ACTIVE, 0, 1)
    assert found.next_refresh_at is not None
    assert found.next_refresh_at > datetime.now(UTC) + timedelta(minutes=9)
    assert len(service.asked_for("/token")) == len(others)
    worker.signal()
    assert await worker.ended() == 0

    await workers.start(ENCRYPTION_KEYS_RETIRED=DROPPED_KEY)
    (row,) = await world.until_renewed([kept])
    assert row.refresh_token.get_secret_value() == KEPT.get_secret_value()
    assert len(service.asked_for("/token")) == len(others)


async def test_a_caller_hears_which_key_is_missing_until_the_file_is_removed(
    world: World, workers: Workers, service: ScriptedService, journal: FileJournal, kept: IntegrationRef
) -> None:
    configuration = WorkerConfiguration.from_environment(workers.environment)
    async with open_worker_integrations(configuration) as door:
        for _ in range(3):
            with pytest.raises(UnknownKeyError) as refused:
                await door.get_integration_credentials(kept.id, kept.user_id)
            assert refused.value.key_id == DROPPED.primary_id
        assert not service.asked

        (entry,) = await journal.entries()
        await journal.remove(entry)
        await door.get_integration_credentials(kept.id, kept.user_id)
    assert len(service.asked_for("/token")) == 1
