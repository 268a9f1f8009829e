"""Writing credentials into a user's rows: sealed to their place, fenced by the lease, retried over a short outage."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID, uuid4

from ..core.credentials import CredentialPayload, OAuthCredentials, from_json, to_json
from ..core.credentials_place import credentials_place, tenant_in
from ..core.encryption import Encryption
from ..core.encryption_errors import DecryptionError, UnsealableValueError
from ..core.errors import IntegrationBusyError, IntegrationError, StoreUnavailableError
from ..core.lease import pauses
from ..core.models import (
    CredentialReplacement,
    Integration,
    IntegrationChanges,
    IntegrationStatus,
    SealedIntegration,
)
from ..core.refresh_policy import next_look_at
from ..core.service import ServiceDefinition
from ..port import Clock, CredentialStore
from ..uninterrupted import uninterrupted

_STOPPED: Final = (IntegrationStatus.ERROR, IntegrationStatus.NEEDS_REAUTHORIZATION, IntegrationStatus.REVOKED)
_OUTAGE_WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt at a write that must not be lost: with the longest request to a service they end
before the lease does.
"""

_NO_CHANGES: Final = IntegrationChanges()

T = TypeVar("T")


class CredentialVault:
    """Seals, opens and replaces the credentials of one user's rows."""

    def __init__(self, encryption: Encryption, clock: Clock) -> None:
        self._encryption = encryption
        self._clock = clock

    def seal(self, payload: CredentialPayload, *, integration_id: UUID, user_id: UUID, credential_version: int) -> str:
        """The envelope for one row at one version."""
        place = credentials_place(payload.service_name, payload.tenant, integration_id, user_id, credential_version)
        return self._encryption.encrypt_object(to_json(payload), place)

    def open(self, sealed: SealedIntegration, service: ServiceDefinition) -> CredentialPayload | None:
        """The credentials of a row; None where it holds none. Raises DecryptionError and its kinds."""
        row = sealed.integration
        if sealed.envelope is None:
            return None
        tenant = tenant_of(row, service)
        try:
            place = credentials_place(row.service_name, tenant, row.id, row.user_id, row.credential_version)
        except UnsealableValueError:
            # The settings are the user's, and name a tenant longer than any: nothing was sealed for such a place.
            raise DecryptionError from None
        return from_json(self._encryption.decrypt_object(sealed.envelope, place))

    async def replace(
        self,
        store: CredentialStore,
        integration_id: UUID,
        payload: CredentialPayload,
        service: ServiceDefinition,
        *,
        display_name: str | None = None,
        changes: IntegrationChanges = _NO_CHANGES,
    ) -> Integration:
        """Put new credentials in the place of the old ones, and other changes with them, under the row's lease.

        A caller that is cancelled once the lease is there gets its cancellation when they are written. Raises
        IntegrationBusyError.
        """
        owner = uuid4()
        row = (await self.lease(store, integration_id, owner)).integration

        async def write() -> Integration:
            try:
                return await self.write(
                    store, row, payload, service, lease_owner=owner, display_name=display_name, changes=changes
                )
            except IntegrationError:
                with suppress(IntegrationError):
                    await store.release_lease(integration_id, owner)
                raise

        return await uninterrupted(write())

    async def write(
        self,
        store: CredentialStore,
        row: Integration,
        payload: CredentialPayload,
        service: ServiceDefinition,
        *,
        lease_owner: UUID,
        display_name: str | None = None,
        changes: IntegrationChanges = _NO_CHANGES,
    ) -> Integration:
        """Write the next version of a leased row's credentials and end the lease, in one statement.

        What had stopped the connection is over with its credentials; a user's pause is not. Raises IntegrationBusyError
        where the lease has passed to somebody else: nothing was written. After other errors the lease stands: a journal
        may have these credentials, and its replay comes before others.
        """
        version = row.credential_version
        envelope = self.seal(payload, integration_id=row.id, user_id=row.user_id, credential_version=version + 1)
        scopes, expires_at, due_at = copies(payload, service)
        replacement = CredentialReplacement(
            envelope=envelope,
            scopes=scopes,
            expires_at=expires_at,
            next_refresh_at=due_at,
            display_name=display_name,
            status=changes.status or (IntegrationStatus.ACTIVE if row.status in _STOPPED else None),
            config=changes.config,
            last_sync_at=changes.last_sync_at,
        )
        try:
            return await self.persistently(
                lambda: store.replace_credentials(row.id, replacement, lease_owner=lease_owner, seen_version=version)
            )
        except IntegrationBusyError:
            return await self.written_already(store, row.id, envelope)

    async def persistently(self, write: Callable[[], Awaitable[T]]) -> T:
        """Do a write that would lose something if it were given up at the first outage."""
        for wait in _OUTAGE_WAITS:
            try:
                return await write()
            except StoreUnavailableError:
                await self._clock.sleep(wait)
        return await write()

    async def written_already(self, store: CredentialStore, integration_id: UUID, envelope: str) -> Integration:
        """The row, if it holds this very envelope: the write went through and only its answer was lost.

        Raises IntegrationBusyError, IntegrationNotFoundError.
        """
        sealed = await store.get_sealed(integration_id)
        if sealed.envelope != envelope:
            raise IntegrationBusyError
        return sealed.integration

    async def lease(self, store: CredentialStore, integration_id: UUID, owner: UUID) -> SealedIntegration:
        """The row, leased to `owner`, after whoever else has it; a caller that is cancelled leaves no lease behind.

        Raises IntegrationBusyError after a long wait.
        """
        try:
            for pause in pauses():
                try:
                    return await self.persistently(lambda: uninterrupted(store.take_lease(integration_id, owner)))
                except IntegrationBusyError:
                    await self._clock.sleep(pause)
            return await uninterrupted(store.take_lease(integration_id, owner))
        except asyncio.CancelledError:
            # What was asked for last may have been given, and nobody else would get it for a minute and a quarter.
            with suppress(IntegrationError):
                await uninterrupted(store.release_lease(integration_id, owner))
            raise


def copies(
    payload: CredentialPayload, service: ServiceDefinition
) -> tuple[tuple[str, ...], datetime | None, datetime | None]:
    """What is shown beside an envelope: scopes, expiry and when the worker is to look at it."""
    credentials = payload.credentials
    if not isinstance(credentials, OAuthCredentials):
        return (), None, None
    return credentials.scopes, credentials.expires_at, next_look_at(credentials, service)


def tenant_of(row: Integration, service: ServiceDefinition) -> str:
    """The tenant a row says it belongs to."""
    return tenant_in(row.config, service)
