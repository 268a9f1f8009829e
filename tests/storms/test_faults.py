"""A thousand refreshes among services that fail, a database that goes away and workers that are killed, at a real OAuth
server that ends a connection when a refresh token comes a second time.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from uuid import uuid4

import httpx
import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.local.demo import DemoService
from supabase_integrations.local.processes import Processes
from supabase_integrations.local.state import StateDirectory
from tests.local_system import free_ports
from tests.storms.aftermath import TOKEN_SECONDS, Aftermath, aftermath
from tests.storms.database import Database
from tests.storms.faults import FaultyService
from tests.storms.fleet import a_fleet
from tests.storms.grants import DemoClient
from tests.storms.passing_time import passing_time
from tests.storms.rows import fate_at
from tests.storms.system import process_environment
from tests.storms.token_proxy import Exchange, digest, running_proxy
from tests.storms.turmoil import MACHINES, OUTAGES, Turmoil

CONNECTIONS = 100
BRIEF = "brief-canary"
SECRET = SecretStr("canary-client-secret")


@pytest.fixture(scope="module")
async def brief_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoClient]:
    """An OAuth server of this test's own, with a client whose access tokens live for two seconds."""
    state = StateDirectory(tmp_path_factory.mktemp("demo"))
    redirect_uri = "http://127.0.0.1:8000/api/integrations/oauth/callback"
    brief = {
        "client_id": BRIEF,
        "client_secret": SECRET.get_secret_value(),
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "access_token_seconds": TOKEN_SECONDS,
    }
    port = free_ports(1)[0]
    service = DemoService(port, SecretStr("unused"), SECRET, redirect_uri, state.demo_store, [brief])
    processes = Processes(state)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        await service.start(processes, http)
    yield DemoClient(service.url, BRIEF, SECRET, redirect_uri)
    await processes.stop_all()


@pytest.fixture
async def turmoil(
    tmp_path: Path, database: Database, brief_demo: DemoClient, encryption: Encryption
) -> AsyncIterator[Turmoil]:
    """A hundred expired connections of as many users, and three workers on two machines that renew them."""
    seed = int(os.environ.get("STORM_SEED") or 1)
    print(f"STORM_SEED={seed}")
    users = [uuid4() for _ in range(CONNECTIONS)]
    grants = await brief_demo.grants([str(user) for user in users])
    async with fate_at(database.superuser_url, encryption) as fate:
        await fate.sign_up(users)
        refs = await fate.connect("stormy", list(zip(users, grants, strict=True)))
    async with (
        running_proxy(brief_demo.token_endpoint) as proxy,
        passing_time(lambda: database.superuser_url) as clock,
    ):

        def environment_of(name: str, state_dir: Path) -> Mapping[str, str]:
            url = database.worker_url(name)
            settings = {"WORKER_DATABASE_URL": url, "WORKER_LISTEN_URL": url, "WORKER_CONCURRENCY": "4"}
            return process_environment(brief_demo, proxy.url(name), state_dir, settings)

        async with a_fleet(tmp_path, environment_of) as fleet:
            owners = {digest(grant.get_secret_value()): ref for grant, ref in zip(grants, refs, strict=True)}
            service = FaultyService(Random(seed), fleet, lambda: database.superuser_url, owners)
            proxy.behaviour = service.behave
            yield Turmoil(database, fleet, clock, proxy, service)


async def test_a_thousand_refreshes_lose_nothing_but_replies_in_killed_processes(
    turmoil: Turmoil, brief_demo: DemoClient, catalogue: Catalogue, encryption: Encryption
) -> None:
    for machine in MACHINES:
        await turmoil.fleet.start(turmoil.fleet.folder / machine)
    await turmoil.rage()
    turmoil.proxy.behaviour = turmoil.service.behave_well
    after = await aftermath(turmoil, brief_demo, catalogue, encryption)
    print(report(turmoil, after))

    assert after.dead == after.ended == frozenset(after.lost)
    assert after.unexplained == ()
    assert [exchange for exchange in turmoil.service.reached_the_write if exchange in after.lost.values()] == []
    assert set(after.handed_out.values()) == {True}
    assert len(after.handed_out) + len(after.dead) == CONNECTIONS
    assert turmoil.fleet.logged("credential.replayed")
    # Nobody asks without a lease, and no lease is given before its time: a wait is not shortened by anybody.
    asked = Counter(turmoil.service.owners[exchange.spent] for exchange in turmoil.proxy.exchanges)
    leases = await turmoil.time.leases()
    assert all(asked[ref] <= leases[ref] for ref in asked)
    assert await turmoil.time.early_leases() == []


def report(turmoil: Turmoil, after: Aftermath) -> str:
    """The figures of this run."""
    exchanges = turmoil.proxy.exchanges
    brought = sum(exchange.brought is not None for exchange in exchanges)
    killed = sum(worker.killed_at is not None for worker in turmoil.fleet.workers.values())
    had_arrived = sorted(lead for exchange in after.lost.values() if (lead := lead_of(turmoil, exchange)) > 0)
    faults = ", ".join(f"{count} {name}" for name, count in turmoil.service.happened.most_common())
    return (
        f"{len(exchanges)} token requests, {brought} new tokens, {len(OUTAGES)} outages, {killed} workers killed\n"
        f"{faults}\n"
        f"{len(turmoil.service.reached_the_write)} replies were being written by killed workers\n"
        f"{turmoil.fleet.logged('credential.replayed')} replies stored from a journal of a killed worker\n"
        f"{len(after.lost)} replies lost in killed workers, {len(after.dead)} connections dead\n"
        f"{len(had_arrived)} of them had been sent before, by ms: {[round(lead * 1000) for lead in had_arrived]}"
    )


def lead_of(turmoil: Turmoil, exchange: Exchange) -> float:
    """How many seconds before the death of who asked a reply had been handed to the kernel; negative where after it."""
    killed_at = turmoil.fleet.workers[exchange.door].killed_at
    return -1.0 if killed_at is None or exchange.replied_at is None else killed_at - exchange.replied_at
