"""PgBouncer in front of a test's database, in one of its modes."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.local_system import free_ports, stop_process
from tests.worker.world import ROLE, World

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_USER = "nobody"
"""PgBouncer does not run as root."""


def pgbouncer() -> str:
    """The program; without it a test is skipped, except where nothing may be skipped."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("pgbouncer is not installed, and here it must be")
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    return found


@contextmanager
def a_pooler(world: World, mode: str, *, connections: int) -> Iterator[str]:
    """The worker's URL through a pooler that holds so many connections to the server."""
    program, (port,) = pgbouncer(), free_ports(1)
    server = urlsplit(world.cluster.url(world.database))
    with tempfile.TemporaryDirectory(prefix="integrations-pooler-") as name:
        folder = Path(name)
        # PgBouncer's own user has to read it; the password in it opens a database of this test alone.
        folder.chmod(0o755)
        (folder / "users.txt").write_text(f'"{ROLE}" "{world.worker_password.get_secret_value()}"\n')
        (folder / "pooler.ini").write_text(
            f"[databases]\n{world.database} = host={server.hostname} port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder / 'users.txt'}\n"
            f"pool_mode = {mode}\ndefault_pool_size = {connections}\nmax_client_conn = 200\n"
            f"ignore_startup_parameters = extra_float_digits\nserver_tls_sslmode = disable\n"
        )
        as_user = ["-u", _USER] if os.geteuid() == 0 else []
        log = folder / "pooler.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *as_user, str(folder / "pooler.ini")], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        try:
            _wait_until_listening(process, port, log)
            yield world.url(port=port)
        finally:
            stop_process(process, _STOP_SECONDS)


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
