"""Where the files are that are not Python: in a clone beside the package, in an installed wheel inside it."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_BUNDLED_SQL = _PACKAGE / "_sql"


def clone_root() -> Path | None:
    """The clone this package is imported from, or None when it runs from an installed wheel."""
    root = _PACKAGE.parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "supabase").is_dir() else None


def migrations_dir() -> Path:
    """The folder of our migrations, one concern a file, as `supabase db push` reads them."""
    root = clone_root()
    return root / "supabase" / "migrations" if root else _BUNDLED_SQL / "migrations"


def audits_dir() -> Path:
    """The folder of the audits: SQL files with the same columns, where zero rows mean a pass."""
    root = clone_root()
    return root / "sql" / "audits" if root else _BUNDLED_SQL / "audits"


def catalogue_file() -> Path:
    """The services that come with the project."""
    return _PACKAGE / "catalogue" / "services.toml"
