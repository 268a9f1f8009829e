"""The worker behind a pooler: in transaction mode, where each transaction has another session, and in session mode."""

import asyncio

from supabase_integrations.adapters.worker_pool import NOBODY, open_worker_pool
from supabase_integrations.adapters.worker_store import PostgresWorkerDatabase
from supabase_integrations.database_url import DatabaseUrl
from tests.scripted_service import ScriptedService
from tests.worker.poolers import a_pooler
from tests.worker.world import Workers, World


async def test_users_do_not_meet_on_the_sessions_of_a_transaction_mode_pooler(world: World) -> None:
    """Many connections of ours on two of the server's, interleaved, for different users."""
    refs = await world.connect(20)
    everything = "select to_json(id) from public.integrations"
    with a_pooler(world, "transaction", connections=2) as url:
        async with open_worker_pool(DatabaseUrl.parse(url), connections=10) as pool:
            worker = PostgresWorkerDatabase(pool)

            async def look(number: int) -> None:
                ref = refs[number % len(refs)]
                if number % 3 == 0:
                    assert await pool.values(NOBODY, everything) == []
                else:
                    assert (await worker.for_user(ref.user_id).get_sealed(ref.id)).integration.ref == ref

            await asyncio.gather(*(look(number) for number in range(300)))


async def test_a_worker_renews_through_a_transaction_mode_pooler(
    world: World, workers: Workers, service: ScriptedService
) -> None:
    """With announcements over a session of their own, and without any on the pooler."""
    refs = await world.connect(40)
    with a_pooler(world, "transaction", connections=2) as url:
        through_pooler = await workers.start(WORKER_DATABASE_URL=url, WORKER_LISTEN_URL=world.url())
        through_pooler_alone = await workers.start(WORKER_DATABASE_URL=url, WORKER_LISTEN_URL=url)

        await world.until_renewed(refs)

        assert len(service.asked_for("/token")) == 40
        for worker in (through_pooler, through_pooler_alone):
            worker.signal()
            assert await worker.ended() == 0


async def test_a_worker_hears_announcements_through_a_session_mode_pooler(world: World, workers: Workers) -> None:
    with a_pooler(world, "session", connections=10) as url:
        worker = await workers.start(WORKER_DATABASE_URL=url, WORKER_LISTEN_URL=url, WORKER_POLL_SECONDS="3600")
        await worker.until_logged("worker.listening")
        await world.until_quiet()
        refs = await world.connect(1)
        await world.fate.database.execute(
            "select pg_notify('integrations_due', ceil(extract(epoch from now()))::bigint::text)"
        )

        await world.until_renewed(refs)
