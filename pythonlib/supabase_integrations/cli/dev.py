"""`integrations dev`: the whole system on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .environment import EnvFile, read_environment

if TYPE_CHECKING:
    from rich.console import Console

    from ..local.state import Description

_FROM_ENVIRONMENT = "From the environment or .env where not given."

Port = Annotated[int | None, typer.Option("--port", help=f"The API's port (PORT, else 8000). {_FROM_ENVIRONMENT}")]
StateDir = Annotated[Path | None, typer.Option("--state-dir", help="Where data and logs are kept (STATE_DIR, .local).")]
Reset = Annotated[bool, typer.Option("--reset", help="Start over: remove the data of earlier runs (RESET=1).")]
Parent = Annotated[int | None, typer.Option("--parent", help="Stop as well when this parent process is gone.")]


def dev(
    port: Port = None,
    state_dir: StateDir = None,
    reset: Reset = False,
    parent: Parent = None,
    env_file: EnvFile = None,
) -> None:
    """Start Postgres, Supabase Auth and Data API, the demo service and the API, and keep them running."""
    import asyncio
    import contextlib

    from rich.console import Console

    from ..local.lifetime import run_until_stopped
    from ..local.settings import LocalSettings
    from ..local.system import run_local_system

    given = {"PORT": port, "STATE_DIR": state_dir, "RESET": "1" if reset else None}
    overrides = {name: str(value) for name, value in given.items() if value is not None}
    settings = LocalSettings.from_environment({**read_environment(env_file), **overrides})
    console = Console(highlight=False, soft_wrap=True)

    def progress(line: str) -> None:
        console.print(line, style="dim", markup=False)

    system = run_local_system(settings, progress=progress, ready=lambda description: _welcome(console, description))
    asyncio.run(run_until_stopped(system, parent=parent))
    # A terminal that was closed takes no more lines.
    with contextlib.suppress(OSError):
        console.print("Stopped. The data is kept; RESET=1 starts over.")


def _welcome(console: "Console", description: "Description") -> None:
    from ..local.welcome import addresses, finishing_requests, first_request

    console.print("\nReady.", style="bold green")
    for name, address in addresses(description):
        console.print(f"  {name:18} {address}", markup=False)
    console.print("\nConnect an account: paste this, open the auth_url it answers with, sign in as anybody, allow.\n")
    console.print(first_request(description), markup=False)
    console.print("\nThe browser ends at a page that says Almost done. Finish with the address of that page:\n")
    console.print(finishing_requests(description), markup=False)
    console.print("\nCtrl-C stops everything.")
