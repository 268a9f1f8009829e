"""`integrations rotate-key`: seal what is stored under the primary key, see which keys are used, and drop one."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .environment import EnvFile, read_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..adapters.journal_listing import JournalListing
    from ..core.catalogue import Catalogue
    from ..core.key_use import KeyUse
    from ..core.keyring import Keyring
    from ..port import KeyRotationDatabase
    from ..use_cases.key_rotation import RotationReport
    from .rotation_output import RotationOutput

Status = Annotated[bool, typer.Option("--status", help="Only say what is sealed under which key.")]
Drop = Annotated[
    str | None,
    typer.Option("--drop", metavar="KEY_ID", help="Check that nothing needs this retired key, and say how to drop it."),
]

_LANES: Final = 2
"""Batches under way at once: one is sealed here while the other is written there."""
_INTERRUPTED: Final = 130
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class _Environment:
    """What all three forms of the command work with."""

    keyring: "Keyring"
    catalogue: "Catalogue"
    database: "KeyRotationDatabase"
    journal: "JournalListing"

    async def uses(self) -> "tuple[KeyUse, ...]":
        from ..core.key_use import uses_of_keys

        kept = await self.journal.keys()
        connections = await self.database.count_by_key()
        authorizations = await self.database.count_authorizations_by_key()
        return uses_of_keys(self.keyring, connections, authorizations, kept.values())


def rotate_key(status: Status = False, drop: Drop = None, env_file: EnvFile = None) -> None:
    """Seal every stored credential under ENCRYPTION_KEY, beside running services; start it again to go on.

    Exit 1 where rows are left under another key.
    """
    from ..use_cases.key_rotation import RotationReport
    from .rotation_output import RotationOutput

    if status and drop:
        raise typer.BadParameter("Give either --status or --drop.")
    if drop is not None and not _KEY_ID.fullmatch(drop):
        raise typer.BadParameter("A key id has eight hexadecimal digits; --status lists them.", param_hint="--drop")
    environment, output, report = read_environment(env_file), RotationOutput(), RotationReport()
    try:
        with asyncio.Runner() as runner:
            finished = runner.run(_run(environment, output, report, status=status, drop=drop))
    except KeyboardInterrupt:
        output.interrupted(report)
        raise typer.Exit(_INTERRUPTED) from None
    if not finished:
        raise typer.Exit(1)


async def _run(
    environment: "Mapping[str, str]",
    output: "RotationOutput",
    report: "RotationReport",
    *,
    status: bool,
    drop: str | None,
) -> bool:
    from .rotation_output import JournalLook

    async with _opened(environment) as opened:
        uses = await opened.uses()
        looked = JournalLook(opened.journal.directory, await opened.journal.is_there())
        if status:
            output.uses(uses, looked)
            return True
        if drop is not None:
            return output.drop(drop, uses, looked)
        return await _rotate(opened, uses, output, report)


async def _rotate(
    opened: _Environment, uses: "tuple[KeyUse, ...]", output: "RotationOutput", report: "RotationReport"
) -> bool:
    from ..adapters.clock import SystemClock
    from ..use_cases.key_rotation import KeyRotation

    services = {service.name: service for service in opened.catalogue}
    rotation = KeyRotation(opened.database, opened.journal, opened.keyring, services, SystemClock(), lanes=_LANES)
    with output.progress(uses) as progress:
        await rotation.run(report, progress)
    return output.finished(report, await opened.uses())


@asynccontextmanager
async def _opened(environment: "Mapping[str, str]") -> AsyncIterator[_Environment]:
    from ..adapters.journal_listing import JournalListing
    from ..adapters.key_rotation_store import PostgresKeyRotationDatabase
    from ..adapters.worker_pool import open_worker_pool
    from ..configuration import load_catalogue
    from ..settings_worker import WorkerSettings

    settings = WorkerSettings.from_environment(environment)
    catalogue = load_catalogue(settings, environment)
    async with open_worker_pool(settings.database, connections=_LANES) as pool:
        database = PostgresKeyRotationDatabase(pool)
        yield _Environment(settings.keyring(), catalogue, database, JournalListing(settings.state_dir))
