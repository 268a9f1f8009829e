"""One local system from start to stop: Supabase and the demo service, then the API; all end together."""

import asyncio
import os
from collections.abc import Callable

import httpx

from .api import Api
from .demo import DemoService
from .errors import LocalStackError
from .ports import require_free
from .processes import Processes
from .readiness import loopback_client
from .secrets import LocalSecrets
from .settings import LocalSettings
from .state import Description, StateDirectory
from .supabase import Progress, Supabase, SupabaseStarter, use_supabase
from .together import together

CALLBACK_PATH = "/api/integrations/oauth/callback"


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
                description = await _start(settings, state, processes, http, progress)
            state.describe(description)
            ready(description)
            raise await processes.wait_for_a_loss()
        finally:
            state.description.unlink(missing_ok=True)
            await processes.stop_all()
            state.forget()


async def _start(
    settings: LocalSettings,
    state: StateDirectory,
    processes: Processes,
    http: httpx.AsyncClient,
    progress: Progress,
) -> Description:
    if state.cluster.exists() and not state.secrets.exists():
        raise LocalStackError(f"{state.secrets} is gone, and the database opens with nothing else. Use RESET=1.")
    secrets = LocalSecrets.load_or_generate(state.secrets)
    demo = DemoService(
        port=settings.demo_port,
        client_id=secrets.demo_client_id,
        client_secret=secrets.demo_client_secret,
        redirect_uri=settings.app_url + CALLBACK_PATH,
        store=state.demo_store,
    )
    supabase = await _start_foundations(settings, state, secrets, processes, http, progress, demo)
    progress("Starting the API")
    api = Api(
        settings=settings,
        supabase_url=supabase.url,
        publishable_key=supabase.publishable_key,
        jwt_secret=supabase.jwt_secret,
        encryption_key=secrets.encryption_key,
        demo_url=demo.url,
        demo_client_id=secrets.demo_client_id,
        demo_client_secret=secrets.demo_client_secret,
        state_dir=state.path,
    )
    await api.start(processes, http)
    return _describe(settings, state, processes, supabase, demo)


async def _start_foundations(
    settings: LocalSettings,
    state: StateDirectory,
    secrets: LocalSecrets,
    processes: Processes,
    http: httpx.AsyncClient,
    progress: Progress,
    demo: DemoService,
) -> Supabase:
    """Start Supabase and the demo service beside each other."""
    if settings.supabase:
        start = use_supabase(settings.supabase, http, progress)
    else:
        start = SupabaseStarter(settings, state, secrets, processes).start(http, progress)
    supabase, _ = await together(start, demo.start(processes, http))
    return supabase


def _describe(
    settings: LocalSettings, state: StateDirectory, processes: Processes, supabase: Supabase, demo: DemoService
) -> Description:
    return Description(
        api_url=settings.api_url,
        supabase_url=supabase.url,
        publishable_key=supabase.publishable_key.get_secret_value(),
        database_url=supabase.database_url.get_secret_value() if supabase.database_url else "",
        jwt_secret=supabase.jwt_secret.get_secret_value() if supabase.jwt_secret else "",
        demo_url=demo.url,
        pids={"dev": os.getpid(), **processes.pids},
        state_dir=str(state.path),
        log_dir=str(state.logs),
    )


def _require_free_ports(settings: LocalSettings) -> None:
    require_free(settings.port, "PORT")
    require_free(settings.demo_port, "DEMO_PORT")
    if settings.supabase is None:
        require_free(settings.supabase_port, "SUPABASE_PORT")
        require_free(settings.database_port, "DB_PORT")
