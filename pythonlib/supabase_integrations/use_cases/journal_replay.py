"""Storing what a journal kept: replies of services that the database did not take when they came.

A process does this from its start on, for itself and for those that died beside it. Whoever needs one of these
connections meanwhile stores its reply too (`Renewal`), so nothing waits for this.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from ..core.errors import IntegrationBusyError, IntegrationError, JournalUnavailableError, StoreUnavailableError
from ..core.journal_entry import JournalEntry
from ..core.models import IntegrationRef
from ..port import Clock, CredentialStore, Journal, JournalLog, UserStores
from .refresher import Refresher

OpenStore: TypeAlias = Callable[[JournalEntry], CredentialStore | None]
"""The door through which an entry is stored; None where this process has none for it."""

UNDER_WAY: Final = timedelta(seconds=20)
"""How long a reply is left to whoever wrote it: the writing is tried again for 16 s, and two at it would end in one of
them being told that the connection is busy.
"""
GIVEN_UP_AFTER: Final = timedelta(hours=1)
"""How long a row may be found leased at every look. No renewal holds one for that long, but its user can, with curl,
after taking the lease from a renewal; the replies that many users kept here so would fill the journal, and end the
renewals of everybody.
"""
_LOOK_EVERY: Final = 20.0
"""Above all for what a process beside this one left when it was killed: together with UNDER_WAY this has to fit into
what is left of its lease after the longest request, and the time that others wait after that.
"""
_FIRST_WAIT: Final = 5.0
_LONGEST_WAIT_FOR_OTHERS: Final = 60.0
"""While rows are leased to somebody else."""
_LONGEST_WAIT: Final = 10.0
"""While the database is away or a reply is young: less than others wait after a lease that was not given back."""
_AT_ONCE: Final = 8
_OUTAGES: Final = 3 * _AT_ONCE
"""So many failures in a row to reach the database say that it is away: the rest of a round would find the same."""


def as_user(stores: UserStores, clock: Clock) -> OpenStore:
    """The user's own door: the token that asked for the reply opens it until it expires. Later ones are the worker's,
    or stored when the user comes back.
    """

    def open_store(entry: JournalEntry) -> CredentialStore | None:
        caller = entry.caller
        return None if caller is None or caller.expires_at <= clock.now() else stores.for_caller(caller)

    return open_store


class JournalReplay:
    """One process's share of the journal on its machine."""

    def __init__(
        self, journal: Journal, open_store: OpenStore, refresher: Refresher, clock: Clock, log: JournalLog
    ) -> None:
        self._journal = journal
        self._open_store = open_store
        self._refresher = refresher
        self._clock = clock
        self._log = log
        self._busy_since: dict[tuple[IntegrationRef, int], datetime] = {}
        self._waits_for_others = False

    async def run(self) -> None:
        """Store what was kept, until cancelled: every 20 seconds, and sooner while something is left."""
        wait = _FIRST_WAIT
        while True:
            if await self.replay_all():
                longest = _LONGEST_WAIT_FOR_OTHERS if self._waits_for_others else _LONGEST_WAIT
                wait = min(wait, longest)
                await self._clock.sleep(wait)
                wait *= 2
            else:
                await self._clock.sleep(_LOOK_EVERY)
                wait = _FIRST_WAIT

    async def replay_all(self) -> int:
        """Store every reply that can be. Returns how many are left that this process has a door for.

        None holds up the others: what fails is told to the log, and stays for the next time.
        """
        try:
            entries = await self._journal.entries()
        except JournalUnavailableError:
            self._waits_for_others = False
            return 1
        doors = [(entry, store) for entry in entries if (store := self._open_store(entry))]
        now = self._clock.now()
        round_ = _Round(self._refresher, self._log)
        # What is from the future was written before the clock was set back: nobody is at it any more.
        queue = iter([(entry, store) for entry, store in doors if not now - UNDER_WAY < entry.written_at <= now])
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(round_.work(queue))
        left = len(doors) - round_.settled
        self._waits_for_others = left == len(round_.busy)
        return left - await self._give_up(round_.busy)

    async def _give_up(self, busy: list[JournalEntry]) -> int:
        """Forget the replies whose rows have been leased for too long; how many."""
        now, before = self._clock.now(), self._busy_since
        self._busy_since = {_key(entry): before.get(_key(entry), now) for entry in busy}
        hopeless = [entry for entry in busy if now - self._busy_since[_key(entry)] >= GIVEN_UP_AFTER]
        for entry in hopeless:
            del self._busy_since[_key(entry)]
            await self._journal.remove(entry)
            self._log.expired(entry.ref, entry.seen_version)
        return len(hopeless)


class _Round:
    """One time through the journal, by several hands."""

    def __init__(self, refresher: Refresher, log: JournalLog) -> None:
        self._refresher = refresher
        self._log = log
        self._outages = 0
        self.settled = 0
        self.busy: list[JournalEntry] = []

    async def work(self, queue: Iterator[tuple[JournalEntry, CredentialStore]]) -> None:
        for entry, store in queue:
            await self._replay(entry, store)
            if self._outages >= _OUTAGES:
                return

    async def _replay(self, entry: JournalEntry, store: CredentialStore) -> None:
        outages, self._outages = self._outages, 0
        try:
            await self._refresher.replay(store, entry)
        except StoreUnavailableError as error:
            self._outages = outages + 1
            self._log.left(entry, error.code)
        except IntegrationError as error:
            self._log.left(entry, error.code)
            if isinstance(error, IntegrationBusyError):
                self.busy.append(entry)
        except Exception as error:  # whatever it is, it is this entry's, and others can still be stored
            self._log.left(entry, type(error).__name__)
        else:
            self.settled += 1


def _key(entry: JournalEntry) -> tuple[IntegrationRef, int]:
    return entry.ref, entry.seen_version
