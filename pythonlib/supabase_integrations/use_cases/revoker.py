"""Ending a connection at its service before its credentials go.

It takes the row's lease as a refresh does: nobody renews the tokens meanwhile, so the ones that are ended are the last.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from ..core.catalogue import Catalogue
from ..core.credentials import Credentials, OAuthCredentials
from ..core.errors import (
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    InvalidClientError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    RevocationRefusedError,
    ServiceNotConfiguredError,
    StoreUnavailableError,
)
from ..core.models import (
    Integration,
    IntegrationChanges,
    IntegrationStatus,
    ListQuery,
    RefreshFailure,
    SealedIntegration,
)
from ..core.oauth_messages import OAuthClient
from ..core.revocation import Revocation, RevocationOutcome, read_revocation_reply, revocation_request
from ..core.service import ServiceDefinition
from ..port import Clock, Journal, ProviderHttp, UserStore
from ..uninterrupted import uninterrupted
from .credential_vault import CredentialVault, tenant_of
from .refresher import Refresher

PATIENCE: Final = timedelta(seconds=10)
"""How long a service may take to be told, with a refresh before it; for a deletion, with the wait for a lease too."""
MAX_INTEGRATIONS: Final = 200
"""Of one user: the database's quota, and one page of a list."""

_SERVICE_ERRORS: Final = (ProviderUnavailableError, InvalidClientError, RevocationRefusedError)
_USES_GRANT: Final = (IntegrationStatus.ACTIVE, IntegrationStatus.INACTIVE, IntegrationStatus.ERROR)


class Revoker:
    """Disconnects one signed-in user's connections."""

    def __init__(
        self,
        catalogue: Catalogue,
        clients: Mapping[str, OAuthClient],
        vault: CredentialVault,
        http: ProviderHttp,
        clock: Clock,
        *,
        journal: Journal,
        refresher: Refresher,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._catalogue = catalogue
        self._clients = clients
        self._vault = vault
        self._http = http
        self._clock = clock
        self._journal = journal
        self._refresher = refresher
        self._patience = patience.total_seconds()
        self._registrations = {
            service.name: (urlsplit(service.token_endpoint).netloc, clients[service.name].client_id)
            for service in catalogue
            if service.name in clients
        }

    async def revoke(self, store: UserStore, integration_id: UUID) -> Revocation:
        """End the tokens at the service, and leave the row `revoked` and without credentials.

        Where the service refuses or is away the credentials stay, so that it can be tried again. Raises
        IntegrationNotFoundError, IntegrationBusyError, ProviderUnavailableError, RateLimitedError, InvalidClientError,
        RevocationRefusedError, IntegrationPausedError (an expired token of a paused connection would have to be renewed
        first), UnknownServiceError, ServiceNotConfiguredError, StoreUnavailableError, JournalUnavailableError and
        DecryptionError.
        """
        started = asyncio.get_running_loop().time()
        async with _within(self._patience):
            await self._renew_ended(store, await store.get_sealed(integration_id))
        left = started + self._patience - asyncio.get_running_loop().time()
        owner = uuid4()
        leased = await self._vault.lease(store, integration_id, owner)
        # Once the service has ended the tokens, a caller that goes away must not leave them in the row.
        return await uninterrupted(self._revoke_leased(store, leased, owner, left))

    async def _revoke_leased(self, store: UserStore, leased: SealedIntegration, owner: UUID, left: float) -> Revocation:
        try:
            async with _within(left):
                outcome = await self._tell(store, leased)
        except _SERVICE_ERRORS:
            await self._note_failure(store, leased.integration, owner)
            raise
        except IntegrationError:
            with suppress(IntegrationError):
                await store.release_lease(leased.integration.id, owner)
            raise
        return Revocation(await self._empty(store, leased.integration, owner, outcome), outcome)

    async def delete(self, store: UserStore, integration_id: UUID) -> None:
        """End the tokens at the service if that is possible now, note what became of it, and delete the row anyway.

        Raises IntegrationNotFoundError, and StoreUnavailableError where nothing can be deleted either.
        """
        before = await store.get_sealed(integration_id)
        await uninterrupted(self._end_and_delete(store, before))

    async def _end_and_delete(self, store: UserStore, before: SealedIntegration) -> None:
        integration_id, owner = before.integration.id, uuid4()
        leased, outcome = await self._attempt(store, before, owner)
        try:
            if leased is None:
                noted = IntegrationChanges(status=IntegrationStatus.REVOKED, error_code=outcome)
                await store.update_integration(integration_id, noted)
            else:
                await self._discard(store, leased.integration, owner, outcome)
        except StoreUnavailableError:
            raise
        except IntegrationError:
            pass  # Refused for this user (a limit, an ended session): the deletion has the last word.
        await store.delete_integration(integration_id)

    async def _attempt(
        self, store: UserStore, before: SealedIntegration, owner: UUID
    ) -> tuple[SealedIntegration | None, RevocationOutcome]:
        """The row under its lease, if there was one to be had in time, and what became of the tokens.

        What is in the way of ending a token must not be in the way of deleting it. Raises as `delete` does.
        """
        leased = None
        try:
            async with _within(self._patience):
                await self._renew_ended(store, before)
                leased = await self._vault.lease(store, before.integration.id, owner)
                return leased, await self._tell(store, leased, goes=True)
        except (IntegrationNotFoundError, StoreUnavailableError):
            raise
        except IntegrationError:
            return leased, RevocationOutcome.FAILED

    async def _renew_ended(self, store: UserStore, sealed: SealedIntegration) -> None:
        """Where the service has to be asked with an access token and that has ended, get one that holds.

        Where there is none to be had, no token of the connection works any more, and nothing is left to be ended.
        """
        if sealed.envelope is None:
            return
        service, credentials = self._open(sealed)
        if service.revocation_endpoint and service.revocation.needs_access_token and self._has_ended(credentials):
            with suppress(ReauthorizationRequiredError):
                await self._refresher.fresh(store, sealed.integration.id)

    async def _tell(self, store: UserStore, leased: SealedIntegration, *, goes: bool = False) -> RevocationOutcome:
        """Send the one request, if there is anything to be told; `goes` where the row is deleted then in any case.

        Raises what the reply may mean.
        """
        row = leased.integration
        if leased.envelope is None:
            return _earlier_outcome(row)
        service, credentials = self._open(leased)
        kept = await self._journal.find(row.ref, row.credential_version)
        if kept is not None:
            # A renewal's reply that could not be stored: its tokens are the ones that live.
            credentials = kept.payload.credentials
        if not service.revocation_endpoint or not isinstance(credentials, OAuthCredentials):
            return RevocationOutcome.UNSUPPORTED
        client = self._clients.get(service.name)
        if client is None:
            raise ServiceNotConfiguredError
        if service.revocation.ends == "grant" and await self._is_left_to_another(store, row, goes=goes):
            return RevocationOutcome.SKIPPED_SHARED_GRANT
        if service.revocation.needs_access_token and self._has_ended(credentials):
            return RevocationOutcome.REVOKED
        request = revocation_request(
            service, client, credentials, tenant=tenant_of(row, service), account_id=row.external_account_id
        )
        return read_revocation_reply(await self._http.send(request), service, self._clock.now())

    async def _is_left_to_another(self, store: UserStore, row: Integration, *, goes: bool) -> bool:
        """Whether another connection needs the grant. Of two that are deleted at once each would leave it to the other:
        so a row that goes says so, and looks again.
        """
        if not await self._shares_grant(store, row):
            return False
        if goes:
            await store.update_integration(row.id, IntegrationChanges(status=IntegrationStatus.REVOKED))
        return not goes or await self._shares_grant(store, row)

    async def _shares_grant(self, store: UserStore, row: Integration) -> bool:
        """Whether another connection that works has its tokens from the same client, for the same account.

        Only this user's are looked at: their choice of an account id must not tell them about others.
        """
        registration = self._registrations.get(row.service_name)
        page = await store.list_integrations(ListQuery(limit=MAX_INTEGRATIONS))
        return any(
            other.id != row.id
            and other.external_account_id == row.external_account_id
            and other.status in _USES_GRANT
            and self._registrations.get(other.service_name) == registration
            for other in page.integrations
        )

    async def _empty(self, store: UserStore, row: Integration, owner: UUID, outcome: RevocationOutcome) -> Integration:
        """Discard the credentials, through a short outage too: at the service they are gone."""
        try:
            return await self._vault.persistently(lambda: self._discard(store, row, owner, outcome))
        except IntegrationBusyError:
            now = await store.get_sealed(row.id)
            if now.envelope is not None or now.integration.status is not IntegrationStatus.REVOKED:
                raise
            return now.integration  # The write went through and only its answer was lost.

    async def _discard(
        self, store: UserStore, row: Integration, owner: UUID, outcome: RevocationOutcome
    ) -> Integration:
        return await store.discard_credentials(
            row.id,
            status=IntegrationStatus.REVOKED,
            error_code=None if outcome is RevocationOutcome.REVOKED else outcome,
            lease_owner=owner,
            seen_version=row.credential_version,
        )

    async def _note_failure(self, store: UserStore, row: Integration, owner: UUID) -> None:
        """Say in the row that the service was not told; it goes on being refreshed as before."""
        code, failures = RevocationOutcome.FAILED, row.refresh_failures
        failure = RefreshFailure(None, code, row.next_refresh_at, failures)
        with suppress(IntegrationError):
            await store.record_failure(row.id, failure, lease_owner=owner, seen_version=row.credential_version)

    def _open(self, sealed: SealedIntegration) -> tuple[ServiceDefinition, Credentials | None]:
        service = self._catalogue.get(sealed.integration.service_name)
        payload = self._vault.open(sealed, service)
        return service, payload.credentials if payload else None

    def _has_ended(self, credentials: Credentials | None) -> bool:
        if not isinstance(credentials, OAuthCredentials) or credentials.expires_at is None:
            return False
        return credentials.expires_at <= self._clock.now()


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Raise ProviderUnavailableError where the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ProviderUnavailableError("The service did not answer in time. Try again later.") from None


def _earlier_outcome(row: Integration) -> RevocationOutcome:
    """What is known of a row that holds no credentials: what was noted when it was emptied."""
    if row.status is not IntegrationStatus.REVOKED:
        return RevocationOutcome.UNSUPPORTED
    return next((outcome for outcome in RevocationOutcome if outcome == row.last_error_code), RevocationOutcome.REVOKED)
