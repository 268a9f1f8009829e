"""The database goes away under a worker and comes back: nobody restarts the worker, nothing is lost or done twice."""

import asyncio
import signal
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from tests import canaries
from tests.scripted_service import Answer, Asked, ScriptedService, tokens
from tests.storms.database import Database, running_database
from tests.storms.rows import fate_at
from tests.worker.world import Workers, environment_of_a_worker

THROW_AWAY = {"fsync": "off"}


async def connect(database: Database, encryption: Encryption, count: int) -> list[IntegrationRef]:
    users = [uuid4() for _ in range(count)]
    async with fate_at(database.superuser_url, encryption) as fate:
        await fate.sign_up(users)
        return await fate.connect("scripted", [(user, SecretStr(canaries.REFRESH_TOKEN)) for user in users])


async def versions(
    database: Database, encryption: Encryption, catalogue: Catalogue, refs: list[IntegrationRef]
) -> set[int]:
    async with fate_at(database.superuser_url, encryption) as fate:
        return {row.integration.credential_version for row in (await fate.read(refs, catalogue)).values()}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
async def test_an_outage_under_renewals_is_waited_out(
    tmp_path: Path, service: ScriptedService, encryption: Encryption, catalogue: Catalogue, stop: signal.Signals
) -> None:
    good = tokens(Asked("POST", "/token", {}, {}, {}, b""))
    service.scripts["/token"] = lambda _: Answer(good.status, good.body, good.headers, delay=1.0)
    async with running_database(tmp_path, THROW_AWAY) as database:
        url = database.worker_url("outage")
        workers = Workers(environment_of_a_worker(url, service.url, tmp_path / "state"), tmp_path)
        try:
            before = await connect(database, encryption, 10)
            worker = await workers.start()
            await worker.until(lambda: len(service.asked_for("/token")) == 10)

            # The service answers while the database is away.
            await database.outage(2.0, stop)

            after = await connect(database, encryption, 10)
            async with asyncio.timeout(120):
                while await versions(database, encryption, catalogue, [*before, *after]) != {2}:
                    assert worker.process.poll() is None, worker.log.read_text()
                    await asyncio.sleep(0.2)
            await worker.until_logged("worker.database_away")
            await worker.until_logged("worker.database_back")
            assert len(service.asked_for("/token")) == 20
            worker.signal()
            assert await worker.ended() == 0
        finally:
            workers.end()


async def test_leases_that_ended_during_an_outage_are_kept_for_a_moment_after_it(
    tmp_path: Path, encryption: Encryption
) -> None:
    """Whoever held them tries every few seconds to store what its journal has; a worker elsewhere must not be first."""
    async with running_database(tmp_path, THROW_AWAY) as database:
        await connect(database, encryption, 3)
        await database.outage(0.0)
        started_at = asyncio.get_running_loop().time()
        async with await psycopg.AsyncConnection.connect(database.superuser_url, autocommit=True) as fate:
            await fate.execute("update public.integrations set refresh_lease_owner = gen_random_uuid()")
            await fate.execute("set session_replication_role = replica")
            await fate.execute(
                "update public.integrations"
                " set refresh_lease_until = now() - interval '1 hour', next_refresh_at = now() - interval '1 hour'"
            )
            await fate.execute("set session_replication_role = origin")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await fate.execute("update public.integrations set refresh_lease_owner = gen_random_uuid()")
            assert await claimed(fate) == 0
            await asyncio.sleep(16 - (asyncio.get_running_loop().time() - started_at))
            assert await claimed(fate) == 3


async def claimed(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> object:
    """How many rows a worker gets."""
    cursor = await connection.execute(
        "select count(*) from integrations_private.claim_due_refreshes(10, gen_random_uuid())"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]
