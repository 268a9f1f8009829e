"""Supabase for a local system: one started here over our Postgres, or one that the developer runs already."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psycopg

from supabase_integrations.core.secret import SecretStr
from supabase_integrations.resources import migrations_dir

from .errors import LocalStackError
from .guarantees import DataApi, read_expectation, require_guarantees
from .hosted import MIGRATING_ROLE, prepare_hosted
from .lite import ROLE as LITE_ROLE
from .lite import LiteServer, admit_lite, prepare_for_lite
from .migrations import ForeignHistoryError, apply_migrations
from .postgres import PostgresServer, RunningPostgres
from .processes import Processes
from .secrets import LocalSecrets
from .settings import ExternalSupabase, LocalSettings
from .state import StateDirectory
from .together import together

Progress = Callable[[str], None]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Supabase:
    """A Supabase that answers and has our tables."""

    url: str
    publishable_key: SecretStr
    jwt_secret: SecretStr | None
    database_url: SecretStr | None
    """As the migrating role."""


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
        migrating_url = postgres.url(user=MIGRATING_ROLE, password=self._secrets.migrating_password)
        await prepare_hosted(postgres.url(), migrating_password=self._secrets.migrating_password)
        await prepare_for_lite(postgres.url(), self._secrets.lite_password)
        lite = self._lite(postgres)
        if not await _has_auth(postgres):
            progress("Creating Supabase Auth's tables")
            # It must restart after the migrations, to see that there are tables under row security.
            await self._processes.stop(await lite.start(self._processes, http))
        await admit_lite(postgres.url())
        progress("Applying the migrations")
        for name in await apply_migrations(migrating_url):
            progress(f"  {name}")
        await admit_lite(postgres.url())
        progress("Starting Supabase Auth and Data API")
        expectation, _ = await together(
            read_expectation(postgres, migrations_dir(), self._secrets.migrating_password),
            lite.start(self._processes, http),
        )
        progress("Checking that grants are the migrations' and that strangers read nothing")
        data_api = DataApi(lite.url, self._secrets.publishable_key, self._secrets.jwt_secret)
        await require_guarantees(http, data_api, postgres, expectation)
        return Supabase(
            lite.url, self._secrets.publishable_key, self._secrets.jwt_secret, SecretStr(migrating_url)
        )

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


async def use_supabase(external: ExternalSupabase, http: httpx.AsyncClient, progress: Progress) -> Supabase:
    """Use a Supabase that runs already. Migrations are applied unasked only to a database on this machine.

    Raises:
        LocalStackError: our tables are absent, with the command that applies the migrations.
    """
    progress(f"Using the Supabase at {external.url}")
    local_database = external.database_url and _is_loopback(external.database_url.get_secret_value())
    present = await _has_tables(http, external)
    if external.database_url and local_database:
        try:
            for name in await apply_migrations(external.database_url.get_secret_value()):
                progress(f"  {name}")
        except ForeignHistoryError:
            # The app has copied our files into its own migrations: they are there, under versions of its own.
            if not present:
                raise
    elif not present:
        raise LocalStackError(
            f"The Supabase at {external.url} does not have the table `integrations` yet. Apply the migrations with\n"
            "  integrations migrate --database-url 'postgresql://postgres:…'\n"
            "or, where the project has migrations of its own, with\n"
            "  integrations migrations copy PATH_TO_THE_APP   and there   supabase db push"
        )
    return Supabase(external.url, external.publishable_key, None, external.database_url)


async def _has_tables(http: httpx.AsyncClient, external: ExternalSupabase) -> bool:
    headers = {"apikey": external.publishable_key.get_secret_value()}
    url = f"{external.url}/rest/v1/integrations"
    try:
        reply = await http.get(url, params={"select": "id", "limit": "0"}, headers=headers)
    except httpx.TransportError as error:
        raise LocalStackError(
            f"Nothing answers at SUPABASE_URL {external.url}. Start it (`supabase start`), or unset SUPABASE_URL and "
            "SUPABASE_PUBLISHABLE_KEY to have one started here."
        ) from error
    # A visitor is refused a table that exists (42501) and told of one that does not (PGRST205).
    if reply.status_code == 401 and "42501" not in reply.text:
        raise LocalStackError(f"{external.url} refuses SUPABASE_PUBLISHABLE_KEY: copy it from the project's settings.")
    return reply.status_code != 404


async def _has_auth(postgres: RunningPostgres) -> bool:
    async with await psycopg.AsyncConnection.connect(postgres.url()) as connection:
        row = await (await connection.execute("select to_regclass('auth.users')")).fetchone()
    return row is not None and row[0] is not None


def _is_loopback(database_url: str) -> bool:
    return urlsplit(database_url).hostname in _LOOPBACK
