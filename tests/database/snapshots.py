"""Everything in a database's catalogs, to be compared before and after."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

_QUERY: Final = Path(__file__).with_name("snapshot.sql").read_bytes()


@dataclass(frozen=True)
class CatalogObject:
    """An object by kind and name, all that can be said about it, and its comment."""

    name: str
    facts: str
    comment: str | None

    @property
    def ours(self) -> bool:
        """Whether the migrations made it: everything of theirs has one of these words in its name."""
        words = ("integration", "oauth_state", "seen_state", "allowed_claim", "synced_record", "sync_cursor")
        return any(word in self.name for word in words)


Snapshot = frozenset[CatalogObject]


async def take_snapshot(url: str) -> Snapshot:
    """Read the catalogs; names are fully qualified whatever the login's search path."""
    async with await psycopg.AsyncConnection.connect(url, options="-c search_path=") as connection:
        cursor = await connection.execute(_QUERY)
        return frozenset(
            CatalogObject(str(name), str(facts), None if comment is None else str(comment))
            for name, facts, comment in await cursor.fetchall()
        )
