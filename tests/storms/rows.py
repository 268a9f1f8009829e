"""Connections put into the tables as if they had been made some time ago, and what is in them afterwards.

The superuser writes past the triggers, which decide when a row is due: tests move time that way.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from supabase_integrations.adapters.clock import SystemClock
from supabase_integrations.adapters.integration_rows import to_sealed_integration
from supabase_integrations.core.catalogue import Catalogue
from supabase_integrations.core.credentials import CredentialPayload, OAuthCredentials
from supabase_integrations.core.encryption import Encryption
from supabase_integrations.core.models import Integration, IntegrationRef
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.credential_vault import CredentialVault

_INSERT: Final = """
    insert into public.integrations (
        user_id, id, service_name, service_type, external_account_id, credentials, expires_at, next_refresh_at
    ) values (%s, %s, %s, 'crm', %s, %s, %s, %s)
"""
_READ: Final = "select to_jsonb(i) as row from public.integrations as i where id = any(%s)"


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row and the tokens in it."""

    integration: Integration
    credentials: OAuthCredentials

    @property
    def refresh_token(self) -> SecretStr:
        """What the next refresh would spend."""
        assert self.credentials.refresh_token
        return self.credentials.refresh_token


class Fate:
    """Writes where no trigger or grant looks, and reads everything."""

    def __init__(self, database: psycopg.AsyncConnection[dict[str, Any]], encryption: Encryption) -> None:
        self.database = database
        self._vault = CredentialVault(encryption, SystemClock())

    async def sign_up(self, users: Sequence[UUID]) -> None:
        """Make users, where there is no Supabase Auth to do it."""
        async with self.database.cursor() as cursor:
            await cursor.executemany("insert into auth.users (id) values (%s)", [(user,) for user in users])

    async def connect(
        self,
        service_name: str,
        grants: Sequence[tuple[UUID, SecretStr]],
        *,
        expired_since: timedelta = timedelta(seconds=5),
        due: bool = True,
    ) -> list[IntegrationRef]:
        """Insert a connection for each user and refresh token, whose access token has expired; `due` for the worker."""
        now = datetime.now(UTC)
        expired_at = now - expired_since
        rows = []
        for user_id, refresh_token in grants:
            integration_id = uuid4()
            credentials = OAuthCredentials(
                access_token=SecretStr("of-an-hour-ago"),
                issued_at=expired_at - timedelta(hours=1),
                refresh_token=refresh_token,
                expires_at=expired_at,
            )
            envelope = self._vault.seal(
                CredentialPayload(service_name, "", credentials),
                integration_id=integration_id,
                user_id=user_id,
                credential_version=1,
            )
            due_at = now if due else None
            account = integration_id.hex
            rows.append((user_id, integration_id, service_name, account, envelope, expired_at, due_at))
        async with self.database.cursor() as cursor:
            await cursor.executemany(_INSERT, rows)
        return [IntegrationRef(row[0], row[1]) for row in rows]

    async def read(self, refs: Sequence[IntegrationRef], catalogue: Catalogue) -> dict[IntegrationRef, OpenRow]:
        """The rows as they are now, opened."""
        cursor = await self.database.execute(_READ, [[ref.id for ref in refs]])
        return {row.integration.ref: row for found in await cursor.fetchall() for row in [self._open(found, catalogue)]}

    async def expire(self, ref: IntegrationRef, catalogue: Catalogue) -> None:
        """Let an hour pass for a row's access token."""
        row = (await self.read([ref], catalogue))[ref]
        assert row.credentials.expires_at
        hour = timedelta(hours=1, seconds=1)
        aged = replace(
            row.credentials, issued_at=row.credentials.issued_at - hour, expires_at=row.credentials.expires_at - hour
        )
        envelope = self._vault.seal(
            CredentialPayload(row.integration.service_name, "", aged),
            integration_id=ref.id,
            user_id=ref.user_id,
            credential_version=row.integration.credential_version,
        )
        await self.database.execute("update public.integrations set credentials = %s where id = %s", [envelope, ref.id])

    def _open(self, found: dict[str, Any], catalogue: Catalogue) -> OpenRow:
        sealed = to_sealed_integration(found["row"])
        payload = self._vault.open(sealed, catalogue.get(sealed.integration.service_name))
        assert payload
        assert isinstance(payload.credentials, OAuthCredentials)
        return OpenRow(sealed.integration, payload.credentials)


@asynccontextmanager
async def fate_at(superuser_url: str, encryption: Encryption) -> AsyncIterator[Fate]:
    """Connect as the superuser, with triggers off for everything this connection writes."""
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True, row_factory=dict_row) as database:
        await database.execute("set session_replication_role = replica")
        yield Fate(database, encryption)
