"""The line of one key whose starts are reserved in a store that other processes reserve in too.

The line holds the reservations, not the calls in it: when one leaves, those behind it move up, and only what nobody
here needs any more is given back. A reservation is good for a short while after its moment. Who comes too late, because
the event loop was, gives it back and keeps its place in line: who was let go behind it waits for it. What really starts
is also counted here, so that the line goes on by itself while the store is away.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from math import inf
from typing import Final

from ..core.errors import StoreUnavailableError
from ..core.rate_limits import QueueRules, RateLimit
from ..port_rate_limits import Reserved
from .call_queue import CallQueue, Waiter
from .shared_limits import SharedLimits

BATCH: Final = 32
"""Reservations one process may hold of one key: what a process that dies takes with it."""
ANSWER_TIME: Final = 0.5
"""Seconds that a call which may not wait still waits for the store to say that it need not."""
_LONGEST_WAIT: Final = 1e9
"""Seconds; stands for no limit to the wait."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A reservation on this process's clock: from when, and until when it may be used."""

    start: float
    until: float
    token: str


class SharedCallQueue(CallQueue):
    """The line of one key, among processes. `key` names it in the store."""

    def __init__(
        self, key: str, rules: QueueRules, limit: RateLimit, shared: SharedLimits, now: Callable[[], float]
    ) -> None:
        super().__init__(rules, now)
        self._key = key
        self._limit = limit
        self._shared = shared
        self._held: deque[_Slot] = deque()
        self._used: dict[Waiter, _Slot | None] = {}
        """What calls were let go with that have not started yet; None where the line goes on without the store."""
        self._going: list[Waiter] = []
        """The same calls as a heap, and some that have started or gone: the first that has not is soon found."""
        self._is_asking = False
        self._is_alone = False
        """Whether the line goes on without the store."""
        self._first_deadline = inf
        """No call in line has an earlier one."""

    def is_idle(self) -> bool:
        """Whether forgetting this key would change nothing."""
        return not self._held and not self._is_asking and super().is_idle()

    def try_start(self) -> bool:
        """Only while the store is away: otherwise it has to be asked."""
        return self._shared.is_away and super().try_start()

    def penalise(self, wait: float) -> None:
        """Slow the key down in every process."""
        self._shared.penalise(self._key, wait)
        super().penalise(wait)

    def configure(self, rules: QueueRules) -> None:
        """Go on under other rules; what was reserved under the old ones is given back."""
        self._give_back(len(self._held))
        self._limit = rules.limit or self._limit
        super().configure(rules)

    def _let_go(self) -> Waiter | None:
        waiter = super()._let_go()
        if waiter is not None:
            self._used[waiter] = None
            heappush(self._going, waiter)
        return waiter

    def _begin(self, waiter: Waiter) -> bool:
        slot = self._used[waiter]
        now = self._now()
        if slot is not None and now > slot.until:
            del self._used[waiter]
            self._shared.was_late()
            self._shared.give_back(self._key, [slot.token])
            return False
        if self._is_overtaking(waiter):
            self._take_back(waiter)
            return False
        del self._used[waiter]
        if slot is not None:
            self._shared.was_in_time()
        self._log.record(now)
        return True

    def _is_overtaking(self, waiter: Waiter) -> bool:
        """Whether a call before this one came too late just now and has not started yet: that one is next."""
        while self._going[0] not in self._used:
            heappop(self._going)
        return self._going[0] < waiter or (bool(self._waiters) and self._waiters[0] < waiter)

    def _take_back(self, waiter: Waiter) -> None:
        slot = self._used.pop(waiter)
        if slot is not None:
            self._held.appendleft(slot)
        if not self._used:
            self._going.clear()

    def _pump(self) -> None:
        now = self._now()
        if self._shared.is_away:
            # Each time: an answer that was on its way when the store went away comes later.
            self._held.clear()
            if not self._is_alone:
                self._is_alone = True
                self._refuse_late(now)
            super()._pump()
            return
        self._is_alone = False
        self._drop_late(now)
        self._refuse_hopeless(now)
        while self._waiters and self._held and max(self._free_at(now, self._granted), self._held[0].start) <= now:
            waiter = self._let_go()
            if waiter is not None:
                self._used[waiter] = self._held.popleft()
        self._refuse_expired(now)
        self._give_back(len(self._held) - len(self._waiters))
        self._ask(now)
        self._wake(now, self._next_moment(now))

    def _drop_late(self, now: float) -> None:
        late = [slot.token for slot in self._held if slot.until < now]
        if late:
            self._held = deque(slot for slot in self._held if slot.until >= now)
            self._shared.give_back(self._key, late)

    def _line_up(self, waiter: Waiter) -> None:
        super()._line_up(waiter)
        self._first_deadline = min(self._first_deadline, waiter.deadline)

    def _refuse_hopeless(self, now: float) -> None:
        """Tell those whose reservation comes after their deadline."""
        place = 0
        while place < min(len(self._held), len(self._waiters)):
            waiter, slot = self._waiters[place], self._held[place]
            if slot.start > waiter.deadline + ANSWER_TIME:
                self._refuse(self._waiters.pop(place), slot.start - now)
            else:
                place += 1

    def _refuse_expired(self, now: float) -> None:
        """Tell those whose deadline has come. A reservation helps none of them that somebody in front holds up."""
        if now >= self._first_deadline + ANSWER_TIME:
            self._keep_only(lambda waiter: now < waiter.deadline + ANSWER_TIME, self._free_at(now, 0) - now)
            self._first_deadline = min((waiter.deadline for waiter in self._waiters), default=inf)

    def _keep_only(self, may_stay: Callable[[Waiter], bool], wait: float, *, first: int = 0) -> None:
        """From a place in line on, refuse who may not stay."""
        kept = self._waiters[:first]
        for waiter in self._waiters[first:]:
            if may_stay(waiter):
                kept.append(waiter)
            else:
                self._refuse(waiter, wait)
        self._waiters = kept

    def _give_back(self, count: int) -> None:
        """The last ones: those before them are still somebody's."""
        if count > 0:
            self._shared.give_back(self._key, [self._held.pop().token for _ in range(count)])

    def _ask(self, now: float) -> None:
        """Reserve for those who have nothing yet, unless an answer is on its way or nothing may start anyway."""
        missing = min(len(self._waiters), BATCH) - len(self._held)
        if missing <= 0 or self._is_asking or now < self._blocked_until:
            return
        self._is_asking = True
        without = islice(self._waiters, len(self._held), len(self._held) + missing)
        longest = min(max(waiter.deadline for waiter in without) - now, _LONGEST_WAIT)
        self._shared.start(self._reserve(missing, self._shared.slack, max(0.0, longest)))

    async def _reserve(self, count: int, slack: float, longest: float) -> None:
        try:
            async with self._shared.turn() as store:
                sent = self._now()
                reserved = await store.reserve(self._key, self._limit, count=count, slack=slack, longest=longest)
        except StoreUnavailableError:
            self._shared.went_away()
        else:
            self._keep(reserved, slack, sent)
        finally:
            self._is_asking = False
        self._pump()

    def _keep(self, reserved: Reserved, slack: float, sent: float) -> None:
        """Put what was reserved on our clock: the store's moment lay between our question and its answer."""
        now = self._now()
        for each in reserved.reservations:
            slot = _Slot(now + each.wait, sent + each.wait + slack, each.token)
            if slot.until < slot.start:
                self._shared.was_late()
            self._held.append(slot)
        if reserved.refused is not None:
            at = now + reserved.refused
            # Of those without a reservation.
            self._keep_only(lambda waiter: at <= waiter.deadline, reserved.refused, first=len(self._held))

    def _next_moment(self, now: float) -> float:
        if not self._waiters:
            return inf
        at = self._held[0].start if self._held else inf
        if at < inf or now < self._blocked_until:
            at = max(at if at < inf else now, self._free_at(now, self._granted))
        return min(at, self._first_deadline + ANSWER_TIME)
