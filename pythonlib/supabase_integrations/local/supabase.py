"""Supabase for a local system, started here over our Postgres; external.py uses one that runs already."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx
import psycopg

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.resources import migrations_dir

from .guarantees import DataApi, read_expectation, require_guarantees
from .hosted import MIGRATING_ROLE, prepare_hosted
from .lite import ROLE as LITE_ROLE
from .lite import LiteServer, admit_lite, prepare_for_lite
from .migrations import apply_migrations
from .postgres import PostgresServer, RunningPostgres
from .processes import Processes
from .secrets import LocalSecrets
from .settings import LocalSettings
from .state import StateDirectory
from .together import together
from .worker import ROLE as WORKER_ROLE
from .worker import admit_worker

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Supabase:
    """A Supabase that answers and has our tables."""

    url: str
    publishable_key: SecretStr
    jwt_secret: SecretStr | None
    database: DatabaseUrl | None
    """As the migrating role."""
    worker_database: DatabaseUrl | None
    """As the worker's role."""


class SupabaseStarter:
    """Starts Postgres, then Auth and Data API, applies the migrations and checks that they hold."""

    def __init__(
        self, settings: LocalSettings, state: StateDirectory, secrets: LocalSecrets, processes: Processes
    ) -> None:
        self._settings = settings
        self._state = state
        self._secrets = secrets
        self._processes = processes

    async def start(self, http: httpx.AsyncClient, progress: Progress) -> Supabase:
        """Return when visitors and strangers are known to read nothing.

        Raises:
            BrokenGuaranteeError: the running database does not protect what the migrations protect.
        """
        progress("Starting Postgres")
        postgres = await self._start_postgres()
        migrating = DatabaseUrl.parse(postgres.url(user=MIGRATING_ROLE, password=self._secrets.migrating_password))
        await prepare_hosted(postgres.url(), migrating_password=self._secrets.migrating_password)
        await prepare_for_lite(postgres.url(), self._secrets.lite_password)
        lite = self._lite(postgres)
        if not await _has_auth(postgres):
            progress("Creating Supabase Auth's tables")
            # It must restart after the migrations, to see that there are tables under row security.
            await self._processes.stop(await lite.start(self._processes, http))
        await admit_lite(postgres.url())
        progress("Applying the migrations")
        for name in await apply_migrations(migrating):
            progress(f"  {name}")
        await admit_lite(postgres.url())
        await admit_worker(postgres.url(), self._secrets.worker_password)
        progress("Starting Supabase Auth and Data API")
        expectation, _ = await together(
            read_expectation(postgres, migrations_dir(), self._secrets.migrating_password),
            lite.start(self._processes, http),
        )
        progress("Checking that grants are the migrations' and that strangers read nothing")
        data_api = DataApi(lite.url, self._secrets.publishable_key, self._secrets.jwt_secret)
        await require_guarantees(http, data_api, postgres, expectation)
        worker = DatabaseUrl.parse(postgres.url(user=WORKER_ROLE, password=self._secrets.worker_password))
        return Supabase(lite.url, self._secrets.publishable_key, self._secrets.jwt_secret, migrating, worker)

    async def _start_postgres(self) -> RunningPostgres:
        server = PostgresServer(
            data_dir=self._state.cluster,
            port=self._settings.database_port,
            superuser_password=self._secrets.superuser_password,
            log_path=self._state.logs / "postgres.log",
        )
        return await server.start(self._processes)

    def _lite(self, postgres: RunningPostgres) -> LiteServer:
        return LiteServer(
            port=self._settings.supabase_port,
            database_url=SecretStr(postgres.url(user=LITE_ROLE, password=self._secrets.lite_password)),
            jwt_secret=self._secrets.jwt_secret,
            publishable_key=self._secrets.publishable_key,
            site_url=self._settings.app_url,
            config_path=self._state.lite_config,
        )


async def _has_auth(postgres: RunningPostgres) -> bool:
    async with await psycopg.AsyncConnection.connect(postgres.url()) as connection:
        row = await (await connection.execute("select to_regclass('auth.users')")).fetchone()
    return row is not None and row[0] is not None
