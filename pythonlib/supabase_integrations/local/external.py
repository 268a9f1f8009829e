"""A Supabase that the developer runs already: is it ours to use, has it our tables, and does it protect them?"""

import httpx

from supabase_integrations.adapters.audits import AuditFinding, load_audits, run_audits
from supabase_integrations.database_url import DatabaseUrl
from supabase_integrations.resources import audits_dir

from .errors import LocalStackError
from .guarantees import BrokenGuaranteeError
from .migrations import ForeignHistoryError, apply_migrations
from .settings import ExternalSupabase
from .supabase import Progress, Supabase

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


async def use_supabase(external: ExternalSupabase, http: httpx.AsyncClient, progress: Progress) -> Supabase:
    """Use a Supabase that runs already. Migrations are applied unasked only to a database on this machine.

    Raises:
        LocalStackError: our tables are absent, with the command that applies the migrations.
    """
    progress(f"Using the Supabase at {external.url}")
    present = await _has_tables(http, external)
    if external.database and external.database.host in _LOOPBACK:
        try:
            for name in await apply_migrations(external.database):
                progress(f"  {name}")
        except ForeignHistoryError:
            # The app has copied our files into its own migrations: they are there, under versions of its own.
            if not present:
                raise
    elif not present:
        raise LocalStackError(
            f"The Supabase at {external.url} does not have the table `integrations` yet. Apply the migrations with\n"
            "  integrations migrate --database-url 'postgresql://postgres:…'\n"
            "or, where the project has migrations of its own, with\n"
            "  integrations migrations copy PATH_TO_THE_APP   and there   supabase db push"
        )
    return Supabase(external.url, external.publishable_key, None, external.database, external.worker_database)


async def _has_tables(http: httpx.AsyncClient, external: ExternalSupabase) -> bool:
    headers = {"apikey": external.publishable_key.get_secret_value()}
    url = f"{external.url}/rest/v1/integrations"
    try:
        reply = await http.get(url, params={"select": "id", "limit": "0"}, headers=headers)
    except httpx.TransportError as error:
        raise LocalStackError(
            f"Nothing answers at SUPABASE_URL {external.url}. Start it (`supabase start`), or unset SUPABASE_URL and "
            "SUPABASE_PUBLISHABLE_KEY to have one started here."
        ) from error
    # A visitor is refused a table that exists (42501) and told of one that does not (PGRST205).
    if reply.status_code == 401 and "42501" not in reply.text:
        raise LocalStackError(f"{external.url} refuses SUPABASE_PUBLISHABLE_KEY: copy it from the project's settings.")
    return reply.status_code != 404


async def require_protection(http: httpx.AsyncClient, api_url: str, external: ExternalSupabase) -> None:
    """Ask the API as a stranger, and the audits where the database may be asked.

    Raises:
        BrokenGuaranteeError: strangers are not refused, or the database is not what the migrations make of it.
    """
    reply = await http.get(f"{api_url}/readyz")
    for check in reply.json()["checks"]:
        if check["name"] == "database" and not check["ok"]:
            raise BrokenGuaranteeError(f"The Supabase at {external.url} cannot be used. {check['detail']}")
    if external.database:
        await _require_no_findings(external.database)


async def _require_no_findings(database: DatabaseUrl) -> None:
    findings = await run_audits(database, load_audits(audits_dir()))
    if findings:
        raise BrokenGuaranteeError(
            f"The database at {database.shown} does not protect what the migrations protect:\n"
            + "\n".join(map(_told, findings))
            + "\n`integrations audit` says the same without a start."
        )


def _told(finding: AuditFinding) -> str:
    return f"  - {finding.level} {finding.object}: {finding.detail} {finding.remediation}"
