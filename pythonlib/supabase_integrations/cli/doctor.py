"""`integrations doctor`: is this server ready for users, and if not, what to do."""

import asyncio
from collections.abc import Mapping
from typing import Final

import typer

from ..core.errors import ConfigurationError, IntegrationError
from ..core.plurals import counted
from ..core.readiness import CheckResult
from .environment import EnvFile, read_environment

_LINE: Final = "\n"
_INDENT: Final = " " * 18
"""As wide as the mark and the name before a detail, whose further lines stand below its first one."""


def doctor(env_file: EnvFile = None) -> None:
    """Check settings, keys, services, database, migrations and Supabase Auth; exit 1 where something has to be done."""
    from rich.console import Console

    environment = read_environment(env_file)
    console = Console(highlight=False, soft_wrap=True)
    healthy = True
    for check in asyncio.run(_checks(environment)):
        healthy = healthy and check.ok
        mark = "[green]ok[/]  " if check.ok else "[red]fail[/]"
        console.print(mark, end=" ")
        console.print(f"{check.name:<12} {check.detail.replace(_LINE, _LINE + _INDENT)}", markup=False)
    if not healthy:
        raise typer.Exit(1)


async def _checks(environment: Mapping[str, str]) -> list[CheckResult]:
    from ..configuration import Configuration
    from ..integrations import open_integrations

    try:
        configuration = Configuration.from_environment(environment)
    except ConfigurationError as error:
        return [CheckResult("settings", ok=False, detail=str(error))]
    settings, clients = configuration.settings, configuration.clients
    retired = counted(len(settings.encryption_keys_retired), "retired key")
    keys = f"New credentials are sealed under key {settings.keyring().primary_id}; {retired} can be read."
    configured = f"Configured: {', '.join(clients)}." if clients else "None is configured: see `integrations services`."
    async with open_integrations(configuration) as system:
        return [
            CheckResult("settings", ok=True, detail=f"Complete, for {settings.environment}."),
            CheckResult("keys", ok=True, detail=keys),
            CheckResult("services", bool(clients), configured),
            await _migrations(environment.get("DATABASE_URL", "").strip()),
            *await system.readiness(),
        ]


async def _migrations(database_url: str) -> CheckResult:
    from ..database_url import DatabaseUrl
    from ..local.migrations import missing_migrations

    if not database_url:
        return CheckResult("migrations", ok=True, detail="Not compared: set DATABASE_URL to compare them.")
    try:
        missing = await missing_migrations(DatabaseUrl.parse(database_url))
    except IntegrationError as error:
        return CheckResult("migrations", ok=False, detail=str(error))
    if missing:
        detail = f"Not applied: {', '.join(missing)}. Run `integrations migrate`."
        return CheckResult("migrations", ok=False, detail=detail)
    return CheckResult("migrations", ok=True, detail="All are applied.")
