"""`integrations audit`: does the database still protect what the migrations protect?"""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from .environment import EnvFile, read_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..adapters.audits import AuditFinding

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="Connect as the role that pushes the migrations. (default: DATABASE_URL)"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as a JSON array.")]


def audit(database_url: DatabaseUrl = None, as_json: AsJson = False, env_file: EnvFile = None) -> None:
    """Run every check of sql/audits against a database; exit 1 where one of them finds something."""
    from ..adapters.audits import load_audits, run_audits
    from ..database_url import DatabaseUrl
    from ..resources import audits_dir

    url = database_url or read_environment(env_file).get("DATABASE_URL")
    if not url:
        raise typer.BadParameter("Name a database, or set DATABASE_URL.", param_hint="--database-url")
    audits = load_audits(audits_dir())
    findings = asyncio.run(run_audits(DatabaseUrl.parse(url), audits))
    if as_json:
        typer.echo(_to_json(findings))
    elif findings:
        _print(findings)
    else:
        typer.echo(f"{len(audits)} audits, nothing found.")
    if findings:
        raise typer.Exit(1)


def _to_json(findings: "Sequence[AuditFinding]") -> str:
    import json
    from dataclasses import asdict

    return json.dumps([asdict(finding) for finding in findings], indent=2)


def _print(findings: "Sequence[AuditFinding]") -> None:
    from rich.console import Console

    from ..core.plurals import counted

    # Lines as long as they are: a name that is cut at the terminal's width can be neither read nor searched for.
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(finding.level, style="red" if finding.level == "ERROR" else "yellow", end=" ")
        # Without markup: names of tables and policies are whatever somebody called them.
        console.print(f"{finding.object} ({finding.audit})", style="bold", markup=False)
        console.print(f"  {finding.detail}\n  {finding.remediation}\n", markup=False)
    console.print(f"{counted(len(findings), 'finding')}.")
