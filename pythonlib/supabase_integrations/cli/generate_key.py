"""`integrations generate-key`."""

import typer

from ..core.encryption import Encryption


def generate_key() -> None:
    """Print a new ENCRYPTION_KEY: 64 hex digits, from the system's random source."""
    typer.echo(Encryption.generate_key())
