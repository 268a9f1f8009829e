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

    from ..local.migrations import apply_migrations
    from ..local.supabase_cli import without_password

    url = database_url or read_environment(env_file).get("DATABASE_URL")
    if not url:
        raise typer.BadParameter("Name a database, or set DATABASE_URL.", param_hint="--database-url")
    applied = asyncio.run(apply_migrations(url))
    where = without_password(url)
    if not applied:
        typer.echo(f"{where} has every migration already.")
        return
    for name in applied:
        typer.echo(f"  {name}")
    typer.echo(f"Applied {len(applied)} migrations to {where}. `integrations audit` checks what they protect.")
