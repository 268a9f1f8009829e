"""Our migrations as part of another app's own history.

`supabase db push` refuses a project that has migrations it does not find in its folder, and the repair it suggests
would corrupt that project's history. So our files become the app's: each gets a version after the app's last one and
keeps its name behind a prefix, by which a later copy recognises it.
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .errors import LocalStackError
from .migrations import COPY_PREFIX, migrations_in

_VERSION_FORMAT = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Copies:
    """What a copy did: new files, and how many were there before."""

    folder: Path
    written: tuple[Path, ...]
    present: int


def copy_migrations(source: Path, app: Path, *, now: datetime) -> Copies:
    """Copy those migrations of `source` that the app has not, in order, after everything it has.

    Raises:
        LocalStackError: `app` is not a Supabase project, or lacks an earlier one of our migrations but has a later one.
    """
    folder = _migrations_folder(app)
    theirs = migrations_in(folder)
    known = {migration.name for migration in theirs}
    missing = [migration for migration in migrations_in(source) if COPY_PREFIX + migration.name not in known]
    present = len(migrations_in(source)) - len(missing)
    if missing and missing != migrations_in(source)[present:]:
        raise LocalStackError(
            f"{folder} has some of our migrations but not {missing[0].path.name}, which comes before them. "
            "Restore the file that was removed, or renamed, from the app's version control."
        )
    stamp = _stamp_after([migration.version for migration in theirs], now)
    written = []
    for position, migration in enumerate(missing):
        version = (stamp + timedelta(seconds=position)).strftime(_VERSION_FORMAT)
        target = folder / f"{version}_{COPY_PREFIX}{migration.name}.sql"
        shutil.copyfile(migration.path, target)
        written.append(target)
    return Copies(folder, tuple(written), present)


def _migrations_folder(app: Path) -> Path:
    if app.name == "migrations" and app.parent.name == "supabase":
        app = app.parent.parent
    supabase = app / "supabase"
    if not supabase.is_dir():
        raise LocalStackError(f"{app} has no supabase folder. Name the app's folder, or make one with: supabase init")
    folder = supabase / "migrations"
    folder.mkdir(exist_ok=True)
    return folder


def _stamp_after(versions: list[str], now: datetime) -> datetime:
    """The moment of the first copy: now, or one second after a last version that lies in the future."""
    stamp = now.replace(microsecond=0)
    last = max((version for version in versions if version.isdigit()), default="")
    try:
        latest = datetime.strptime(last, _VERSION_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        if last >= stamp.strftime(_VERSION_FORMAT):
            raise LocalStackError(
                f"The app's last migration has the version {last}, which is not a date: rename ours by hand."
            ) from None
        return stamp
    return max(stamp, latest + timedelta(seconds=1))
