"""Taking due rows as slots are free, and renewing each in a task of its own."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Final, Protocol
from uuid import UUID, uuid4

from ..core.errors import IntegrationError, StoreUnavailableError
from ..core.models import IntegrationRef, SealedIntegration
from ..port import Clock, WorkerDatabase
from .due_bell import DueBell
from .refresher import Refresher
from .turns import Turns

_GATHER_SECONDS: Final = 0.25
"""How long freed slots are gathered before the next claim: each one looks through up to 5,000 due rows."""
_SECOND_LOOK: Final = timedelta(seconds=1)
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 15.0
_CLAIM_SECONDS: Final = 20.0
"""From the claim until its renewals begin: what is left of a lease then is longer than a service may take to answer."""
_READ_WAIT: Final = 0.5


class ClaimLog(Protocol):
    """Is told of what the operator has to see."""

    def claimed(self, rows: int, *, in_flight: int) -> None:
        """Rows were leased and are being renewed."""
        ...

    def database_away(self, error: IntegrationError, *, retry_in: float) -> None:
        """The database cannot be worked with; tried again after so many seconds."""
        ...

    def database_back(self) -> None:
        """It can again."""
        ...

    def crashed(self, ref: IntegrationRef, error: Exception) -> None:
        """A renewal ended with an error that nobody foresaw. The lease ends by itself, and the row is tried again."""
        ...


class Claims:
    """Never leases more rows than it starts to renew at once, so that no lease runs while its row waits here."""

    def __init__(
        self,
        database: WorkerDatabase,
        refresher: Refresher,
        bell: DueBell,
        clock: Clock,
        log: ClaimLog,
        *,
        concurrency: int,
        random: Random | None = None,
    ) -> None:
        self._database = database
        self._refresher = refresher
        self._bell = bell
        self._clock = clock
        self._log = log
        self._concurrency = concurrency
        self._random = random or Random()  # noqa: S311 - spreads retries, keeps no secret
        self._turns = Turns()
        self._running: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._stopped = False

    @property
    def in_flight(self) -> int:
        """How many rows are being renewed."""
        return len(self._running)

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped = True
        self._freed.set()
        self._bell.ring()

    async def run(self) -> None:
        """Claim and renew until stopped; what is in flight then goes on. Outages are waited out.

        Raises SchemaMissingError, ForbiddenError and other errors that no waiting mends.
        """
        failures = empty_claims = 0
        while await self._has_room():
            free = self._concurrency - len(self._running)
            try:
                claimed = await self._claim(free)
            except StoreUnavailableError as error:
                failures += 1
                await self._back_off(error, failures)
                continue
            if failures:
                self._log.database_back()
            failures = 0
            empty_claims = 0 if claimed else empty_claims + 1
            if claimed < free:
                # Rows that other workers are claiming at the same moment are skipped, so one empty claim says little.
                await self._bell.wait(_SECOND_LOOK if empty_claims < 2 else None)

    async def drain(self) -> None:
        """Wait for the renewals in flight."""
        while self._running:
            await asyncio.wait(self._running)

    async def _has_room(self) -> bool:
        """Wait until half of the slots are free, or any for a moment; False when stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_SECONDS):
                await self._until(lambda: len(self._running) <= self._concurrency // 2)
        await self._until(lambda: len(self._running) < self._concurrency)
        return not self._stopped

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._stopped:
            self._freed.clear()
            await self._freed.wait()

    async def _claim(self, free: int) -> int:
        owner = uuid4()
        try:
            async with asyncio.timeout(_CLAIM_SECONDS):
                refs = await self._database.claim_due(min(free, 500), owner, self._turns.served)
                self._turns.add(ref.user_id for ref in refs)
                rows = await self._read(refs)
        except TimeoutError:
            raise StoreUnavailableError("The database takes too long to answer.") from None
        if not refs:
            return 0
        self._log.claimed(len(rows), in_flight=len(self._running) + len(rows))
        for row in rows:
            task = asyncio.create_task(self._renew(row, owner))
            self._running.add(task)
            task.add_done_callback(self._finished)
        return len(refs)

    async def _read(self, refs: tuple[IntegrationRef, ...]) -> tuple[SealedIntegration, ...]:
        while refs:
            try:
                return await self._database.get_many_sealed(refs)
            except StoreUnavailableError:
                # The rows are leased already, so this is tried for longer than once.
                await self._clock.sleep(_READ_WAIT)
        return ()

    async def _renew(self, row: SealedIntegration, owner: UUID) -> None:
        ref = row.integration.ref
        try:
            await self._refresher.refresh_claimed(self._database.for_user(ref.user_id), row, owner)
        except StoreUnavailableError:
            # The next claim meets the same outage, and waits. The lease of this row ends by itself.
            return
        except Exception as error:
            # One row must not end the work on all others.
            self._log.crashed(ref, error)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._freed.set()

    async def _back_off(self, error: IntegrationError, failures: int) -> None:
        ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(failures - 1, 10))
        wait = self._random.uniform(ceiling / 2, ceiling)
        self._log.database_away(error, retry_in=wait)
        await self._bell.wait(timedelta(seconds=wait))
