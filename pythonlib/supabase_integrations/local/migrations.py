"""Our migrations, and which of them, or whose, a database has recorded."""

from dataclasses import dataclass
from pathlib import Path

import psycopg

from supabase_integrations.adapters.database_connection import CONNECT_AS_OWNER, connect
from supabase_integrations.core.plurals import counted
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.resources import migrations_dir

from .errors import LocalStackError
from .supabase_cli import push_migrations

COPY_PREFIX = "supabase_integrations_"
"""Stands before the name of a file of ours in another app's folder, so that it is recognised there."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file, named VERSION_name.sql."""

    version: str
    name: str
    path: Path

    @classmethod
    def from_path(cls, path: Path) -> "Migration":
        version, _, name = path.stem.partition("_")
        return cls(version, name, path)


class ForeignHistoryError(LocalStackError):
    """The database has another app's migrations."""

    code = "foreign_migration_history"


def migrations_in(folder: Path) -> list[Migration]:
    """The migrations of a folder, oldest first."""
    return [Migration.from_path(path) for path in sorted(folder.glob("*.sql"))]


async def recorded_versions(database: DatabaseUrl) -> set[str]:
    """The versions that Supabase's migration history lists; none where there is no history yet."""
    return {version for version, _ in await _recorded(database)}


async def missing_migrations(database: DatabaseUrl) -> list[str]:
    """The names of ours that were never applied, be it as our own files or as copies in an app's history."""
    recorded = await _recorded(database)
    known = {version for version, _ in recorded} | {name for _, name in recorded}
    ours = migrations_in(migrations_dir())
    return [file.path.name for file in ours if known.isdisjoint({file.version, COPY_PREFIX + file.name})]


async def _recorded(database: DatabaseUrl) -> list[tuple[str, str]]:
    async with await connect(database) as connection:
        try:
            cursor = await connection.execute("select to_regclass('supabase_migrations.schema_migrations')")
            row = await cursor.fetchone()
            if row is None or row[0] is None:
                return []
            cursor = await connection.execute("select version, name from supabase_migrations.schema_migrations")
            return [(str(version), str(name)) for version, name in await cursor.fetchall()]
        except psycopg.Error as error:
            advice = f": {CONNECT_AS_OWNER}" if isinstance(error, psycopg.errors.InsufficientPrivilege) else "."
            said = database.conceal(str(error))
            raise LocalStackError(
                f"The database at {database.shown} cannot be asked for its migrations ({said}){advice}"
            ) from None


async def apply_migrations(database: DatabaseUrl) -> list[str]:
    """Apply what is missing with the real tool and return the names of the files applied.

    Raises:
        ForeignHistoryError: another app's migrations are recorded. Pushing would fail, and the repair that the tool
            suggests would corrupt that app's history.
    """
    ours = {migration.version for migration in migrations_in(migrations_dir())}
    recorded = await recorded_versions(database)
    if recorded - ours:
        raise ForeignHistoryError(
            f"The database at {database.shown} has {counted(len(recorded - ours), 'migration')} of another app, "
            "and its history belongs to that app. Put our files into that app's own migrations, and apply them with "
            "its next push:\n"
            "  integrations migrations copy PATH_TO_THE_APP\n"
            "  cd PATH_TO_THE_APP && supabase db push"
        )
    if ours <= recorded:
        return []
    return await push_migrations(database)
