"""The system without a user's session: for the background worker, and for a backend that acts for users it names.

async with open_worker_integrations(WorkerConfiguration.from_environment(os.environ)) as worker:
    credentials = await worker.get_integration_credentials(integration_id, user_id)

It connects as integrations_worker, a role without BYPASSRLS: Postgres shows it the rows of the user that each call
declares, and no others.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self
from uuid import UUID

from .adapters.clock import SystemClock
from .adapters.refresh_counts import RefreshCounts
from .adapters.refresh_log import RefreshLogger
from .adapters.sync_log import StructuredSyncLog
from .adapters.sync_store import PostgresSyncStore
from .adapters.worker_listener import DueListener
from .adapters.worker_log import StructuredWorkerLog
from .adapters.worker_pool import open_worker_pool
from .adapters.worker_store import PostgresWorkerDatabase
from .calling import open_calling
from .clients.resources import RESOURCES
from .configuration import load_catalogue, load_clients
from .core.catalogue import Catalogue
from .core.credentials import Credentials
from .core.encryption import Encryption
from .core.models import Integration, IntegrationRef
from .core.oauth_messages import OAuthClient
from .port import Clock, RefreshLog, WorkerDatabase
from .port_sync import SyncStore
from .refreshing import Refreshing, open_refreshing
from .settings_worker import WorkerSettings
from .use_cases.integration_client import IntegrationClient
from .use_cases.journal_replay import OpenStore
from .use_cases.open_connections import Door
from .use_cases.refresher import Refresher
from .use_cases.service_calls import ServiceCalls
from .use_cases.sync import ResourceSync
from .use_cases.sync_job import SyncJob, SyncJobPlan
from .use_cases.sync_resources import SyncResources
from .use_cases.worker import Worker, WorkerPlan

_PATIENCE: Final = timedelta(seconds=30)
"""How long a database that is not there, or that does not accept a new password yet, is asked again at the start."""


@dataclass(frozen=True, slots=True)
class WorkerConfiguration:
    """Everything a worker is opened with. `clients` are by service name, of the services that are configured."""

    settings: WorkerSettings
    catalogue: Catalogue
    clients: Mapping[str, OAuthClient]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check everything. Raises ConfigurationError."""
        settings = WorkerSettings.from_environment(environment)
        catalogue = load_catalogue(settings, environment)
        return cls(settings, catalogue, load_clients(catalogue, environment))


@dataclass(frozen=True, slots=True)
class WorkerIntegrations:
    """One process's system. Each call names the user it acts for."""

    database: WorkerDatabase
    refresher: Refresher
    calls: ServiceCalls
    sync_store: SyncStore
    sync: ResourceSync

    async def get_integration_credentials(self, integration_id: UUID, user_id: UUID) -> Credentials:
        """The credentials of one of this user's integrations, renewed first where they are due.

        Another user's id raises IntegrationNotFoundError, like an unknown one; otherwise raises as `Refresher.fresh`
        does.
        """
        return (await self.refresher.fresh(self.database.for_user(user_id), integration_id)).payload.credentials

    def client(self, integration_id: UUID, user_id: UUID) -> IntegrationClient:
        """Calls of the integration's service. Opening it raises as `get_integration_credentials` does."""
        return _client(self.database, self.calls, IntegrationRef(user_id, integration_id))

    async def refresh_token(self, integration_id: UUID, user_id: UUID) -> Integration:
        """Renew the credentials now, whatever their age. Raises as `get_integration_credentials` does."""
        store = self.database.for_user(user_id)
        return (await self.refresher.fresh(store, integration_id, requested=True)).integration


@asynccontextmanager
async def open_worker_integrations(
    configuration: WorkerConfiguration,
    *,
    resources: SyncResources = RESOURCES,
    on_wait: Callable[[str], None] | None = None,
) -> AsyncIterator[WorkerIntegrations]:
    """Open the system for as long as the block lasts; beside it, what this machine's journal kept is stored.
    `resources` are what can be synced; `on_wait` is told why the database is waited for at the start.

    Raises ConfigurationError, StoreUnavailableError after 30 s, and SchemaMissingError.
    """
    async with (
        _open(configuration, resources, on_wait=on_wait) as (system, refreshing),
        refreshing.replaying(_as_worker(system.database)),
    ):
        yield system


@asynccontextmanager
async def open_worker(
    configuration: WorkerConfiguration, *, resources: SyncResources = RESOURCES
) -> AsyncIterator[Worker]:
    """Open the background worker, ready to `run`. Raises as `open_worker_integrations` does."""
    settings, clock = configuration.settings, SystemClock()
    counts = RefreshCounts(RefreshLogger(clock))
    log = StructuredWorkerLog(counts)
    poll = timedelta(seconds=settings.worker_poll_seconds)
    plan = WorkerPlan(settings.worker_concurrency, poll, settings.events_kept)
    heard_at = settings.announcements
    async with _open(configuration, resources, log=counts, on_wait=log.waiting) as (system, refreshing):
        side_tasks = {"replay the journal": refreshing.replay(_as_worker(system.database)).run}
        if settings.sync_every_minutes is not None:
            side_tasks["sync"] = _sync_job(settings, system, clock).run
        yield Worker(
            plan,
            system.database,
            refreshing.refresher,
            clock,
            log,
            announcements=DueListener(heard_at, clock, log) if heard_at else None,
            side_tasks=side_tasks,
        )


@asynccontextmanager
async def _open(
    configuration: WorkerConfiguration,
    resources: SyncResources,
    *,
    log: RefreshLog | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> AsyncIterator[tuple[WorkerIntegrations, Refreshing]]:
    """`on_wait` is told why the database is waited for at the start."""
    settings = configuration.settings
    async with (
        open_worker_pool(settings.database, patience=_PATIENCE, on_wait=on_wait) as pool,
        open_refreshing(
            configuration.catalogue,
            configuration.clients,
            Encryption(settings.keyring()),
            state_dir=settings.state_dir,
            is_development=settings.is_development,
            connections_per_host=settings.worker_concurrency,
            log=log,
        ) as refreshing,
        open_calling(
            configuration.catalogue,
            configuration.clients,
            refreshing.refresher,
            refreshing.clock,
            rate_limit_url=settings.rate_limit_url,
            is_development=settings.is_development,
        ) as calls,
    ):
        database, sync_store = PostgresWorkerDatabase(pool), PostgresSyncStore(pool)
        sync = ResourceSync(
            sync_store,
            lambda ref: _client(database, calls, ref),
            resources,
            settings.sync_plan,
            refreshing.clock,
            StructuredSyncLog(),
        )
        yield WorkerIntegrations(database, refreshing.refresher, calls, sync_store, sync), refreshing


def _sync_job(settings: WorkerSettings, system: WorkerIntegrations, clock: Clock) -> SyncJob:
    plan = SyncJobPlan(settings.sync_concurrency, timedelta(seconds=settings.worker_poll_seconds))
    return SyncJob(plan, system.sync_store, system.sync, clock, StructuredSyncLog())


def _client(database: WorkerDatabase, calls: ServiceCalls, ref: IntegrationRef) -> IntegrationClient:
    return IntegrationClient(Door(database.for_user(ref.user_id), ref), calls)


def _as_worker(database: WorkerDatabase) -> OpenStore:
    """The worker's own door, which is open for every entry."""
    return lambda entry: database.for_user(entry.ref.user_id)
