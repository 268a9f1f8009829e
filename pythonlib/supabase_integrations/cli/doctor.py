"""`integrations doctor`: is this server ready for users, and if not, what to do."""

import asyncio
from collections.abc import Mapping

import typer

from ..core.readiness import CheckResult
from .environment import EnvFile, read_environment


def doctor(env_file: EnvFile = None) -> None:
    """Check settings, keys, database, migrations and Supabase Auth; exit 1 where something has to be done."""
    from rich.console import Console

    environment = read_environment(env_file)
    console = Console()
    healthy = True
    for check in asyncio.run(_checks(environment)):
        healthy = healthy and check.ok
        mark = "[green]ok[/]  " if check.ok else "[red]fail[/]"
        console.print(f"{mark} {check.name:<12} {check.detail}", highlight=False, soft_wrap=True)
    if not healthy:
        raise typer.Exit(1)


async def _checks(environment: Mapping[str, str]) -> list[CheckResult]:
    from ..core.errors import ConfigurationError
    from ..integrations import open_integrations
    from ..settings import Settings, load_catalogue, load_clients

    try:
        settings = Settings.from_environment(environment)
        clients = load_clients(load_catalogue(settings, environment), environment)
    except ConfigurationError as error:
        return [CheckResult("settings", False, str(error))]
    retired = len(settings.encryption_keys_retired)
    found = [
        CheckResult("settings", True, f"complete, for {settings.environment}"),
        CheckResult("keys", True, f"new credentials under key {settings.keyring().primary_id}; {retired} retired"),
        CheckResult(
            "services",
            bool(clients),
            f"configured: {', '.join(clients)}" if clients else "None is configured: see `integrations services`.",
        ),
    ]
    async with open_integrations(settings, environment) as system:
        return found + list(await system.readiness())
