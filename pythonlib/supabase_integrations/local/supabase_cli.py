"""Supabase's own command line: applies migrations and runs the dashboard's advisors.

    database = DatabaseUrl.parse("postgresql://postgres:…@127.0.0.1:54322/postgres?sslmode=disable")
    await push_migrations(database)
    findings = await run_advisors(database, level="warn")              # [] = nothing to report

Both raise `SupabaseCliError` with what the tool said. The password travels in PGPASSWORD: neither this process's
messages nor the list of processes shows it. The tool sees a folder of its own, so it leaves nothing in a clone.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.resources import clone_root, migrations_dir

from .errors import LocalStackError

Level = Literal["info", "warn", "error"]

_TELEMETRY_OFF = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"}


class SupabaseCliError(LocalStackError):
    """Supabase's command line could not do what was asked."""

    code = "supabase_cli_error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One advisor finding, as the Supabase dashboard shows it."""

    name: str
    level: str
    detail: str


async def push_migrations(database: DatabaseUrl, source: Path | None = None) -> list[str]:
    """Apply those migrations of `source` (by default ours) that the database has not recorded; return their names."""
    with tempfile.TemporaryDirectory(prefix="supabase-push-") as folder:
        workdir = Path(folder)
        await asyncio.to_thread(_prepare_workdir, workdir, source or migrations_dir())
        answer = await _run(["db", "push"], database, workdir)
    return [str(name) for name in _listed(answer, "migrations")]


async def run_advisors(database: DatabaseUrl, *, level: Level = "warn") -> list[Finding]:
    """Run the security and performance advisors and return the findings of `level` and above."""
    with tempfile.TemporaryDirectory(prefix="supabase-advisors-") as folder:
        workdir = Path(folder)
        await asyncio.to_thread(_prepare_workdir, workdir, None)
        answer = await _run(
            ["db", "advisors", "--type", "all", "--level", level, "--fail-on", "none"], database, workdir
        )
    return [
        Finding(str(item.get("name")), str(item.get("level")), str(item.get("detail")))
        for item in _listed(answer, "results")
        if isinstance(item, dict)
    ]


def find_supabase_cli() -> Path:
    """The tool's own binary from the clone's node_modules, or else `supabase` on the PATH."""
    root = clone_root()
    if root:
        # The `supabase` package brings one binary package for this platform; its Node wrapper is not needed.
        for binary in sorted((root / "node_modules" / "@supabase").glob("cli-*/bin/supabase")):
            return binary
    on_path = shutil.which("supabase")
    if on_path:
        return Path(on_path)
    install = "make setup" if root else "npm install --global supabase"
    raise SupabaseCliError(f"Supabase's command line is not installed. Install it with: {install}")


async def _run(command: Sequence[str], database: DatabaseUrl, workdir: Path) -> Mapping[str, object]:
    arguments = ["--yes", "--workdir", str(workdir), "--output-format", "json", *command]
    # A home of its own: it would leave settings in the developer's.
    environment = {**os.environ, **_TELEMETRY_OFF, "HOME": str(workdir)}
    environment.pop("PGPASSWORD", None)
    if database.password:
        environment["PGPASSWORD"] = database.password.get_secret_value()
    process = await asyncio.create_subprocess_exec(
        find_supabase_cli(),
        *arguments,
        f"--remote={database.without_password}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=workdir,
    )
    try:
        stdout, stderr = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    answer = _parse_answer(stdout)
    if process.returncode != 0 or "error" in answer:
        raise SupabaseCliError(database.conceal(_explain(command, answer, stderr.decode("utf-8", "replace"))))
    return answer


def _prepare_workdir(workdir: Path, source: Path | None) -> None:
    target = workdir / "supabase" / "migrations"
    target.mkdir(parents=True)
    (workdir / "supabase" / "config.toml").write_text('project_id = "supabase-integrations"\n')
    for migration in sorted(source.glob("*.sql")) if source else ():
        shutil.copyfile(migration, target / migration.name)


def _parse_answer(stdout: bytes) -> Mapping[str, object]:
    """The last line that is a JSON object; the tool may print progress before it."""
    for line in reversed(stdout.decode("utf-8", "replace").splitlines()):
        if line.startswith("{"):
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if isinstance(answer, dict):
                return answer
    return {}


def _listed(answer: Mapping[str, object], key: str) -> list[object]:
    value = answer.get(key)
    return value if isinstance(value, list) else []


def _explain(command: Sequence[str], answer: Mapping[str, object], stderr: str) -> str:
    error = answer.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return f"supabase {' '.join(command[:2])} failed: {said or stderr.strip() or 'it gave no reason'}"
