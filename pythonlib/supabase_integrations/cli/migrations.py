"""`integrations migrations`: our migrations inside another app's project."""

from pathlib import Path
from typing import Annotated

import typer

migrations = typer.Typer(help="Our migrations inside another app's project.", no_args_is_help=True)

AppDirectory = Annotated[
    Path, typer.Argument(metavar="DIR", help="The app's folder: the one that holds its supabase/ folder.")
]


@migrations.callback()
def _group() -> None:
    """Keep `copy` a command of its own: typer would merge a lone one into the group."""


@migrations.command()
def copy(directory: AppDirectory) -> None:
    """Write our migrations into an app's own supabase/migrations, stamped after its last one."""
    from datetime import UTC, datetime

    from ..core.plurals import counted
    from ..local.migration_copies import copy_migrations
    from ..resources import migrations_dir

    copies = copy_migrations(migrations_dir(), directory, now=datetime.now(UTC))
    if not copies.written:
        typer.echo(f"{copies.folder} has all {copies.present} of our migrations already.")
        return
    for path in copies.written:
        typer.echo(f"  {path.name}")
    written = counted(len(copies.written), "migration")
    typer.echo(f"Wrote {written} to {copies.folder}. Apply with the app's next push:")
    typer.echo(f"  cd {directory} && supabase db push")
