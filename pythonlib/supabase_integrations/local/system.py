"""One local system from start to stop: Supabase and the demo service, then the API; all end together."""

import asyncio
import os
from collections.abc import Callable, Mapping

import httpx

from supabase_integrations.settings import CALLBACK_PATH

from .api import Api
from .demo import DemoService
from .errors import LocalStackError
from .external import require_protection, use_supabase
from .ports import require_free
from .processes import Processes
from .readiness import loopback_client
from .secrets import LocalSecrets
from .settings import LocalSettings
from .state import Description, StateDirectory
from .supabase import Progress, Supabase, SupabaseStarter
from .together import together
from .worker import start_worker


async def run_local_system(
    settings: LocalSettings, *, progress: Progress, ready: Callable[[Description], None]
) -> None:
    """Start everything, call `ready`, and keep it running until this is cancelled; nothing runs when it returns.

    Raises:
        LocalStackError: something did not start or ended by itself.
    """
    state = StateDirectory(settings.state_dir)
    with state.locked():
        await asyncio.to_thread(state.end_leftovers)
        if settings.reset:
            progress(f"Removing what {state.path} holds")
            await asyncio.to_thread(state.reset)
        _require_free_ports(settings)
        processes = Processes(state)
        try:
            async with loopback_client() as http:
                description, settings_of_commands = await _Start(settings, state, processes, http, progress).run()
            state.describe(description, settings_of_commands)
            ready(description)
            raise await processes.wait_for_a_loss()
        finally:
            state.withdraw()
            await processes.stop_all()
            state.forget()


class _Start:
    """One start: what every step of it needs."""

    def __init__(
        self,
        settings: LocalSettings,
        state: StateDirectory,
        processes: Processes,
        http: httpx.AsyncClient,
        progress: Progress,
    ) -> None:
        if state.cluster.exists() and not state.secrets.exists():
            raise LocalStackError(f"{state.secrets} is gone, and the database opens with nothing else. Use RESET=1.")
        self._settings = settings
        self._state = state
        self._processes = processes
        self._http = http
        self._progress = progress
        self._secrets = LocalSecrets.load_or_generate(state.secrets)

    async def run(self) -> tuple[Description, Mapping[str, str]]:
        """What the system is, and the settings of commands beside it."""
        demo = DemoService(
            port=self._settings.demo_port,
            client_id=self._secrets.demo_client_id,
            client_secret=self._secrets.demo_client_secret,
            redirect_uri=self._settings.app_url + CALLBACK_PATH,
            store=self._state.demo_store,
        )
        supabase, _ = await together(self._supabase(), demo.start(self._processes, self._http))
        self._progress("Starting the API")
        api = self._api(supabase, demo)
        await api.start(self._processes, self._http)
        await self._worker(supabase, api)
        if self._settings.supabase:
            self._progress("Checking that strangers read nothing")
            await require_protection(self._http, self._settings.api_url, self._settings.supabase)
        description = self._describe(supabase, demo)
        return description, {**api.own_settings(), **_doors(description)}

    async def _supabase(self) -> Supabase:
        if self._settings.supabase:
            return await use_supabase(self._settings.supabase, self._http, self._progress)
        starter = SupabaseStarter(self._settings, self._state, self._secrets, self._processes)
        return await starter.start(self._http, self._progress)

    async def _worker(self, supabase: Supabase, api: Api) -> None:
        database = supabase.worker_database
        if not self._settings.starts_worker:
            return
        if database is None:
            self._progress("Starting no worker: set WORKER_DATABASE_URL to have one")
            return
        self._progress("Starting the worker")
        listen_url = self._settings.environment.get("WORKER_LISTEN_URL", "").strip()
        await start_worker(self._processes, api.environment(), database.url.get_secret_value(), listen_url)

    def _api(self, supabase: Supabase, demo: DemoService) -> Api:
        return Api(
            settings=self._settings,
            supabase_url=supabase.url,
            publishable_key=supabase.publishable_key,
            jwt_secret=supabase.jwt_secret,
            encryption_key=self._secrets.encryption_key,
            demo_url=demo.url,
            demo_client_id=self._secrets.demo_client_id,
            demo_client_secret=self._secrets.demo_client_secret,
            state_dir=self._state.path,
        )

    def _describe(self, supabase: Supabase, demo: DemoService) -> Description:
        worker = supabase.worker_database
        return Description(
            api_url=self._settings.api_url,
            supabase_url=supabase.url,
            publishable_key=supabase.publishable_key.get_secret_value(),
            database_url=supabase.database.url.get_secret_value() if supabase.database else "",
            jwt_secret=supabase.jwt_secret.get_secret_value() if supabase.jwt_secret else "",
            worker_database_url=worker.url.get_secret_value() if worker else "",
            demo_url=demo.url,
            pids={"dev": os.getpid(), **self._processes.pids},
            state_dir=str(self._state.path),
            log_dir=str(self._state.logs),
        )


def _doors(description: Description) -> dict[str, str]:
    worker = description.worker_database_url
    doors = {"DATABASE_URL": description.database_url, "WORKER_DATABASE_URL": worker, "WORKER_LISTEN_URL": worker}
    return {name: url for name, url in doors.items() if url}


def _require_free_ports(settings: LocalSettings) -> None:
    ports = {"PORT": settings.port, "DEMO_PORT": settings.demo_port}
    if settings.supabase is None:
        ports |= {"SUPABASE_PORT": settings.supabase_port, "DB_PORT": settings.database_port}
    require_free(ports)
