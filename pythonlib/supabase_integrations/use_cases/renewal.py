"""One renewal by whoever holds a row's lease: ask the service once, keep the reply, store it.

No transaction is held meanwhile. What is written is fenced by lease and version; what could not be written yet is in
the journal, and whoever gets the lease next on this machine stores that instead of spending the old token again.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

from ..core.credentials import CredentialPayload, OAuthCredentials
from ..core.errors import (
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    InvalidClientError,
    InvalidGrantError,
    JournalUnavailableError,
    MalformedTokenResponseError,
    NotRefreshableError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    ServiceNotConfiguredError,
    StoreUnavailableError,
    TokenEndpointError,
)
from ..core.http_messages import HttpRequest
from ..core.journal_entry import JournalEntry
from ..core.models import Integration
from ..core.oauth_messages import OAuthClient, access_token_exchange_request, refresh_request
from ..core.refresh_policy import FIRST_WAIT, OPERATOR_WAIT, failure_of, renewed, spends_its_token
from ..core.service import ServiceDefinition
from ..core.service_kinds import RefreshKind
from ..core.token_reply import parse_token_reply
from ..port import Clock, CredentialStore, Journal, ProviderHttp, RefreshLog
from .credential_vault import CredentialVault
from .refused_clients import RefusedClients

_LONGEST_LOOK: Final = timedelta(seconds=10)
"""How long the journal's disk may take before the service is asked. With the longest request after it, and the slowest
answers of the database, a lease could have passed to somebody else, who would spend the same token.
"""
_SERVICE_ERRORS: Final = (ProviderUnavailableError, TokenEndpointError, MalformedTokenResponseError)


@dataclass(frozen=True, slots=True)
class OpenIntegration:
    """A row with its credentials opened."""

    integration: Integration
    payload: CredentialPayload
    service: ServiceDefinition


class Renewal:
    """What the holder of a lease does, whoever it is."""

    def __init__(
        self,
        clients: Mapping[str, OAuthClient],
        vault: CredentialVault,
        http: ProviderHttp,
        clock: Clock,
        journal: Journal,
        log: RefreshLog,
        random: Random,
    ) -> None:
        self._clients = clients
        self._vault = vault
        self._http = http
        self._clock = clock
        self._journal = journal
        self._log = log
        self._random = random
        self._refused = RefusedClients()

    async def renew(
        self, store: CredentialStore, leased: OpenIntegration, owner: UUID, *, reason: str
    ) -> OpenIntegration:
        """The row with new credentials; or what went wrong, recorded, and the lease ended.

        Raises what a token endpoint's reply may mean, ReauthorizationRequiredError, JournalUnavailableError,
        RateLimitedError (no connection to the service was free), UnknownKeyError (the journal has a reply that no key
        here opens, and nobody is asked), IntegrationBusyError and StoreUnavailableError. After the last two the lease
        stands until it ends by itself: the journal may have what nobody else has.
        """
        row, started_at = leased.integration, self._clock.now()
        try:
            kept = await self._journal.find(row.ref, row.credential_version)
            payload = kept.payload if kept else await self._ask(leased, started_at)
        except _SERVICE_ERRORS as error:
            failure = failure_of(error, failures=row.refresh_failures, now=self._clock.now(), random=self._random)
            await self._vault.persistently(
                lambda: store.record_failure(row.id, failure, lease_owner=owner, seen_version=row.credential_version)
            )
            self._log.failed(row, failure, error, seconds=self._since(started_at))
            if isinstance(error, InvalidGrantError):
                raise ReauthorizationRequiredError from None
            raise
        except RateLimitedError as error:
            # This process had no connection free, and the service was told nothing: that is no failure of either.
            await store.release_lease(row.id, owner)
            self._log.skipped(row, error.code)
            raise
        except IntegrationError as error:
            wait = FIRST_WAIT if isinstance(error, JournalUnavailableError) else OPERATOR_WAIT
            await store.reschedule(row.id, self._clock.now() + wait, lease_owner=owner)
            self._log.skipped(row, error.code)
            raise
        if kept is not None:
            return await self.store_kept(store, leased, owner, kept)
        written = await self._store(store, leased, owner, payload)
        self._log.refreshed(written, reason=reason, seconds=self._since(started_at))
        return replace(leased, integration=written, payload=payload)

    async def _ask(self, leased: OpenIntegration, started_at: datetime) -> CredentialPayload:
        """Send the one token request. Raises what a token endpoint's reply may mean."""
        old, service = leased.payload.credentials, leased.service
        client = self._clients.get(service.name)
        if client is None:
            raise ServiceNotConfiguredError
        if not isinstance(old, OAuthCredentials):
            raise NotRefreshableError
        request = _request(service, client, old, leased.payload.tenant)
        if spends_its_token(service):
            has_room = await self._journal.has_room()
            if not has_room or self._clock.now() - started_at > _LONGEST_LOOK:
                raise JournalUnavailableError
        tenant, user_id = leased.payload.tenant, leased.integration.user_id
        self._refused.check(service, tenant, self._clock.now())
        try:
            reply = await self._http.send(request)
            new = parse_token_reply(reply, service, self._clock.now(), requested_scopes=old.scopes)
        except InvalidClientError:
            self._refused.refused(service, tenant, user_id, self._clock.now())
            raise
        self._refused.accepted(service, tenant)
        return replace(leased.payload, credentials=renewed(old, new.credentials, service))

    async def _store(
        self, store: CredentialStore, leased: OpenIntegration, owner: UUID, payload: CredentialPayload
    ) -> Integration:
        """Write new credentials, over the journal where the old ones are spent."""
        row = leased.integration
        if not _is_spent(leased.payload, payload):
            return await self._write(store, leased, owner, payload)
        entry = JournalEntry(row.ref, row.credential_version, owner, payload, store.caller, self._clock.now())
        is_kept = await self._keep(row, entry)
        try:
            written = await self._write(store, leased, owner, payload)
        except IntegrationError:
            if is_kept:
                self._log.kept(row)
            raise
        if is_kept:
            await self._journal.remove(entry)
        return written

    async def _write(
        self, store: CredentialStore, leased: OpenIntegration, owner: UUID, payload: CredentialPayload
    ) -> Integration:
        """Write new credentials. A row that refuses them is left for a while, or its service would be asked in vain
        again and again.
        """
        row = leased.integration
        try:
            return await self._vault.write(store, row, payload, leased.service, lease_owner=owner)
        except (StoreUnavailableError, IntegrationBusyError, IntegrationNotFoundError):
            raise
        except IntegrationError as error:
            with suppress(IntegrationError):
                await store.reschedule(row.id, self._clock.now() + OPERATOR_WAIT, lease_owner=owner)
            self._log.refused(row, error.code)
            raise

    async def _keep(self, row: Integration, entry: JournalEntry) -> bool:
        try:
            await self._journal.write(entry)
        except JournalUnavailableError:
            # The reply is here now: the database may still take it.
            self._log.not_kept(row)
            return False
        return True

    async def store_kept(
        self, store: CredentialStore, leased: OpenIntegration, owner: UUID, entry: JournalEntry
    ) -> OpenIntegration:
        """Store a reply that a journal kept into a row that `owner` has leased. Raises as `renew` does."""
        written = await self._write(store, leased, owner, entry.payload)
        await self._journal.remove(entry)
        self._log.replayed(written)
        return replace(leased, integration=written, payload=entry.payload)

    def _since(self, moment: datetime) -> float:
        return (self._clock.now() - moment).total_seconds()


def _is_spent(old: CredentialPayload, new: CredentialPayload) -> bool:
    """Whether the reply brought another refresh token: then the one in the database may be of no more use."""
    before, after = old.credentials, new.credentials
    if not isinstance(before, OAuthCredentials) or not isinstance(after, OAuthCredentials):
        return False
    return before.refresh_token is not None and before.refresh_token != after.refresh_token


def _request(service: ServiceDefinition, client: OAuthClient, old: OAuthCredentials, tenant: str) -> HttpRequest:
    if service.refresh is RefreshKind.EXCHANGE:
        return access_token_exchange_request(service, client, access_token=old.access_token, tenant=tenant)
    if old.refresh_token is None:
        raise ReauthorizationRequiredError
    return refresh_request(service, client, refresh_token=old.refresh_token, tenant=tenant)
