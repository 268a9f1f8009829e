"""The tables as the worker's role reaches them. Implements `port.WorkerDatabase` and, for one user, `CredentialStore`.

Every statement names the owner beside declaring them, so that what is changed is decided twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson

from ..core.errors import IntegrationBusyError
from ..core.models import (
    Caller,
    CredentialReplacement,
    Integration,
    IntegrationRef,
    IntegrationStatus,
    RefreshFailure,
    SealedIntegration,
)
from .credential_columns import columns_of_failure, columns_of_replacement
from .integration_rows import (
    INTEGRATION_COLUMNS,
    SEALED_COLUMNS,
    Row,
    only,
    read,
    to_integration,
    to_sealed_integration,
)
from .worker_pool import NOBODY, WorkerPool, array_of, declaration

# Rows come as JSON: the Data API's form, so that both doors share one parser, whatever a server's DateStyle is.
_GET: Final = f"""
    select to_json(r) from (
        select {SEALED_COLUMNS} from public.integrations where user_id = %s and id = %s
    ) as r
"""  # noqa: S608
_GET_MANY: Final = f"""
    select to_json(r) from (
        select {SEALED_COLUMNS} from public.integrations
        where (user_id, id) in (select * from unnest(%s::uuid[], %s::uuid[]))
    ) as r
"""  # noqa: S608
_CLAIM: Final = "select to_json(c) from integrations_private.claim_due_refreshes(%s, %s, %s::uuid[]) as c"
_PURGE_STATES: Final = "select to_json(integrations_private.purge_expired_states(%s))"
_PURGE_EVENTS: Final = "select to_json(integrations_private.purge_old_events(%s, %s))"


class PostgresWorkerDatabase:
    """Implements `port.WorkerDatabase`."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    def for_user(self, user_id: UUID) -> "PostgresCredentialStore":
        """The credentials of one user, who is declared anew in every transaction. Cheap."""
        return PostgresCredentialStore(self._pool, user_id)

    async def claim_due(self, limit: int, lease_owner: UUID, served: Sequence[UUID]) -> tuple[IntegrationRef, ...]:
        """Lease up to `limit` (1 to 500) due rows to `lease_owner`, fairly across users after the turns of `served`."""
        return read(await self._pool.values(NOBODY, _CLAIM, limit, lease_owner, array_of(served)), _to_ref)

    async def get_many_sealed(self, refs: Sequence[IntegrationRef]) -> tuple[SealedIntegration, ...]:
        """The rows, of at most 500 users, in one round trip; what is gone by now is left out."""
        if not refs:
            return ()
        users = [str(ref.user_id) for ref in refs]
        found = await self._pool.values(
            declaration({ref.user_id for ref in refs}),
            _GET_MANY,
            users,
            [str(ref.id) for ref in refs],
            repeatable=True,
        )
        return read(found, to_sealed_integration)

    async def purge_expired_states(self, limit: int) -> int:
        """Delete up to `limit` expired authorizations; how many went."""
        return _count(await self._pool.values(NOBODY, _PURGE_STATES, limit))

    async def purge_old_events(self, older_than: timedelta, limit: int) -> int:
        """Delete up to `limit` events that are older, at least 30 days; how many went."""
        return _count(await self._pool.values(NOBODY, _PURGE_EVENTS, older_than, limit))


class PostgresCredentialStore:
    """Implements `port.CredentialStore` for one declared user."""

    def __init__(self, pool: WorkerPool, user_id: UUID) -> None:
        self._pool = pool
        self._user = str(user_id)
        self._declared = declaration((user_id,))

    @property
    def caller(self) -> Caller | None:
        """Nobody's token opens this door."""
        return None

    async def get_sealed(self, integration_id: UUID) -> SealedIntegration:
        """One integration with its envelope."""
        found = await self._pool.values(self._declared, _GET, self._user, str(integration_id), repeatable=True)
        return only(found, to_sealed_integration)

    async def take_lease(self, integration_id: UUID, owner: UUID) -> SealedIntegration:
        """Become the one who may replace the credentials, for the 60 s that the database grants; the row as it is then.

        Raises IntegrationBusyError while somebody else's lease lives, and 15 s longer where it was not given back.
        """
        changed = await self._change(integration_id, {"refresh_lease_owner": owner}, returning=SEALED_COLUMNS)
        return only(changed, to_sealed_integration)

    async def replace_credentials(
        self, integration_id: UUID, replacement: CredentialReplacement, *, lease_owner: UUID, seen_version: int
    ) -> Integration:
        """Write new credentials and end the lease, if lease and version are still what this caller knows.

        The traces of earlier failures go with the credentials that failed. Raises IntegrationBusyError where lease or
        version is another: nothing was written. Name and settings are their user's: ForbiddenError.
        """
        written = await self._change(
            integration_id,
            columns_of_replacement(replacement),
            lease_owner=lease_owner,
            seen_version=seen_version,
            returning=INTEGRATION_COLUMNS,
        )
        if not written:
            raise IntegrationBusyError
        return only(written, to_integration)

    async def record_failure(
        self, integration_id: UUID, failure: RefreshFailure, *, lease_owner: UUID, seen_version: int
    ) -> None:
        """Note a failed refresh and end the lease, if lease and version are still what this caller knows.

        Silent where they are not: whoever came after knows better. A pause that the failure spares is still one.
        """
        change = partial(self._change, integration_id, lease_owner=lease_owner, seen_version=seen_version)
        if failure.spares_pause:
            if await change(columns_of_failure(failure), unless=IntegrationStatus.INACTIVE):
                return
            failure = replace(failure, status=None)
        await change(columns_of_failure(failure))

    async def reschedule(self, integration_id: UUID, next_refresh_at: datetime | None, *, lease_owner: UUID) -> None:
        """Say when the row is due next (None: never) and end the lease, if it is still `lease_owner`'s; silent where
        it is not.
        """
        values: dict[str, object] = {"next_refresh_at": next_refresh_at, "refresh_lease_owner": None}
        await self._change(integration_id, values, lease_owner=lease_owner)

    async def release_lease(self, integration_id: UUID, owner: UUID) -> None:
        """End the lease if it is still `owner`'s; silent where it is not."""
        await self._change(integration_id, {"refresh_lease_owner": None}, lease_owner=owner)

    async def _change(
        self,
        integration_id: UUID,
        values: dict[str, object],
        *,
        lease_owner: UUID | None = None,
        seen_version: int | None = None,
        unless: IntegrationStatus | None = None,
        returning: str = "id",
    ) -> list[Row]:
        """Update the row where lease and version are as said, and perhaps not its status, and return it.

        The names of columns are all ours.
        """
        guards = {"user_id": self._user, "id": integration_id}
        fences = {"refresh_lease_owner": lease_owner, "credential_version": seen_version}
        conditions = [(f"{column} = %s", value) for column, value in (guards | fences).items() if value is not None]
        if unless is not None:
            conditions.append(("status <> %s", unless.value))
        statement = f"""
            with changed as (
                update public.integrations set {", ".join(f"{column} = %s" for column in values)}
                where {" and ".join(condition for condition, _ in conditions)}
                returning {returning}
            )
            select to_json(c) from changed as c
        """  # noqa: S608
        return await self._pool.values(
            self._declared, statement, *map(_sendable, values.values()), *(value for _, value in conditions)
        )


def _to_ref(row: Row) -> IntegrationRef:
    return IntegrationRef(UUID(row["user_id"]), UUID(row["id"]))


def _sendable(value: object) -> object:
    """A value as the driver understands it: it would send an enum by its name, and a tuple as a row."""
    match value:
        case Enum():
            return value.value
        case tuple():
            return list(value)
        case Mapping():
            return orjson.dumps(value).decode()
    return value


def _count(found: Sequence[Any]) -> int:
    return int(found[0])
