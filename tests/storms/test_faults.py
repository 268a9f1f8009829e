"""A thousand refreshes among services that fail, a database that goes away and workers that are killed, at a real OAuth
server that ends a connection when a refresh token comes a second time.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import httpx
import pytest

from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.credentials import OAuthCredentials
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.errors import ReauthorizationRequiredError
from supabase_integrations.core.models import IntegrationRef, IntegrationStatus
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.local.demo import DemoService
from supabase_integrations.local.processes import Processes
from supabase_integrations.local.state import StateDirectory
from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations
from tests.local_system import free_ports
from tests.storms.database import Database
from tests.storms.faults import FaultyService
from tests.storms.fleet import Fleet, WorkerProcess, a_fleet
from tests.storms.grants import DemoClient
from tests.storms.passing_time import PassingTime, passing_time
from tests.storms.rows import fate_at
from tests.storms.system import process_environment
from tests.storms.token_proxy import TokenProxy, digest, running_proxy, well_behaved

CONNECTIONS = 100
REFRESHES = 1000
TOKEN_SECONDS = 2
OUTAGES = ((3.0, signal.SIGINT), (12.0, signal.SIGQUIT), (28.0, signal.SIGINT))
"""When the database stops, and how: politely, or as in a crash."""
OUTAGE_SECONDS = 5.0
LIMIT_SECONDS = 85.0
BRIEF = "brief-canary"
SECRET = SecretStr("canary-client-secret")
MACHINES = ("one", "one", "two")


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
    async with httpx.AsyncClient(trust_env=False) as http:
        await service.start(processes, http)
    yield DemoClient(service.url, BRIEF, SECRET, redirect_uri)
    await processes.stop_all()


@dataclass(slots=True)
class Turmoil:
    """What goes on during the test, and what is known of it from outside."""

    database: Database
    fleet: Fleet
    time: PassingTime
    proxy: TokenProxy
    service: FaultyService
    burials: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def rage(self) -> None:
        """Let everything happen until there were enough refreshes, and every journal is empty again."""
        began = time.monotonic()
        while True:
            elapsed = time.monotonic() - began
            while self.service.killed:
                self.burials.add(asyncio.create_task(self._bury(self.service.killed.pop())))
            calm = elapsed > OUTAGES[-1][0] + OUTAGE_SECONDS and not self.service.deaths and not self.kept()
            buried = all(burial.done() for burial in self.burials)
            if calm and buried and len(self.proxy.exchanges) >= REFRESHES:
                break
            assert elapsed < LIMIT_SECONDS, f"{len(self.proxy.exchanges)} refreshes, journals keep {len(self.kept())}"
            await asyncio.sleep(0.2)
        await asyncio.gather(*self.burials)

    async def outages(self) -> None:
        """Stop the database now and then."""
        began = time.monotonic()
        for at, request in OUTAGES:
            await asyncio.sleep(began + at - time.monotonic())
            await self.database.outage(OUTAGE_SECONDS, request)

    def kept(self) -> set[IntegrationRef]:
        """The rows for which the journal of a machine has a reply."""
        return set().union(*(kept_in(self.fleet.folder / machine) for machine in MACHINES))

    async def _bury(self, worker: WorkerProcess) -> None:
        """Start another one in its place, and let its leases end, as they would 75 s later.

        By then the journal of its machine has been replayed. A reply is not replayed before it is 20 s old, and that
        much of the time is real: its row keeps its lease until then.
        """
        await worker.child.wait()
        await self.fleet.start(worker.state_dir)
        held = await self.time.leased_by(worker.name)
        while held & kept_in(worker.state_dir):
            await self.time.end_leases(worker.name, held - kept_in(worker.state_dir))
            await asyncio.sleep(0.2)
        await self.time.end_leases(worker.name, held)


def kept_in(state_dir: Path) -> set[IntegrationRef]:
    """The rows that a journal has a reply for: the names of its files say which."""
    names = [path.name.split(".") for path in (state_dir / "journal").glob("*.reply")]
    return {IntegrationRef(UUID(name[0]), UUID(name[1])) for name in names}


@pytest.fixture
async def turmoil(
    tmp_path: Path, database: Database, brief_demo: DemoClient, encryption: Encryption
) -> AsyncIterator[Turmoil]:
    """A hundred expired connections of as many users, and three workers on two machines that renew them."""
    seed = int(os.environ.get("STORM_SEED") or Random().randrange(10**6))
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


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What became of every connection when all was quiet again."""

    lost: frozenset[IntegrationRef]
    """Counted at the service: it sent a refresh token that is in no row and that nobody ever came back with."""
    losers: frozenset[str]
    """The workers that such a reply was sent to."""
    dead: frozenset[IntegrationRef]
    """Counted in the table."""
    ended: frozenset[IntegrationRef]
    """Counted at the service: it would not accept what is in the row."""
    handed_out: Mapping[IntegrationRef, bool]
    """Whether the service accepts the access token that a caller was given at last."""


async def aftermath(turmoil: Turmoil, demo: DemoClient, catalogue: Catalogue, encryption: Encryption) -> Aftermath:
    """Refresh every connection once more, and compare the rows with what the service knows."""
    handed_out = await refreshed_once_more(turmoil, demo)
    async with fate_at(turmoil.database.superuser_url, encryption) as fate:
        rows = await fate.read(list(turmoil.service.owners.values()), catalogue)
    owners, presented = dict(turmoil.service.owners), {exchange.spent for exchange in turmoil.proxy.exchanges}
    current = {digest(row.refresh_token.get_secret_value()) for row in rows.values()}
    lost = []
    for exchange in turmoil.proxy.exchanges:
        if exchange.brought is None:
            continue
        owners[exchange.brought] = owners[exchange.spent]
        if exchange.brought not in presented | current:
            lost.append(exchange)
    alive = await asyncio.gather(*(demo.is_active(row.refresh_token) for row in rows.values()))
    return Aftermath(
        lost=frozenset(owners[exchange.spent] for exchange in lost),
        losers=frozenset(exchange.door for exchange in lost),
        dead=frozenset(ref for ref, row in rows.items() if row.integration.status is not IntegrationStatus.ACTIVE),
        ended=frozenset(ref for ref, is_alive in zip(rows, alive, strict=True) if not is_alive),
        handed_out=handed_out,
    )


async def refreshed_once_more(turmoil: Turmoil, demo: DemoClient) -> dict[IntegrationRef, bool]:
    """Ask for the credentials of every connection, long after its token expired; whether the service accepts them."""
    await asyncio.sleep(TOKEN_SECONDS)
    await turmoil.time.end_everything()
    settings = {"WORKER_DATABASE_URL": turmoil.database.worker_url("last")}
    environment = process_environment(demo, turmoil.proxy.url("last"), turmoil.fleet.folder / "one", settings)

    # Few at a time, so that a token is looked at within its two seconds.
    turn = asyncio.Semaphore(8)

    async with open_worker_integrations(WorkerConfiguration.from_environment(environment)) as door:

        async def once_more(ref: IntegrationRef) -> bool | None:
            async with turn:
                try:
                    credentials = await door.get_integration_credentials(ref.id, ref.user_id)
                except ReauthorizationRequiredError:
                    return None
                assert isinstance(credentials, OAuthCredentials)
                return await demo.is_active(credentials.access_token)

        refs = sorted(set(turmoil.service.owners.values()))
        heard = await asyncio.gather(*map(once_more, refs))
    return {ref: accepted for ref, accepted in zip(refs, heard, strict=True) if accepted is not None}


async def test_a_thousand_refreshes_lose_nothing_but_replies_in_killed_processes(
    turmoil: Turmoil, brief_demo: DemoClient, catalogue: Catalogue, encryption: Encryption
) -> None:
    for machine in MACHINES:
        await turmoil.fleet.start(turmoil.fleet.folder / machine)
    background = [asyncio.create_task(turmoil.outages()), asyncio.create_task(turmoil.time.pass_by(turmoil.kept))]
    try:
        await turmoil.rage()
        assert turmoil.fleet.ended_by_themselves() == []
        assert {await worker.drain() for worker in turmoil.fleet.living} == {0}
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background)
    assert turmoil.kept() == set()
    turmoil.proxy.behaviour = well_behaved
    after = await aftermath(turmoil, brief_demo, catalogue, encryption)
    print(report(turmoil, after))

    killed = {worker.name for worker in turmoil.fleet.workers.values() if worker.killed_at is not None}
    assert after.dead == after.ended == after.lost
    assert after.losers <= killed
    assert turmoil.fleet.logged("credential.replayed")
    assert set(after.handed_out.values()) == {True}
    assert len(after.handed_out) + len(after.dead) == CONNECTIONS
    # Nobody asks without a lease, and leases are given when a row is due: backoff is not shortened by anybody.
    asked = Counter(turmoil.service.owners[exchange.spent] for exchange in turmoil.proxy.exchanges)
    leases = await turmoil.time.leases()
    assert all(asked[ref] <= leases[ref] for ref in asked)


def report(turmoil: Turmoil, after: Aftermath) -> str:
    """The figures of this run."""
    exchanges = turmoil.proxy.exchanges
    brought = sum(exchange.brought is not None for exchange in exchanges)
    killed = sum(worker.killed_at is not None for worker in turmoil.fleet.workers.values())
    faults = ", ".join(f"{count} {name}" for name, count in turmoil.service.happened.most_common())
    return (
        f"{len(exchanges)} token requests, {brought} new tokens, {len(OUTAGES)} outages, {killed} workers killed\n"
        f"{faults}\n"
        f"{turmoil.fleet.logged('credential.replayed')} replies stored from a journal of a killed worker\n"
        f"{len(after.lost)} replies lost in killed workers, {len(after.dead)} connections dead"
    )
