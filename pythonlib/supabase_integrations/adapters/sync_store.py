"""Synced records and their cursors as the worker's role reaches them. Implements `port_sync.SyncStore`.

Each statement that writes begins with the cursor's row and its lease: whoever lost the lease writes nothing, and where
a run stands changes with the records it stands for or not at all.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from ..core.errors import SyncBusyError, SyncTakenOverError
from ..core.models import IntegrationRef
from ..core.sync import SyncRecord, SyncRef, SyncState
from .integration_rows import Row, read
from .worker_pool import NOBODY, WorkerPool, array_of, declaration

_LEASE: Final = "lease_until = now() + interval '2 minutes'"
_KEY: Final = "user_id = %s and integration_id = %s and resource = %s"
_MINE: Final = f"{_KEY} and lease_owner = %s"

_CLAIM: Final = "select to_json(c) from integrations_private.claim_due_syncs(%s, %s, %s::uuid[]) as c"
_ADD: Final = """
    insert into public.sync_cursors (user_id, integration_id, resource) values (%s, %s, %s) on conflict do nothing
"""
_BEGIN: Final = f"""
    with taken as (
        update public.sync_cursors set lease_owner = %s, {_LEASE}
        where {_KEY} and (lease_owner is null or lease_owner = %s or lease_until <= now())
        returning
            now() as now, cursor, started_at, changes_since, records, failures, synced_until, complete_until
    )
    select to_json(t) from taken as t
"""  # noqa: S608
# A clock that is set back during a run must not make its records older than the run: they would be deleted at its end.
# Not `on conflict do update`: `excluded.data` takes the right to read the column, which the worker has not. The lease
# sees to it that nobody else adds the same record meanwhile.
_WRITE: Final = f"""
    with mine as (
        update public.sync_cursors
        set cursor = %s, records = records + %s, skipped = skipped + %s, {_LEASE}
        where {_MINE}
        returning user_id, integration_id, resource, greatest(now(), started_at) as given_at
    ),
    given as materialized (
        select m.user_id, m.integration_id, m.resource, m.given_at, g.external_id, g.data
        from mine as m, jsonb_to_recordset(%s::jsonb) as g (external_id text, data jsonb)
    ),
    replaced as (
        update public.synced_records as r set data = g.data, synced_at = g.given_at
        from given as g
        where r.user_id = g.user_id and r.integration_id = g.integration_id and r.resource = g.resource
            and r.external_id = g.external_id
        returning r.external_id
    ),
    added as (
        insert into public.synced_records (user_id, integration_id, resource, external_id, data, synced_at)
        select g.user_id, g.integration_id, g.resource, g.external_id, g.data, g.given_at
        from given as g
        where not exists (select from replaced as r where r.external_id = g.external_id)
    )
    select to_json(true) from mine
"""  # noqa: S608
_REMOVE: Final = f"""
    with mine as (
        update public.sync_cursors set {_LEASE} where {_MINE} returning user_id, integration_id, resource, started_at
    ),
    unseen as (
        select r.user_id, r.integration_id, r.resource, r.external_id
        from mine as m
        join public.synced_records as r
            on r.user_id = m.user_id and r.integration_id = m.integration_id and r.resource = m.resource
        where r.synced_at < m.started_at
        limit %s
    ),
    removed as (
        delete from public.synced_records as r
        using unseen as u
        where r.user_id = u.user_id and r.integration_id = u.integration_id and r.resource = u.resource
            and r.external_id = u.external_id
        returning 1
    )
    select to_json((select count(*) from removed)) from mine
"""  # noqa: S608
_FINISH: Final = f"""
    with done as (
        update public.sync_cursors
        set
            cursor = null, started_at = null, changes_since = null, synced_until = started_at,
            complete_until = case when %s then started_at else complete_until end,
            last_error_code = null, failures = 0, next_run_at = now() + %s, lease_owner = null, lease_until = null
        where {_MINE}
        returning user_id, integration_id
    ),
    used as (
        update public.integrations as i set last_sync_at = now()
        from done as d
        where i.user_id = d.user_id and i.id = d.integration_id
    )
    select to_json(true) from done
"""  # noqa: S608


class PostgresSyncStore:
    """Implements `port_sync.SyncStore`."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    async def claim_due(self, limit: int, owner: UUID, served: Sequence[UUID]) -> tuple[SyncRef, ...]:
        """Lease up to `limit` (1 to 100) due syncs to `owner`, fairly across users after the turns of `served`."""
        return read(await self._pool.values(NOBODY, _CLAIM, limit, owner, array_of(served)), _to_ref)

    async def add(self, ref: SyncRef) -> None:
        """Have a resource synced from now on; silent where it is.

        Raises IntegrationNotFoundError, QuotaExceededError.
        """
        await self._values(ref, _ADD, *_key(ref))

    async def begin(self, ref: SyncRef, owner: UUID) -> SyncState:
        """Become the one who syncs, for two minutes. Raises SyncBusyError while somebody else is at it."""
        found = await self._values(ref, _BEGIN, owner, *_key(ref), owner)
        if not found:
            raise SyncBusyError
        return _to_state(found[0])

    async def keep(self, ref: SyncRef, owner: UUID) -> None:
        """Stay it for two more minutes."""
        await self._set(ref, owner, _LEASE)

    async def start_run(self, ref: SyncRef, owner: UUID, changes_since: datetime | None) -> None:
        """Begin a run at the beginning of the list, now."""
        begun = f"cursor = null, started_at = now(), changes_since = %s, records = 0, skipped = 0, {_LEASE}"
        await self._set(ref, owner, begun, changes_since)

    async def write(
        self, ref: SyncRef, owner: UUID, records: Sequence[SyncRecord], *, cursor: str | None, skipped: int
    ) -> None:
        """Store records, each id once, and in the same transaction where the run goes on after them.

        Raises InvalidValueError or QuotaExceededError where the database refuses one of them: then none is stored.
        """
        values = (cursor, len(records), skipped, *_key(ref), owner, _as_json(records))
        _require(await self._values(ref, _WRITE, *values))

    async def remove_unseen(self, ref: SyncRef, owner: UUID, limit: int) -> int:
        """Delete up to `limit` records that were last given before the run began; how many went."""
        found = _require(await self._values(ref, _REMOVE, *_key(ref), owner, limit))
        return int(found[0])

    async def finish(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, complete: bool) -> None:
        """End the run and the lease, and say that the connection was used; `complete` where everything was read."""
        _require(await self._values(ref, _FINISH, complete, next_run, *_key(ref), owner))

    async def pause(self, ref: SyncRef, owner: UUID, *, next_run: timedelta, error_code: str | None) -> None:
        """End the lease; the run goes on later. An error counts as one more failure in a row."""
        ended = "lease_owner = null, lease_until = null, next_run_at = now() + %s"
        if error_code is None:
            await self._set(ref, owner, ended, next_run)
        else:
            failed = f"{ended}, last_error_code = %s, failures = least(failures + 1, 100000)"
            await self._set(ref, owner, failed, next_run, error_code)

    async def _set(self, ref: SyncRef, owner: UUID, assignments: str, *values: object) -> None:
        statement = f"""
            with mine as (update public.sync_cursors set {assignments} where {_MINE} returning 1)
            select to_json(true) from mine
        """  # noqa: S608
        _require(await self._values(ref, statement, *values, *_key(ref), owner))

    async def _values(self, ref: SyncRef, statement: str, *parameters: object) -> list[Any]:
        return await self._pool.values(declaration((ref.user_id,)), statement, *parameters)


def _key(ref: SyncRef) -> tuple[UUID, UUID, str]:
    return ref.integration.user_id, ref.integration.id, ref.resource


def _require(found: list[Any]) -> list[Any]:
    if not found:
        raise SyncTakenOverError
    return found


def _as_json(records: Sequence[SyncRecord]) -> str:
    """One value for all of them: the driver quotes it once. The records' own JSON is passed on as it is."""
    listed = (b'{"external_id":%b,"data":%b}' % (orjson.dumps(record.external_id), record.data) for record in records)
    return (b"[" + b",".join(listed) + b"]").decode()


def _to_ref(row: Row) -> SyncRef:
    return SyncRef(IntegrationRef(UUID(row["user_id"]), UUID(row["integration_id"])), row["resource"])


def _to_state(row: Row) -> SyncState:
    return SyncState(
        now=datetime.fromisoformat(row["now"]),
        cursor=row["cursor"],
        started_at=_moment(row["started_at"]),
        changes_since=_moment(row["changes_since"]),
        records=row["records"],
        failures=row["failures"],
        synced_until=_moment(row["synced_until"]),
        complete_until=_moment(row["complete_until"]),
    )


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
