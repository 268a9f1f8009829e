"""All commands in one. Each is a module of this package and imports what it needs when it runs."""

import sys
from typing import Final

import typer

from ..core.errors import IntegrationError
from .audit import audit
from .dev import dev
from .doctor import doctor
from .explain import explain
from .generate_key import generate_key
from .migrate import migrate
from .migrations import migrations
from .rotate_key import rotate_key
from .serve import serve
from .services import services
from .sync import sync
from .worker import worker

app: Final = typer.Typer(
    name="integrations",
    help="Connect your Supabase users' accounts at third-party services.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (dev, serve, worker, migrate, generate_key, services, audit, doctor, explain, rotate_key, sync):
    app.command()(command)
app.add_typer(migrations, name="migrations")


def run() -> None:
    """Run the command; one of our errors ends it with its message alone."""
    try:
        app()
    except IntegrationError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
