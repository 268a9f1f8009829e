"""`integrations sync`: copy one resource of one connection into synced_records, now."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID, uuid4

import typer

from .environment import EnvFile, read_environment

if TYPE_CHECKING:
    from ..core.sync import SyncRef
    from ..use_cases.sync import SyncOutcome
    from ..worker_integrations import WorkerConfiguration, WorkerIntegrations
    from .sync_output import SyncOutput

IntegrationId = Annotated[UUID, typer.Argument(metavar="ID", help="The connection's id.")]
Resource = Annotated[str, typer.Argument(help="What to copy, such as contacts; docs/sync.md lists them.")]
User = Annotated[UUID, typer.Option("--user", help="Its owner's id. The worker's role sees nobody else's rows.")]
Everything = Annotated[
    bool, typer.Option("--everything", help="Ask for everything, not only for what changed, and remove what is gone.")
]

_INTERRUPTED: Final = 130


def sync(
    integration_id: IntegrationId,
    resource: Resource,
    user: User,
    everything: Everything = False,
    env_file: EnvFile = None,
) -> None:
    """Copy a resource of a connection into synced_records; start it again to go on after an interruption."""
    from ..logs import configure_logs
    from ..settings import refuse_database_access
    from ..worker_integrations import WorkerConfiguration
    from .sync_output import SyncOutput

    environment = read_environment(env_file)
    configuration = WorkerConfiguration.from_environment(environment)
    if not configuration.settings.is_development:
        refuse_database_access(environment, command="worker")
    configure_logs(beside_a_command=True)
    output = SyncOutput()
    try:
        with asyncio.Runner() as runner:
            runner.run(_run(configuration, output, integration_id, resource, user, everything=everything))
    except KeyboardInterrupt:
        output.interrupted()
        raise typer.Exit(_INTERRUPTED) from None


async def _run(
    configuration: "WorkerConfiguration",
    output: "SyncOutput",
    integration_id: UUID,
    resource: str,
    user: UUID,
    *,
    everything: bool,
) -> None:
    from ..core.models import IntegrationRef
    from ..core.sync import SyncRef
    from ..worker_integrations import open_worker_integrations

    ref = SyncRef(IntegrationRef(user, integration_id), resource)
    async with open_worker_integrations(configuration, on_wait=output.waits_for_the_database) as system:
        await _require_resource(system, ref)
        await system.sync_store.add(ref)
        await _until_finished(system, output, ref, everything=everything)


async def _require_resource(system: "WorkerIntegrations", ref: "SyncRef") -> None:
    """Before it is written down as wanted."""
    from ..clients.resources import RESOURCES
    from ..core.errors import IntegrationNotFoundError
    from ..use_cases.sync_resources import find_resource

    try:
        async with system.client(ref.integration.id, ref.user_id) as api:
            find_resource(RESOURCES, api.service, ref.resource)
    except IntegrationNotFoundError:
        raise IntegrationNotFoundError(
            f"This user has no such connection: `integrations explain {ref.integration.id}` tells whose it is."
        ) from None


async def _until_finished(
    system: "WorkerIntegrations", output: "SyncOutput", ref: "SyncRef", *, everything: bool
) -> None:
    from ..use_cases.sync import SyncOutcome

    total, owner = SyncOutcome(), uuid4()
    with output.progress(ref.resource) as progress:
        while True:
            outcome = await system.sync.attempt(ref, owner, everything=everything, progress=progress.stored)
            _add(total, outcome)
            if outcome.goes_on_in is None:
                break
            everything = False
            progress.waits(outcome.goes_on_in)
            await asyncio.sleep(outcome.goes_on_in.total_seconds())
    output.finished(total)


def _add(total: "SyncOutcome", outcome: "SyncOutcome") -> None:
    total.records += outcome.records
    total.skipped += outcome.skipped
    total.removed += outcome.removed
    total.complete = outcome.complete
    total.is_partial = outcome.is_partial
