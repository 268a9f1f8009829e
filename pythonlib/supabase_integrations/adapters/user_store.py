"""The tables as one signed-in user sees them, through Supabase's Data API with that user's own token.

No query names an owner: row level security decides. An unknown id and somebody else's are both a reply without rows.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final
from uuid import UUID

import httpx
from postgrest import AsyncPostgrestClient, ReturnMethod

from ..core.errors import IntegrationNotFoundError
from ..core.models import (
    Caller,
    Integration,
    IntegrationChanges,
    IntegrationEvent,
    IntegrationPage,
    ListQuery,
    NewIntegration,
    PendingAuthorization,
)
from ..port import Clock
from .clock import SystemClock
from .data_api import DataApi
from .integration_list import list_address, page_of
from .integration_rows import (
    EVENT_COLUMNS,
    INTEGRATION_COLUMNS,
    STATE_COLUMNS,
    only,
    read,
    to_event,
    to_integration,
    to_pending_authorization,
)
from .user_credentials import INTEGRATIONS, PostgrestCredentialStore

STATES: Final = "oauth_states"
EVENTS: Final = "integration_events"


class PostgrestUserStores:
    """Opens the tables for one caller over the shared pool. Implements `port.UserStores`."""

    def __init__(
        self, http: httpx.AsyncClient, supabase_url: str, publishable_key: str, *, clock: Clock | None = None
    ) -> None:
        self._http = http
        self._supabase_url = supabase_url
        self._publishable_key = publishable_key
        self._clock = clock or SystemClock()
        # Lists have the same few addresses for everyone, and building one takes as long as reading 20 rows.
        nobody = AsyncPostgrestClient(f"{supabase_url}/rest/v1", http_client=http)
        self._list_address = lru_cache(maxsize=256)(partial(list_address, nobody.from_(INTEGRATIONS)))

    def for_caller(self, caller: Caller) -> "PostgrestUserStore":
        """A store that carries this caller's token and nobody else's."""
        api = DataApi(self._http, self._supabase_url, self._publishable_key, caller.access_token, self._clock)
        return PostgrestUserStore(caller, api, self._list_address)


class PostgrestUserStore(PostgrestCredentialStore):
    """Implements `port.UserStore`."""

    def __init__(self, caller: Caller, api: DataApi, list_address: Callable[[ListQuery], httpx.URL]) -> None:
        super().__init__(caller, api)
        self._list_address = list_address

    async def list_integrations(self, query: ListQuery) -> IntegrationPage:
        """One page of the user's integrations."""
        found = await self._api.rows_at(self._list_address(query))
        return page_of(read(found, to_integration), query)

    async def get_integration(self, integration_id: UUID) -> Integration:
        """One integration without its credentials."""
        query = self._api.table(INTEGRATIONS).select(INTEGRATION_COLUMNS).eq("id", integration_id)
        return only(await self._api.rows(query), to_integration)

    async def find_account(self, service_name: str, external_account_id: str) -> Integration | None:
        """The integration of one account at one service, if it is connected."""
        query = (
            self._api.table(INTEGRATIONS)
            .select(INTEGRATION_COLUMNS)
            .eq("service_name", service_name)
            .eq("external_account_id", external_account_id)
        )
        return next(iter(read(await self._api.rows(query), to_integration)), None)

    async def insert_integration(self, new: NewIntegration) -> Integration:
        """Store a new row. Raises DuplicateIntegrationError, QuotaExceededError, InvalidValueError."""
        values = {
            "id": str(new.id),
            "service_name": new.service_name,
            "service_type": new.service_type,
            "external_account_id": new.external_account_id,
            "display_name": new.display_name,
            "status": new.status,
            "credentials": new.envelope,
            "config": new.config,
            "scopes": new.scopes,
            "expires_at": new.expires_at,
            "next_refresh_at": new.next_refresh_at,
        }
        query = self._api.table(INTEGRATIONS).insert(values).select(INTEGRATION_COLUMNS)
        return only(await self._api.rows(query), to_integration)

    async def update_integration(self, integration_id: UUID, changes: IntegrationChanges) -> Integration:
        """Change what does not touch credentials. Raises QuotaExceededError, InvalidValueError."""
        wanted = {
            "status": changes.status,
            "config": changes.config,
            "last_sync_at": changes.last_sync_at,
            "last_error_code": changes.error_code,
            "last_error_at": "now" if changes.error_code else None,  # by the database's clock, as all its times
        }
        values: dict[str, object] = {column: value for column, value in wanted.items() if value is not None}
        if not values:
            return await self.get_integration(integration_id)
        query = self._change(integration_id, values).select(INTEGRATION_COLUMNS)
        return only(await self._api.rows(query), to_integration)

    async def delete_integration(self, integration_id: UUID) -> None:
        """Delete a row."""
        query = self._api.table(INTEGRATIONS).delete().eq("id", integration_id).select("id")
        if not await self._api.rows(query):
            raise IntegrationNotFoundError

    async def insert_state(self, state_hash: str, flow: str, integration_id: UUID | None) -> None:
        """Remember a started authorization.

        Raises QuotaExceededError; IntegrationNotFoundError for a foreign `integration_id`; InvalidStateError for a
        state that was inserted before.
        """
        values = {
            "state_hash": state_hash,
            "flow": flow,
            "integration_id": str(integration_id) if integration_id else None,
        }
        await self._api.rows(self._api.table(STATES).insert(values, returning=ReturnMethod.minimal))

    async def consume_state(self, state_hash: str) -> PendingAuthorization | None:
        """Delete and return the user's state in one statement; None if it is unknown, foreign, used or expired."""
        query = self._api.table(STATES).delete().eq("state_hash", state_hash).select(STATE_COLUMNS)
        return next(iter(read(await self._api.rows(query), to_pending_authorization)), None)

    async def list_events(
        self, integration_id: UUID, *, before: int | None, limit: int
    ) -> tuple[IntegrationEvent, ...]:
        """The newest events of one integration, older than the event id `before`."""
        query = self._api.table(EVENTS).select(EVENT_COLUMNS).eq("integration_id", integration_id)
        if before is not None:
            query = query.lt("id", before)
        return read(await self._api.rows(query.order("id", desc=True).limit(limit)), to_event)
