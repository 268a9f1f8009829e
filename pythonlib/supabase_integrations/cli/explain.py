"""`integrations explain`: what happened to a connection, why it stopped, and what to do next."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from .environment import EnvFile, read_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ..core.explanation import Explanation, Record

IntegrationId = Annotated[UUID, typer.Argument(metavar="ID", help="The connection's id, also of one that is deleted.")]
User = Annotated[UUID | None, typer.Option("--user", help="Its owner's id: found faster, and that owner's alone.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="Connect as the role that pushes the migrations. (default: DATABASE_URL)"),
]


def explain(
    integration_id: IntegrationId, user: User = None, database_url: DatabaseUrl = None, env_file: EnvFile = None
) -> None:
    """Tell a connection's state and history as sentences; exit 1 where there never was such a connection."""
    from rich.console import Console

    from ..adapters.explanation_store import find_records
    from ..database_url import DatabaseUrl

    url = database_url or read_environment(env_file).get("DATABASE_URL")
    if not url:
        raise typer.BadParameter("Name a database, or set DATABASE_URL.", param_hint="--database-url")
    database = DatabaseUrl.parse(url)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    records = asyncio.run(find_records(database, integration_id, user))
    if not records:
        console.print(f"There is and was no connection {integration_id} in {database.shown}.")
        console.print("Check the id, that this is the right project's database, and the owner if --user was given.")
        raise typer.Exit(1)
    _print(console, records)


def _print(console: "Console", records: "Sequence[Record]") -> None:
    from ..core.explanation import explain as explained

    if len(records) > 1:
        console.print(f"{len(records)} users have or had a connection with this id. Each is told by itself.\n")
    now = datetime.now(UTC)
    for number, record in enumerate(records):
        if number:
            console.print()
        _print_one(console, record, explained(record, now))


def _print_one(console: "Console", record: "Record", explanation: "Explanation") -> None:
    parts = (
        (f"Connection {record.integration_id}", explanation.identity),
        ("How it is", explanation.state),
        ("What happened", explanation.history or ("Nothing is recorded.",)),
        ("What to do next", explanation.next_steps),
    )
    for heading, lines in parts:
        console.print(heading, style="bold")
        for line in lines:
            console.print(f"  {line}")
