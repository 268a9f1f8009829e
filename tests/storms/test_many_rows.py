"""Real workers on more due connections than they have slots: side by side, and beside a user who wants all of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import LiteralString
from uuid import UUID, uuid4

import pytest

from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.models import IntegrationRef
from supabase_integrations.core.secret import SecretStr
from tests.storms.database import Database
from tests.storms.fleet import Fleet, a_fleet
from tests.storms.grants import DemoClient
from tests.storms.rows import Fate, fate_at
from tests.storms.system import process_environment
from tests.storms.token_proxy import TokenProxy, Turn, digest, running_proxy
from tests.storms.waiting import until

SLOTS = 10
NOBODY = DemoClient("http://127.0.0.1:1", "canary-client", SecretStr("canary-client-secret-8c1f"), "http://127.0.0.1:1")

LEFT: LiteralString = (
    "select count(*) as rows from public.integrations where user_id = any(%s) and credential_version = 1"
)
ALWAYS_DUE: LiteralString = """
    update public.integrations set next_refresh_at = now() - interval '1 hour'
    where user_id = %s and refresh_lease_owner is null and next_refresh_at > now()
"""
DUE_NOW: LiteralString = "update public.integrations set next_refresh_at = now() where user_id = any(%s)"


async def new_tokens(turn: Turn) -> None:
    """Answer as a service that rotates does, without one behind it."""
    body = {"access_token": token_urlsafe(8), "refresh_token": token_urlsafe(8), "expires_in": 3600}
    await turn.answer(200, json.dumps(body).encode(), {"content-type": "application/json"})


@pytest.fixture
async def fate(database: Database, encryption: Encryption) -> AsyncIterator[Fate]:
    """Whoever may write anything into this test's tables."""
    async with fate_at(database.superuser_url, encryption) as opened:
        yield opened


@pytest.fixture
async def proxy() -> AsyncIterator[TokenProxy]:
    """A token endpoint with nothing behind it."""
    async with running_proxy(NOBODY.token_endpoint) as running:
        running.behaviour = new_tokens
        yield running


@pytest.fixture
async def fleet(database: Database, proxy: TokenProxy, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers with few slots."""

    def environment_of(name: str, state_dir: Path) -> Mapping[str, str]:
        settings = {
            "WORKER_DATABASE_URL": database.worker_url(name),
            "WORKER_CONCURRENCY": str(SLOTS),
            "WORKER_POLL_SECONDS": "1",
        }
        return process_environment(NOBODY, proxy.url(name), state_dir, settings)

    async with a_fleet(tmp_path, environment_of) as opened:
        yield opened


async def connected(fate: Fate, users: list[UUID], each: int, *, due: bool = True) -> dict[str, IntegrationRef]:
    """Users with connections whose tokens have expired; the rows by the digest of their refresh tokens."""
    grants = [(user, SecretStr(token_urlsafe(8))) for user in users for _ in range(each)]
    await fate.sign_up(users)
    refs = await fate.connect("stormy", grants, due=due)
    return {digest(token.get_secret_value()): ref for (_, token), ref in zip(grants, refs, strict=True)}


async def all_renewed(fate: Fate, users: list[UUID]) -> float:
    """Wait until all of the users' connections are renewed; how many seconds that took."""

    async def none_is_left() -> bool:
        found = await (await fate.database.execute(LEFT, [users])).fetchone()
        return found == {"rows": 0}

    return await until(none_is_left, seconds=120, what="all rows to be renewed")


async def test_two_workers_beside_each_other_renew_each_row_once(fate: Fate, fleet: Fleet, proxy: TokenProxy) -> None:
    users = [uuid4() for _ in range(60)]
    rows = await connected(fate, users, each=5, due=False)
    both_have_asked = asyncio.Event()

    async def after_a_moment(turn: Turn) -> None:
        """Neither of them can renew everything while the other one has not looked yet."""
        if {exchange.door for exchange in proxy.exchanges} == set(fleet.workers):
            both_have_asked.set()
        await asyncio.wait_for(both_have_asked.wait(), 20)
        await asyncio.sleep(0.1)
        await new_tokens(turn)

    async def both_work() -> bool:
        return fleet.logged("worker.started") == 2

    proxy.behaviour = after_a_moment
    await asyncio.gather(fleet.start(fleet.folder / "one"), fleet.start(fleet.folder / "two"))
    await until(both_work, seconds=120, what="both workers to start")
    await fate.database.execute(DUE_NOW, [users])
    await all_renewed(fate, users)
    assert {await worker.drain() for worker in fleet.living} == {0}
    assert sorted(exchange.spent for exchange in proxy.exchanges) == sorted(rows)
    assert {exchange.door for exchange in proxy.exchanges} == set(fleet.workers)


async def test_a_user_with_all_rows_always_due_delays_others_by_one_batch(
    fate: Fate, fleet: Fleet, proxy: TokenProxy
) -> None:
    """All of a hostile user's 200 rows are due for an hour, again and again, at a service that takes three seconds.

    In order of time they would come first: 20 batches, a minute of waiting. Others wait for slots of one batch.
    """
    batch_seconds = 3.0
    hostile, others = uuid4(), [uuid4() for _ in range(20)]
    hostile_rows = await connected(fate, [hostile], each=200)
    others_rows = await connected(fate, others, each=1, due=False)

    async def slow_for_one(turn: Turn) -> None:
        if turn.exchange.spent in others_rows:
            await new_tokens(turn)
        else:
            await asyncio.sleep(batch_seconds)
            await turn.answer(503)

    proxy.behaviour = slow_for_one

    async def insist() -> None:
        while True:
            await fate.database.execute(ALWAYS_DUE, [hostile])
            await asyncio.sleep(0.05)

    async def two_batches_begun() -> bool:
        return sum(exchange.spent in hostile_rows for exchange in proxy.exchanges) >= 2 * SLOTS

    insisting = asyncio.create_task(insist())
    try:
        await fleet.start(fleet.folder / "one")
        await until(two_batches_begun, seconds=120, what="the hostile user to take all slots twice")
        before = len(proxy.exchanges)
        await fate.database.execute(DUE_NOW, [others])
        seconds = await all_renewed(fate, others)
    finally:
        insisting.cancel()
    since = [exchange.spent in others_rows for exchange in proxy.exchanges[before:]]
    overtook = since[: len(since) - since[::-1].index(True)].count(False)
    print(f"20 users waited {seconds:.1f} s at most beside 200 rows that take {batch_seconds} s, {SLOTS} at a time")
    print(f"{overtook} of those began before the last of the 20")
    assert overtook <= SLOTS
