"""One user's credentials and their leases, through Supabase's Data API with that user's own token."""

from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from postgrest import AsyncSelectRequestBuilder, ReturnMethod

from ..core.errors import IntegrationBusyError
from ..core.models import (
    Caller,
    CredentialReplacement,
    Integration,
    IntegrationStatus,
    RefreshFailure,
    SealedIntegration,
)
from .credential_columns import columns_of_failure, columns_of_replacement
from .data_api import DataApi
from .integration_rows import INTEGRATION_COLUMNS, SEALED_COLUMNS, only, read, to_integration, to_sealed_integration

INTEGRATIONS: Final = "integrations"


class PostgrestCredentialStore:
    """Implements `port.CredentialStore`."""

    def __init__(self, caller: Caller, api: DataApi) -> None:
        self.caller: Caller | None = caller
        self._api = api

    async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
        """One integration with its envelope."""
        query = self._api.table(INTEGRATIONS).select(SEALED_COLUMNS).eq("id", integration_id)
        return only(await self._api.rows(query), to_sealed_integration)

    async def take_lease(self, integration_id: UUID, owner: UUID) -> SealedIntegration:
        """Become the one who may replace the credentials, for the 60 s that the database grants; the row as it is then.

        Raises IntegrationBusyError while somebody else's lease lives. Choose a fresh `owner` for each undertaking: the
        database never prolongs a lease that lives.
        """
        query = self._change(integration_id, {"refresh_lease_owner": str(owner)}).select(SEALED_COLUMNS)
        return only(await self._api.rows(query), to_sealed_integration)

    async def replace_credentials(
        self, integration_id: UUID, replacement: CredentialReplacement, *, lease_owner: UUID, seen_version: int
    ) -> Integration:
        """Write new credentials and end the lease, if it is still `lease_owner`'s and the version still `seen_version`.

        The traces of earlier failures go with the credentials that failed. Raises IntegrationBusyError where lease or
        version is another: nothing was written.
        """
        values = columns_of_replacement(replacement)
        return await self._fenced(integration_id, values, lease_owner, seen_version)

    async def record_failure(
        self, integration_id: UUID, failure: RefreshFailure, *, lease_owner: UUID, seen_version: int
    ) -> None:
        """Note a failed refresh and end the lease, if lease and version are still what this caller knows.

        A pause that the failure spares is still one.
        """
        known = {"refresh_lease_owner": lease_owner, "credential_version": seen_version}
        if failure.spares_pause:
            query = self._change(integration_id, columns_of_failure(failure)).match(known)
            if await self._api.rows(query.neq("status", IntegrationStatus.INACTIVE).select("id")):
                return
            failure = replace(failure, status=None)
        query = self._change(integration_id, columns_of_failure(failure), returning=ReturnMethod.minimal)
        await self._api.rows(query.match(known))

    async def reschedule(self, integration_id: UUID, next_refresh_at: datetime | None, *, lease_owner: UUID) -> None:
        """Say when the row is due next (None: never) and end the lease, if it is still `lease_owner`'s."""
        values: dict[str, object] = {"next_refresh_at": next_refresh_at, "refresh_lease_owner": None}
        query = self._change(integration_id, values, returning=ReturnMethod.minimal)
        await self._api.rows(query.eq("refresh_lease_owner", lease_owner))

    async def discard_credentials(
        self,
        integration_id: UUID,
        *,
        status: IntegrationStatus,
        error_code: str | None,
        lease_owner: UUID,
        seen_version: int,
    ) -> Integration:
        """Leave a row without credentials and end the lease, if lease and version are still what this caller knows.

        Raises IntegrationBusyError where they are not: nothing was written.
        """
        values: dict[str, object] = {
            "credentials": None,
            "scopes": (),
            "expires_at": None,
            "next_refresh_at": None,
            "status": status,
            "last_error_code": error_code,
            "last_error_at": "now" if error_code else None,  # by the database's clock, as all its times
            "refresh_failures": 0,
            "refresh_lease_owner": None,
        }
        return await self._fenced(integration_id, values, lease_owner, seen_version)

    async def release_lease(self, integration_id: UUID, owner: UUID) -> None:
        """End the lease if it is still `owner`'s; silent where it is not."""
        query = self._change(integration_id, {"refresh_lease_owner": None}, returning=ReturnMethod.minimal)
        await self._api.rows(query.eq("refresh_lease_owner", owner))

    async def _fenced(
        self, integration_id: UUID, values: dict[str, object], lease_owner: UUID, seen_version: int
    ) -> Integration:
        """Change a row where lease and version are what the caller knows. Raises IntegrationBusyError."""
        query = (
            self._change(integration_id, values)
            .eq("refresh_lease_owner", lease_owner)
            .eq("credential_version", seen_version)
            .select(INTEGRATION_COLUMNS)
        )
        written = read(await self._api.rows(query), to_integration)
        if not written:
            raise IntegrationBusyError
        return written[0]

    def _change(
        self,
        integration_id: UUID,
        values: dict[str, object],
        *,
        returning: ReturnMethod = ReturnMethod.representation,
    ) -> AsyncSelectRequestBuilder:
        return self._api.table(INTEGRATIONS).update(values, returning=returning).eq("id", integration_id)
