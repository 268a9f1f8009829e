"""The ports without any outside world: a database in memory that keeps the real one's rules, and a scripted service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson

from supabase_integrations.core.encryption_errors import UnknownKeyError
from supabase_integrations.core.errors import (
    DuplicateIntegrationError,
    IntegrationBusyError,
    IntegrationError,
    IntegrationNotFoundError,
    JournalUnavailableError,
    StoreUnavailableError,
)
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from supabase_integrations.core.journal_entry import JournalEntry
from supabase_integrations.core.lease import GRACE
from supabase_integrations.core.models import (
    Caller,
    CredentialReplacement,
    Integration,
    IntegrationChanges,
    IntegrationEvent,
    IntegrationPage,
    IntegrationRef,
    IntegrationStatus,
    ListQuery,
    NewIntegration,
    PendingAuthorization,
    RefreshFailure,
    SealedIntegration,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeClock:
    """Stands still until it is moved; sleeping moves it."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class FakeDatabase:
    """All users' rows."""

    clock: FakeClock
    rows: dict[tuple[UUID, UUID], SealedIntegration] = field(default_factory=dict)
    states: dict[tuple[UUID, str], PendingAuthorization] = field(default_factory=dict)
    outages: int = 0
    """How many of the next calls fail before they do anything."""
    lost_answers: int = 0
    """How many of the next writes go through and then seem to fail."""

    def as_user(self, caller: Caller) -> "FakeStore":
        return FakeStore(self, caller.user_id, caller)

    def as_worker(self, user_id: UUID) -> "FakeStore":
        return FakeStore(self, user_id, None)


class FakeStore:
    """Implements `port.UserStore` for one user."""

    def __init__(self, database: FakeDatabase, user_id: UUID, caller: Caller | None) -> None:
        self._db = database
        self._user_id = user_id
        self.caller = caller

    async def list_integrations(self, query: ListQuery) -> IntegrationPage:
        rows = [sealed.integration for (owner, _), sealed in self._db.rows.items() if owner == self._user_id]
        return IntegrationPage(tuple(rows[: query.limit]), None)

    async def get_integration(self, integration_id: UUID) -> Integration:
        return (await self.get_sealed(integration_id)).integration

    async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
        self._maybe_fail()
        try:
            return self._db.rows[self._user_id, integration_id]
        except KeyError:
            raise IntegrationNotFoundError from None

    async def find_account(self, service_name: str, external_account_id: str) -> Integration | None:
        self._maybe_fail()
        return next(
            (
                sealed.integration
                for (owner, _), sealed in self._db.rows.items()
                if owner == self._user_id
                and sealed.integration.service_name == service_name
                and sealed.integration.external_account_id == external_account_id
            ),
            None,
        )

    async def insert_integration(self, new: NewIntegration) -> Integration:
        self._maybe_fail()
        if await self.find_account(new.service_name, new.external_account_id):
            raise DuplicateIntegrationError
        row = Integration(
            id=new.id,
            user_id=self._user_id,
            service_name=new.service_name,
            service_type=new.service_type,
            external_account_id=new.external_account_id,
            display_name=new.display_name,
            status=new.status,
            credential_version=1,
            config=new.config,
            scopes=new.scopes,
            expires_at=new.expires_at,
            last_refreshed_at=None,
            last_sync_at=None,
            last_error_code=None,
            last_error_at=None,
            refresh_lease_owner=None,
            refresh_lease_until=None,
            next_refresh_at=new.next_refresh_at,
            refresh_failures=0,
            created_at=self._db.clock.now(),
            updated_at=self._db.clock.now(),
        )
        self._db.rows[self._user_id, new.id] = SealedIntegration(row, new.envelope)
        self._maybe_lose_answer()
        return row

    async def update_integration(self, integration_id: UUID, changes: IntegrationChanges) -> Integration:
        sealed = await self.get_sealed(integration_id)
        row = replace(
            sealed.integration,
            status=changes.status or sealed.integration.status,
            config=sealed.integration.config if changes.config is None else changes.config,
            last_sync_at=changes.last_sync_at or sealed.integration.last_sync_at,
            last_error_code=changes.error_code or sealed.integration.last_error_code,
        )
        self._db.rows[self._user_id, integration_id] = SealedIntegration(row, sealed.envelope)
        return row

    async def delete_integration(self, integration_id: UUID) -> None:
        await self.get_sealed(integration_id)
        del self._db.rows[self._user_id, integration_id]

    async def take_lease(self, integration_id: UUID, owner: UUID) -> SealedIntegration:
        sealed = await self.get_sealed(integration_id)
        row = sealed.integration
        held = row.refresh_lease_until is not None and row.refresh_lease_until + GRACE > self._db.clock.now()
        if held and row.refresh_lease_owner != owner:
            raise IntegrationBusyError
        lives = row.refresh_lease_until is not None and row.refresh_lease_until > self._db.clock.now()
        until = row.refresh_lease_until if lives else self._db.clock.now() + timedelta(seconds=60)
        leased = SealedIntegration(replace(row, refresh_lease_owner=owner, refresh_lease_until=until), sealed.envelope)
        self._db.rows[self._user_id, integration_id] = leased
        return leased

    async def replace_credentials(
        self, integration_id: UUID, replacement: CredentialReplacement, *, lease_owner: UUID, seen_version: int
    ) -> Integration:
        row = (await self.get_sealed(integration_id)).integration
        if (row.refresh_lease_owner, row.credential_version) != (lease_owner, seen_version):
            raise IntegrationBusyError
        changed = replace(
            row,
            credential_version=seen_version + 1,
            status=replacement.status or row.status,
            config=row.config if replacement.config is None else replacement.config,
            last_sync_at=replacement.last_sync_at or row.last_sync_at,
            scopes=replacement.scopes,
            expires_at=replacement.expires_at,
            next_refresh_at=replacement.next_refresh_at,
            display_name=replacement.display_name or row.display_name,
            last_refreshed_at=self._db.clock.now(),
            last_error_code=None,
            last_error_at=None,
            refresh_failures=0,
            refresh_lease_owner=None,
            refresh_lease_until=None,
        )
        self._db.rows[self._user_id, integration_id] = SealedIntegration(changed, replacement.envelope)
        self._maybe_lose_answer()
        return changed

    async def record_failure(
        self, integration_id: UUID, failure: RefreshFailure, *, lease_owner: UUID, seen_version: int
    ) -> None:
        sealed = await self.get_sealed(integration_id)
        row = sealed.integration
        if (row.refresh_lease_owner, row.credential_version) == (lease_owner, seen_version):
            stays_paused = failure.spares_pause and row.status is IntegrationStatus.INACTIVE
            failed = replace(
                row,
                status=row.status if stays_paused else failure.status or row.status,
                last_error_code=failure.error_code,
                last_error_at=self._db.clock.now(),
                next_refresh_at=failure.next_refresh_at,
                refresh_failures=failure.failures,
                refresh_lease_owner=None,
                refresh_lease_until=None,
            )
            self._db.rows[self._user_id, integration_id] = SealedIntegration(failed, sealed.envelope)

    async def reschedule(self, integration_id: UUID, next_refresh_at: datetime | None, *, lease_owner: UUID) -> None:
        sealed = await self.get_sealed(integration_id)
        if sealed.integration.refresh_lease_owner == lease_owner:
            later = replace(
                sealed.integration, next_refresh_at=next_refresh_at, refresh_lease_owner=None, refresh_lease_until=None
            )
            self._db.rows[self._user_id, integration_id] = SealedIntegration(later, sealed.envelope)

    async def discard_credentials(
        self,
        integration_id: UUID,
        *,
        status: IntegrationStatus,
        error_code: str | None,
        lease_owner: UUID,
        seen_version: int,
    ) -> Integration:
        row = (await self.get_sealed(integration_id)).integration
        if (row.refresh_lease_owner, row.credential_version) != (lease_owner, seen_version):
            raise IntegrationBusyError
        emptied = replace(
            row,
            credential_version=seen_version + 1,
            status=status,
            scopes=(),
            expires_at=None,
            next_refresh_at=None,
            last_error_code=error_code,
            last_error_at=self._db.clock.now() if error_code else None,
            refresh_failures=0,
            refresh_lease_owner=None,
            refresh_lease_until=None,
        )
        self._db.rows[self._user_id, integration_id] = SealedIntegration(emptied, None)
        return emptied

    async def release_lease(self, integration_id: UUID, owner: UUID) -> None:
        sealed = await self.get_sealed(integration_id)
        if sealed.integration.refresh_lease_owner == owner:
            freed = replace(sealed.integration, refresh_lease_owner=None, refresh_lease_until=None)
            self._db.rows[self._user_id, integration_id] = SealedIntegration(freed, sealed.envelope)

    async def insert_state(self, state_hash: str, flow: str, integration_id: UUID | None) -> None:
        if integration_id is not None:
            await self.get_sealed(integration_id)
        expires_at = self._db.clock.now() + timedelta(minutes=10)
        self._db.states[self._user_id, state_hash] = PendingAuthorization(
            self._user_id, state_hash, flow, integration_id, expires_at
        )

    async def consume_state(self, state_hash: str) -> PendingAuthorization | None:
        pending = self._db.states.pop((self._user_id, state_hash), None)
        return pending if pending and pending.expires_at > self._db.clock.now() else None

    async def list_events(
        self, integration_id: UUID, *, before: int | None, limit: int
    ) -> tuple[IntegrationEvent, ...]:
        return ()

    def _maybe_fail(self) -> None:
        if self._db.outages:
            self._db.outages -= 1
            raise StoreUnavailableError

    def _maybe_lose_answer(self) -> None:
        if self._db.lost_answers:
            self._db.lost_answers -= 1
            raise StoreUnavailableError


Answer = Callable[[HttpRequest], HttpReply]


def json_reply(body: Mapping[str, Any], status: int = 200) -> HttpReply:
    """A JSON reply as a service sends it."""
    return HttpReply(status, {"content-type": "application/json"}, orjson.dumps(body))


def form_of(request: HttpRequest) -> dict[str, str]:
    """The fields of a form-encoded request."""
    return dict(parse_qsl(request.body.decode()))


class FakeService:
    """Implements `port.ProviderHttp`: answers by URL and remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpReply:
        self.requests.append(request)
        return self.answers[request.url.partition("?")[0]](request)

    def asked(self, url: str) -> list[HttpRequest]:
        """The requests to one URL."""
        return [request for request in self.requests if request.url.partition("?")[0] == url]


class FakeSessions:
    """Implements `port.SessionChecker`; remembers how often it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    async def require_session(self, caller: Caller) -> None:
        self.asked += 1
        if self.error:
            raise self.error


@dataclass
class FakeJournal:
    """Implements `port.Journal` in memory."""

    kept: dict[tuple[IntegrationRef, int], JournalEntry] = field(default_factory=dict)
    room: bool = True
    is_broken: bool = False
    is_unreadable: bool = False
    unknown_key: str | None = None
    """What the kept replies are sealed under, where that is no key of this process's."""
    written: list[JournalEntry] = field(default_factory=list)

    async def has_room(self) -> bool:
        return self.room

    async def write(self, entry: JournalEntry) -> None:
        if self.is_broken:
            raise JournalUnavailableError
        self.written.append(entry)
        self.kept[entry.ref, entry.seen_version] = entry

    async def find(self, ref: IntegrationRef, seen_version: int) -> JournalEntry | None:
        if self.is_unreadable:
            raise JournalUnavailableError
        if self.unknown_key and (ref, seen_version) in self.kept:
            raise UnknownKeyError(self.unknown_key)
        return self.kept.get((ref, seen_version))

    async def remove(self, entry: JournalEntry) -> None:
        self.kept.pop((entry.ref, entry.seen_version), None)

    async def entries(self) -> tuple[JournalEntry, ...]:
        return tuple(self.kept.values())


@dataclass
class FakeRefreshLog:
    """Implements `port.RefreshLog`: what was told, as words."""

    lines: list[str] = field(default_factory=list)

    def refreshed(self, row: Integration, *, reason: str, seconds: float) -> None:
        self.lines.append(f"refreshed {row.id} {reason}")

    def failed(self, row: Integration, failure: RefreshFailure, error: IntegrationError, *, seconds: float) -> None:
        self.lines.append(f"failed {row.id} {failure.error_code}")

    def replayed(self, row: Integration) -> None:
        self.lines.append(f"replayed {row.id}")

    def kept(self, row: Integration) -> None:
        self.lines.append(f"kept {row.id}")

    def not_kept(self, row: Integration) -> None:
        self.lines.append(f"not_kept {row.id}")

    def refused(self, row: Integration, code: str) -> None:
        self.lines.append(f"refused {row.id} {code}")

    def skipped(self, row: Integration, code: str) -> None:
        self.lines.append(f"skipped {row.id} {code}")
