"""The tables as key rotation reaches them, over the worker's connections. Implements `port.KeyRotationDatabase`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from ..core.key_rotation import ResealedRow, RotatingPage, RotatingRow
from ..core.models import IntegrationRef
from .integration_rows import Row, read
from .worker_pool import NOBODY, WorkerPool, array_of, declaration

_COUNT: Final = "select to_json(c) from integrations_private.count_integrations_by_key() as c"
_COUNT_AUTHORIZATIONS: Final = "select to_json(c) from integrations_private.count_authorizations_by_key() as c"
_LIST: Final = "select to_json(l) from integrations_private.list_integrations_sealed_under(%s, %s, %s, %s) as l"

_PAGE_BYTES: Final = 4_000_000
"""Envelopes of one page. Their longest are 64 KiB, and 500 of those, read and sealed again, would be 100 MB."""
_PATIENCE: Final = "interval '30 seconds'"
"""After the end of a lease that was not given back: twice what the database asks of others, for who takes the row over
before has a journal to look into, or a token to renew that cannot wait.
"""
_HELD_UNTIL: Final = "greatest(i.refresh_lease_until, pg_postmaster_start_time())"
"""As the database counts it: a journal cannot be written from while the server is away."""

_READ: Final = f"""
    select to_json(r) from (
        select
            i.*, i.refresh_lease_until is not null and {_HELD_UNTIL} > now() - {_PATIENCE} as is_held,
            i.refresh_lease_until is not null as was_abandoned
        from (
            select
                i.user_id, i.id, i.service_name, i.config, i.credential_version, i.credentials, i.next_refresh_at,
                i.refresh_lease_until, sum(octet_length(i.credentials)) over (order by i.user_id, i.id) as bytes
            from unnest(%s::uuid[], %s::uuid[]) as w (user_id, id)
            join public.integrations as i on i.user_id = w.user_id and i.id = w.id
            where split_part(i.credentials, '.', 2) = %s
        ) as i
        where i.bytes - octet_length(i.credentials) < %s
        order by i.user_id, i.id
    ) as r
"""  # noqa: S608

# Two transactions in one message. In one, the second update of a row would have its reference to auth.users checked
# again, which waits for a user's deletion that waits for these rows: a deadlock. In one message, so that a process that
# dies in between leaves no leases. Rows are locked without waiting, for the same reason: nothing here ever waits while
# it holds something.
_LEASE: Final = f"""
    with wanted as (
        select *
        from unnest(%s::uuid[], %s::uuid[], %s::integer[], %s::timestamptz[])
            as w (user_id, id, version, due)
    ),
    free as (
        select c.user_id, c.id
        from wanted as w
        cross join lateral (
            select i.user_id, i.id
            from public.integrations as i
            where i.user_id = w.user_id
                and i.id = w.id
                and i.credential_version = w.version
                and i.next_refresh_at is not distinct from w.due
                and (i.refresh_lease_until is null or {_HELD_UNTIL} <= now() - {_PATIENCE})
            for no key update skip locked
        ) as c
    )
    update public.integrations as i
    set refresh_lease_owner = %s
    from free as f
    where i.user_id = f.user_id and i.id = f.id
"""  # noqa: S608
_WRITE: Final = """
    with wanted as (
        select *
        from unnest(
            %s::uuid[], %s::uuid[], %s::integer[], %s::timestamptz[],
            string_to_array(%s, ',')
        ) as w (user_id, id, version, due, envelope)
    ),
    mine as (
        select w.*
        from wanted as w
        cross join lateral (
            select
            from public.integrations as i
            where i.user_id = w.user_id
                and i.id = w.id
                and i.credential_version = w.version
                and i.refresh_lease_owner = %s
            for no key update skip locked
        ) as c
    ),
    written as (
        update public.integrations as i
        set credentials = m.envelope, refresh_lease_owner = null, next_refresh_at = m.due
        from mine as m
        where i.user_id = m.user_id and i.id = m.id
        returning i.id
    )
    select json_build_array(
        (select count(*) from written),
        (
            select count(*)
            from wanted as w
            join public.integrations as i on i.user_id = w.user_id and i.id = w.id
            where i.credential_version = w.version and i.refresh_lease_owner = %s
        )
    )
"""
_LEASE_AND_WRITE: Final = f"""
    begin;
    {_LEASE};
    commit;
    select set_config('integrations.acting_for', %s, true);
    {_WRITE}
"""
_WRITE_PAUSES: Final = (0.02, 0.1, 0.5, 1.0, 2.0, 4.0)
"""Seconds before rows that were leased, and that somebody else had locked a moment later, are written after all: longer
than a busy database needs for a batch, and a small part of the lease.
"""


class PostgresKeyRotationDatabase:
    """Implements `port.KeyRotationDatabase`."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    async def count_by_key(self) -> Mapping[str, int]:
        """Rows by the key id their credentials are sealed under."""
        rows = await self._pool.values(NOBODY, _COUNT, repeatable=True)
        return dict(read(rows, lambda row: (str(row["key_id"]), int(row["integrations"]))))

    async def count_authorizations_by_key(self) -> Mapping[str, int]:
        """Authorizations that have not expired, by the key id they are sealed under."""
        rows = await self._pool.values(NOBODY, _COUNT_AUTHORIZATIONS, repeatable=True)
        return dict(read(rows, lambda row: (str(row["key_id"]), int(row["authorizations"]))))

    async def list_sealed_under(
        self, key_id: str, after: IntegrationRef | None, limit: int
    ) -> tuple[IntegrationRef, ...]:
        """Up to `limit` (1 to 500) rows sealed under a key, in order, after a position."""
        position = (after.user_id, after.id) if after else (None, None)
        return read(await self._pool.values(NOBODY, _LIST, key_id, *position, limit, repeatable=True), _to_ref)

    async def read_sealed_under(self, key_id: str, refs: Sequence[IntegrationRef]) -> RotatingPage:
        """Those of the rows (of at most 500 users) that are there and sealed under the key, in order: as many of them
        as fit into a few megabytes, and at least one.
        """
        declared, users, ids = _places(refs)
        found = await self._pool.values(declared, _READ, users, ids, key_id, _PAGE_BYTES, repeatable=True)
        rows = read(found, _to_rotating_row)
        # Rows that are gone by now need no second look: it is enough to go on after the last one that was found.
        return RotatingPage(rows, rows[-1].ref if rows else refs[-1])

    async def write_resealed(self, rows: Sequence[ResealedRow], owner: UUID) -> int:
        """Lease the rows that nobody holds and that are as they were read, write their next version and end the lease;
        how many were written. Never waits for a row that somebody else is changing.
        """
        declared, users, ids = _places([row.ref for row in rows])
        versions = array_of(row.seen_version for row in rows)
        dues = array_of(row.next_refresh_at or "null" for row in rows)
        seen = (users, ids, versions, dues)
        # An envelope has no commas, and a list of them is read faster than an array of quoted texts.
        to_write = (*seen, ",".join(row.envelope for row in rows), owner, owner)
        ((written, leased),) = await self._pool.values(declared, _LEASE_AND_WRITE, *seen, owner, declared, *to_write)
        left = leased - written
        for pause in _WRITE_PAUSES:
            if not left:
                break
            # Whoever looks for free rows at that moment, another rotation or a worker, locks a leased one just to see
            # that it is not free. Left alone it would be held until its lease and everybody's patience have ended.
            await asyncio.sleep(pause)
            ((more, leased),) = await self._pool.values(declared, _WRITE, *to_write)
            written, left = written + more, leased - more
        return int(written)


def _places(refs: Sequence[IntegrationRef]) -> tuple[str, str, str]:
    """The declaration of the rows' owners, and owners and ids as two arrays."""
    declared = declaration(dict.fromkeys(ref.user_id for ref in refs))
    return declared, array_of(ref.user_id for ref in refs), array_of(ref.id for ref in refs)


def _to_ref(row: Row) -> IntegrationRef:
    return IntegrationRef(UUID(row["user_id"]), UUID(row["id"]))


def _to_rotating_row(row: Row) -> RotatingRow:
    return RotatingRow(
        _to_ref(row),
        row["service_name"],
        row["config"],
        row["credential_version"],
        row["credentials"],
        row["next_refresh_at"],
        row["is_held"],
        row["was_abandoned"],
    )
