"""`integrations migrate`: apply our migrations to a Supabase project."""

from typing import Annotated

import typer

from .environment import EnvFile, read_environment

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="Connect as the role that owns the project's tables. (default: DATABASE_URL)"),
]


def migrate(database_url: DatabaseUrl = None, env_file: EnvFile = None) -> None:
    """Apply what is missing with Supabase's own `db push`; refuse a project that has another app's migrations."""
    import asyncio

    from ..core.plurals import counted
    from ..database_url import DatabaseUrl
    from ..local.migrations import apply_migrations

    url = database_url or read_environment(env_file).get("DATABASE_URL")
    if not url:
        raise typer.BadParameter("Name a database, or set DATABASE_URL.", param_hint="--database-url")
    database = DatabaseUrl.parse(url)
    applied = asyncio.run(apply_migrations(database))
    if not applied:
        typer.echo(f"{database.shown} has every migration already.")
        return
    for name in applied:
        typer.echo(f"  {name}")
    migrations = counted(len(applied), "migration")
    typer.echo(f"Applied {migrations} to {database.shown}. `integrations audit` checks what is protected.")
