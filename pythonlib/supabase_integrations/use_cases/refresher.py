"""Renewing credentials, once for however many callers find them due.

Whoever takes the row's lease asks the service; everybody else waits for the version to change and takes what was
written. No transaction is held meanwhile, and what is written is fenced by lease and version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final
from uuid import UUID, uuid4

from ..core.catalogue import Catalogue
from ..core.credentials import CredentialPayload, OAuthCredentials
from ..core.errors import (
    IntegrationBusyError,
    IntegrationError,
    IntegrationPausedError,
    InvalidClientError,
    InvalidGrantError,
    MalformedTokenResponseError,
    NotRefreshableError,
    ProviderUnavailableError,
    QuotaExceededError,
    ReauthorizationRequiredError,
    ServiceNotConfiguredError,
    TokenEndpointError,
)
from ..core.http_messages import HttpRequest
from ..core.lease import pauses
from ..core.models import Integration, IntegrationStatus, SealedIntegration
from ..core.oauth_messages import OAuthClient, access_token_exchange_request, refresh_request
from ..core.refresh_policy import RefreshReason, decide, failure_of, renewed
from ..core.service import ServiceDefinition
from ..core.service_kinds import RefreshKind
from ..core.token_reply import parse_token_reply
from ..port import Clock, ProviderHttp, UserStore
from .credential_vault import CredentialVault

_REAUTHORIZE: Final = (IntegrationStatus.NEEDS_REAUTHORIZATION, IntegrationStatus.REVOKED)
_SERVICE_ERRORS: Final = (ProviderUnavailableError, TokenEndpointError, MalformedTokenResponseError)


@dataclass(frozen=True, slots=True)
class OpenIntegration:
    """A row with its credentials opened."""

    integration: Integration
    payload: CredentialPayload
    service: ServiceDefinition


class Refresher:
    """The one refresh procedure, whoever calls."""

    def __init__(
        self,
        catalogue: Catalogue,
        clients: Mapping[str, OAuthClient],
        vault: CredentialVault,
        http: ProviderHttp,
        clock: Clock,
        random: Random | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._clients = clients
        self._vault = vault
        self._http = http
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads retries, keeps no secret

    async def fresh(self, store: UserStore, integration_id: UUID, *, requested: bool = False) -> OpenIntegration:
        """The row with credentials that hold; renewed first where they are due, or where that is `requested`.

        An expired token is never returned. Raises IntegrationNotFoundError, IntegrationPausedError,
        ReauthorizationRequiredError, NotRefreshableError (where requested), ServiceNotConfiguredError,
        InvalidClientError, ProviderUnavailableError (with the wait that is left), IntegrationBusyError and
        DecryptionError.
        """
        opened = self._open(await store.get_sealed(integration_id))
        first_version = opened.integration.credential_version
        for pause in (*pauses(), None):
            decision = decide(opened.payload.credentials, opened.service, self._clock.now(), requested=requested)
            if opened.integration.credential_version != first_version or not decision.should:
                return _settled(opened, decision.reason, requested=requested)
            self._check_backoff(opened.integration, decision.reason)
            owner = uuid4()
            try:
                leased = self._open(await store.take_lease(integration_id, owner))
            except (IntegrationBusyError, QuotaExceededError) as error:
                if decision.reason is RefreshReason.EXPIRES_SOON:
                    return opened
                if pause is None or isinstance(error, QuotaExceededError):
                    raise
                await self._clock.sleep(pause)
                opened = self._open(await store.get_sealed(integration_id))
                continue
            if leased.integration.credential_version != first_version:
                await store.release_lease(integration_id, owner)
                return _settled(leased, RefreshReason.FRESH, requested=requested)
            return await self._refresh(store, leased, owner)
        raise IntegrationBusyError

    async def _refresh(self, store: UserStore, leased: OpenIntegration, owner: UUID) -> OpenIntegration:
        row = leased.integration
        try:
            payload = await self._ask(leased)
        except _SERVICE_ERRORS as error:
            failure = failure_of(error, failures=row.refresh_failures, now=self._clock.now(), random=self._random)
            await store.record_failure(row.id, failure, lease_owner=owner, seen_version=row.credential_version)
            if isinstance(error, InvalidGrantError):
                raise ReauthorizationRequiredError from None
            raise
        except IntegrationError:
            await store.release_lease(row.id, owner)
            raise
        written = await self._vault.write(store, row, payload, leased.service, lease_owner=owner)
        return replace(leased, integration=written, payload=payload)

    async def _ask(self, leased: OpenIntegration) -> CredentialPayload:
        """Send the one token request. Raises what a token endpoint's reply may mean."""
        old = leased.payload.credentials
        client = self._clients.get(leased.service.name)
        if client is None:
            raise ServiceNotConfiguredError
        if not isinstance(old, OAuthCredentials):
            raise NotRefreshableError
        request = _request(leased.service, client, old, leased.payload.tenant)
        reply = await self._http.send(request)
        new = parse_token_reply(reply, leased.service, self._clock.now(), requested_scopes=old.scopes)
        return replace(leased.payload, credentials=renewed(old, new.credentials))

    def _open(self, sealed: SealedIntegration) -> OpenIntegration:
        """Open a row that may be used. Raises for one that is paused or has to be connected again."""
        row = sealed.integration
        if row.status is IntegrationStatus.INACTIVE:
            raise IntegrationPausedError
        service = self._catalogue.get(row.service_name)
        payload = self._vault.open(sealed, service)
        if payload is None or row.status in _REAUTHORIZE:
            raise ReauthorizationRequiredError
        return OpenIntegration(row, payload, service)

    def _check_backoff(self, row: Integration, reason: RefreshReason) -> None:
        """After a failure nobody asks again before its time, however many callers there are."""
        now, due_at = self._clock.now(), row.next_refresh_at
        is_leased = row.refresh_lease_until is not None and row.refresh_lease_until > now
        if row.refresh_failures and due_at is not None and due_at > now and not is_leased:
            if row.last_error_code == InvalidClientError.code:
                raise InvalidClientError(InvalidClientError.code, status=401)
            raise ProviderUnavailableError(
                f"The service failed lately ({reason}). Try again later.", retry_after=due_at - now
            )


def _settled(opened: OpenIntegration, reason: RefreshReason, *, requested: bool) -> OpenIntegration:
    if reason is RefreshReason.NOT_OAUTH and requested:
        raise NotRefreshableError
    if reason is RefreshReason.CANNOT_BE_RENEWED:
        raise ReauthorizationRequiredError
    return opened


def _request(service: ServiceDefinition, client: OAuthClient, old: OAuthCredentials, tenant: str) -> HttpRequest:
    if service.refresh is RefreshKind.EXCHANGE:
        return access_token_exchange_request(service, client, access_token=old.access_token, tenant=tenant)
    if old.refresh_token is None:
        raise ReauthorizationRequiredError
    return refresh_request(service, client, refresh_token=old.refresh_token, tenant=tenant)
