"""Renewing credentials, once for however many callers find them due.

Callers of one process join the same renewal; between processes the row's lease decides who asks the service, and
everybody else waits for the version to change and takes what was written. A renewal runs in a task of its own: a caller
that gives up does not end it, for its reply may bring a token that exists nowhere else.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID, uuid4

from ..core.catalogue import Catalogue
from ..core.credentials import OAuthCredentials
from ..core.encryption_errors import DecryptionError
from ..core.errors import (
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    IntegrationPausedError,
    InvalidClientError,
    NotRefreshableError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    RefusedError,
    RevokedError,
    StoreUnavailableError,
    UnknownServiceError,
)
from ..core.journal_entry import JournalEntry
from ..core.lease import pauses
from ..core.models import Integration, IntegrationRef, IntegrationStatus, RefreshFailure, SealedIntegration
from ..core.oauth_messages import OAuthClient
from ..core.refresh_policy import RefreshDecision, RefreshReason, decide, next_look_at
from ..port import Clock, CredentialStore, Journal, ProviderHttp, RefreshLog
from ..single_flight import SingleFlight
from .credential_vault import CredentialVault
from .renewal import OpenIntegration, Renewal

_UNUSABLE_WAIT: Final = timedelta(hours=1)
"""When the worker looks again at a row that it cannot read: the key it needs may be back by then."""


class Refresher:
    """The one refresh procedure, whoever calls."""

    def __init__(
        self,
        catalogue: Catalogue,
        clients: Mapping[str, OAuthClient],
        vault: CredentialVault,
        http: ProviderHttp,
        clock: Clock,
        *,
        journal: Journal,
        log: RefreshLog,
        random: Random | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._vault = vault
        self._clock = clock
        self._journal = journal
        self._log = log
        # Random spreads retries and keeps no secret.
        self._renewal = Renewal(clients, vault, http, clock, journal, log, random or Random())  # noqa: S311
        self._flights: SingleFlight[IntegrationRef, OpenIntegration] = SingleFlight()

    async def fresh(self, store: CredentialStore, integration_id: UUID, *, requested: bool = False) -> OpenIntegration:
        """The row with credentials that hold; renewed first where they are due, or where that is `requested`.

        An expired token is never returned; one that still holds is, where its renewal before the end fails. Raises
        IntegrationNotFoundError, IntegrationPausedError, ReauthorizationRequiredError, NotRefreshableError (where
        requested), ServiceNotConfiguredError, InvalidClientError, ProviderUnavailableError (with the wait that is
        left), RateLimitedError (no connection to the service was free), IntegrationBusyError, JournalUnavailableError,
        StoreUnavailableError and DecryptionError.
        """
        opened = self._open(await store.get_sealed(integration_id))
        decision = decide(opened.payload.credentials, opened.service, self._clock.now(), requested=requested)
        if not decision.should:
            return _settled(opened, decision.reason, requested=requested)
        ref = opened.integration.ref
        joins = self._flights.is_running(ref)
        if joins and decision.reason is RefreshReason.EXPIRES_SOON:
            return opened
        try:
            return await self._flights.run(ref, lambda: self._renewed(store, opened, decision))
        except (ReauthorizationRequiredError, IntegrationNotFoundError, IntegrationPausedError):
            raise
        except IntegrationError as error:
            if joins and isinstance(error, RefusedError | IntegrationBusyError):
                # Whoever began this renewal may no longer, or would not wait; that says nothing about this caller.
                return await self.fresh(store, integration_id, requested=requested)
            if decision.reason is RefreshReason.EXPIRES_SOON and self._holds(opened):
                return opened
            raise

    async def refresh_claimed(self, store: CredentialStore, sealed: SealedIntegration, lease_owner: UUID) -> None:
        """Do what is due to a row that the worker has leased, and leave it so that it is not claimed again at once.

        One for which no connection to its service was free has waited for that, and may be. What one service or one row
        does wrong is recorded and not raised. Raises StoreUnavailableError.
        """
        row = sealed.integration
        try:
            opened = self._open(sealed)
        except IntegrationPausedError:
            # Paused since it was claimed. Its schedule stays, for nothing else would bring it back when it is resumed.
            await store.release_lease(row.id, lease_owner)
            return
        except ReauthorizationRequiredError:
            await store.reschedule(row.id, None, lease_owner=lease_owner)
            return
        except (DecryptionError, UnknownServiceError) as error:
            await store.reschedule(row.id, self._clock.now() + _UNUSABLE_WAIT, lease_owner=lease_owner)
            self._log.skipped(row, error.code)
            return
        decision = decide(opened.payload.credentials, opened.service, self._clock.now())
        if not decision.should:
            await self._put_off(store, opened, lease_owner, decision.reason)
            return
        try:
            await self._renewal.renew(store, opened, lease_owner, reason=decision.reason)
        except StoreUnavailableError:
            raise
        except IntegrationError:
            return

    async def replay(self, store: CredentialStore, entry: JournalEntry) -> None:
        """Store a reply that a journal kept, or remove it where its row is no longer as it was.

        Raises what a store raises; the entry is kept then.
        """
        try:
            sealed = await store.get_sealed(entry.ref.id)
        except IntegrationNotFoundError:
            await self._journal.remove(entry)
            return
        if sealed.integration.credential_version != entry.seen_version:
            await self._journal.remove(entry)
            return
        service = self._catalogue.get(sealed.integration.service_name)
        # Always the entry's owner: whoever stored it half, and was ended or heard no answer, left a lease to it.
        owner = entry.lease_owner
        leased = await store.take_lease(entry.ref.id, owner)
        if leased.integration.credential_version != entry.seen_version:
            await store.release_lease(entry.ref.id, owner)
            await self._journal.remove(entry)
            return
        opened = OpenIntegration(leased.integration, entry.payload, service)
        await self._renewal.store_kept(store, opened, owner, entry)

    async def drain(self) -> None:
        """Wait for the renewals that have begun."""
        await self._flights.drain()

    async def _renewed(
        self, store: CredentialStore, opened: OpenIntegration, decision: RefreshDecision
    ) -> OpenIntegration:
        """Get the lease and renew, or wait for what its holder writes."""
        before, integration_id = opened, opened.integration.id
        for pause in (*pauses(), None):
            self._check_backoff(opened.integration, decision.reason)
            owner = uuid4()
            try:
                sealed = await store.take_lease(integration_id, owner)
            except IntegrationBusyError:
                if pause is None or decision.reason is RefreshReason.EXPIRES_SOON:
                    raise
                await self._clock.sleep(pause)
                opened = self._open(await store.get_sealed(integration_id))
                if self._replaces(before, opened):
                    return opened
                continue
            except StoreUnavailableError:
                # It may have been given and only the answer lost; others would wait for its end.
                with suppress(IntegrationError):
                    await store.release_lease(integration_id, owner)
                raise
            leased_at = self._clock.now()
            opened = await self._renew_leased(store, sealed, owner, before, opened.integration, decision)
            if not self._was_kept_too_long(opened, leased_at):
                return opened
            before = opened
        raise IntegrationBusyError

    async def _renew_leased(
        self,
        store: CredentialStore,
        sealed: SealedIntegration,
        owner: UUID,
        before: OpenIntegration,
        seen: Integration,
        decision: RefreshDecision,
    ) -> OpenIntegration:
        """Renew a row that was leased, unless somebody did, or failed to, since it was read: at first as `before`, and
        last as `seen`.
        """
        row = sealed.integration
        try:
            leased = self._open(sealed)
        except IntegrationError:
            await store.release_lease(row.id, owner)
            raise
        if self._replaces(before, leased):
            await store.release_lease(row.id, owner)
            return leased
        was_given_back = row.refresh_failures > 0 and self._is_leased(seen)
        if row.refresh_failures > seen.refresh_failures or was_given_back:
            # Who gave it back without new credentials knew that the failure's wait was not over. Not rescheduled: what
            # was seen before the failure would end that wait.
            await store.release_lease(row.id, owner)
            raise ProviderUnavailableError
        try:
            return await self._renewal.renew(store, leased, owner, reason=decision.reason)
        except ReauthorizationRequiredError:
            latest = await store.get_sealed(row.id)
            if latest.integration.credential_version == row.credential_version:
                raise
        # The lease had passed to somebody who renewed it: what the service refused was the token before that.
        return self._open(latest)

    async def _put_off(
        self, store: CredentialStore, opened: OpenIntegration, owner: UUID, reason: RefreshReason
    ) -> None:
        row, credentials = opened.integration, opened.payload.credentials
        if reason is RefreshReason.CANNOT_BE_RENEWED:
            code = ReauthorizationRequiredError.code
            failure = RefreshFailure(IntegrationStatus.NEEDS_REAUTHORIZATION, code, None, row.refresh_failures)
            await store.record_failure(row.id, failure, lease_owner=owner, seen_version=row.credential_version)
            return
        due_at = next_look_at(credentials, opened.service) if isinstance(credentials, OAuthCredentials) else None
        await store.reschedule(row.id, due_at, lease_owner=owner)

    def _open(self, sealed: SealedIntegration) -> OpenIntegration:
        """Open a row that may be used. Raises for one that is paused or has to be connected again."""
        row = sealed.integration
        if row.status is IntegrationStatus.INACTIVE:
            raise IntegrationPausedError
        service = self._catalogue.get(row.service_name)
        payload = self._vault.open(sealed, service)
        if row.status is IntegrationStatus.REVOKED:
            raise RevokedError
        if payload is None or row.status is IntegrationStatus.NEEDS_REAUTHORIZATION:
            raise ReauthorizationRequiredError
        return OpenIntegration(row, payload, service)

    def _replaces(self, before: OpenIntegration, after: OpenIntegration) -> bool:
        """Whether somebody wrote what `before` was to be renewed for. A key rotation writes a version too, with the
        tokens of the one before it, and what a user gives may have ended.
        """
        old, new = before.payload.credentials, after.payload.credentials
        return new != old and (not isinstance(new, OAuthCredentials) or new.expires_at is None or self._holds(after))

    def _was_kept_too_long(self, opened: OpenIntegration, leased_at: datetime) -> bool:
        """Whether what was stored came from a journal, and had ended there. A token that has just come is not asked for
        again, however soon it ends.
        """
        credentials = opened.payload.credentials
        if not isinstance(credentials, OAuthCredentials) or credentials.expires_at is None:
            return False
        return credentials.issued_at < leased_at and not self._holds(opened)

    def _holds(self, opened: OpenIntegration) -> bool:
        credentials = opened.payload.credentials
        return (
            isinstance(credentials, OAuthCredentials)
            and credentials.expires_at is not None
            and self._clock.now() < credentials.expires_at
        )

    def _is_leased(self, row: Integration) -> bool:
        return row.refresh_lease_until is not None and row.refresh_lease_until > self._clock.now()

    def _check_backoff(self, row: Integration, reason: RefreshReason) -> None:
        """After a failure nobody asks again before its time, however many callers there are."""
        now, due_at = self._clock.now(), row.next_refresh_at
        if row.refresh_failures and due_at is not None and due_at > now and not self._is_leased(row):
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
