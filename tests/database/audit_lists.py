"""The lists inside those audits that compare the catalogs with what the migrations make, written out by a database.

    python -m tests.database.audit_lists        # after a migration was changed: writes them into sql/audits/

Such an audit is `with … (object, definition) as (values …), present … select …`: its list is what `present` holds
right after the migrations.
"""

import asyncio
import re
import textwrap
from collections.abc import Sequence
from typing import Final

import psycopg

from supabase_integrations.local.hosted import MIGRATING_ROLE
from supabase_integrations.resources import audits_dir
from tests.database.cluster import running_cluster

LISTING: Final = tuple(f"{things}_beyond_the_list" for things in ("columns", "constraints", "functions", "triggers"))
"""The audits with such a list."""

_WIDTH: Final = 120
_BEFORE: Final = "(object, definition) as (\n    values\n"
_AFTER: Final = "\n)"
_GLUE: Final = "\x1f"


def read_audit(audit: str) -> str:
    """The text of an audit."""
    return (audits_dir() / f"{audit}.sql").read_text("utf-8")


def written_list(text: str) -> str:
    """The list in an audit's text."""
    return text.partition(_BEFORE)[2].partition(_AFTER)[0]


async def made_list(connection: psycopg.AsyncConnection[tuple[object, ...]], text: str) -> str:
    """The list that belongs into an audit's text, where the database is as the migrations made it."""
    comparison = text.rindex("\nselect\n")
    query = text[:comparison] + '\nselect object, definition from present order by object collate "C"'
    cursor = await connection.execute(query.encode())
    return _render([(str(name), str(definition)) for name, definition in await cursor.fetchall()])


def _render(rows: Sequence[tuple[str, str]]) -> str:
    return ",\n".join(_render_row(name, definition) for name, definition in rows)


def _render_row(name: str, definition: str) -> str:
    literal = f"$${definition}$$" if "'" in definition else f"'{definition}'"
    line = f"('{name}', {literal})"
    if len(line) < _WIDTH - 8:
        return textwrap.indent(line, " " * 8)
    # Broken at spaces, which the audit makes one again, though not inside what is quoted.
    glued = re.sub(r"'[^']*'", lambda quoted: quoted[0].replace(" ", _GLUE), definition)
    wrapped = textwrap.fill(
        literal.replace(definition, glued), _WIDTH - 12, break_long_words=False, break_on_hyphens=False
    ).replace(_GLUE, " ")
    row = f"(\n    '{name}',\n{textwrap.indent(wrapped, ' ' * 4)}\n)"
    return textwrap.indent(row, " " * 8)


async def write_lists() -> None:
    """Push the migrations to a server of this run's own and write what they made into the audits."""
    async with running_cluster() as cluster:
        database = await cluster.create_hosted("listed")
        await cluster.push(database)
        async with await psycopg.AsyncConnection.connect(cluster.url(database)) as connection:
            await connection.execute(f"set role {MIGRATING_ROLE}".encode())
            for audit in LISTING:
                text = read_audit(audit)
                made = await made_list(connection, text)
                (audits_dir() / f"{audit}.sql").write_text(text.replace(written_list(text), made), "utf-8")
        await cluster.drop(database)


if __name__ == "__main__":
    asyncio.run(write_lists())
