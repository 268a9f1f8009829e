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
    from ..core.secret import SecretStr
    from ..resources import audits_dir

    url = database_url or read_environment(env_file).get("DATABASE_URL")
    if not url:
        raise typer.BadParameter("Name a database, or set DATABASE_URL.", param_hint="--database-url")
    audits = load_audits(audits_dir())
    findings = asyncio.run(run_audits(SecretStr(url), audits))
    if as_json:
        typer.echo(_to_json(findings))
    elif findings:
        _print_table(findings)
    else:
        typer.echo(f"{len(audits)} audits, nothing found.")
    if findings:
        raise typer.Exit(1)


def _to_json(findings: "Sequence[AuditFinding]") -> str:
    import json
    from dataclasses import asdict

    return json.dumps([asdict(finding) for finding in findings], indent=2)


def _print_table(findings: "Sequence[AuditFinding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Audit", "Level", "Object", "Finding", "What to do", show_lines=True)
    for finding in findings:
        # As Text: names of tables and policies are whatever somebody called them, not rich's markup.
        table.add_row(
            finding.audit,
            Text(finding.level, "red" if finding.level == "ERROR" else "yellow"),
            Text(finding.object),
            Text(finding.detail),
            Text(finding.remediation),
        )
    Console().print(table)
