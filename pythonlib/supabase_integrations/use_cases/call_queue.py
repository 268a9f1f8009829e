"""Calls of one key: who may start now, who waits in line, and the one timer that lets the next one go.

A call that is let go is counted when it really starts, not when it was let go: the event loop may be late.
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from math import inf
from typing import Final

from ..core.errors import RateLimitedError
from ..core.rate_limits import QueueRules
from ..core.start_log import log_for

Monotonic = Callable[[], float]

TICKETS: Final = count()
"""Places in every line: each is behind all that were taken before."""


class Waiter:
    """One call in line. Its ticket keeps its place: a call that comes back has the one it came with."""

    __slots__ = ("deadline", "future", "ticket")

    def __init__(self, ticket: int, deadline: float) -> None:
        self.ticket = ticket
        self.deadline = deadline
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __lt__(self, other: "Waiter") -> bool:
        return self.ticket < other.ticket


class CallQueue:
    """The line of one key, in this process."""

    def __init__(self, rules: QueueRules, now: Monotonic) -> None:
        self._rules = rules
        self._now = now
        self._log = log_for(rules.limit)
        self._blocked_until = -inf
        self._waiters: list[Waiter] = []
        self._granted = 0
        """Let go, and not started yet: the event loop has not come to them."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    @property
    def waiting(self) -> int:
        """How many calls are in line."""
        return len(self._waiters)

    def is_idle(self) -> bool:
        """Whether forgetting this key would change nothing."""
        now = self._now()
        return not self._waiters and not self._granted and now >= self._blocked_until and self._log.is_idle(now)

    def try_start(self) -> bool:
        """Count a start and return True if it may be now; otherwise the call has to `wait`."""
        if self._waiters or self._granted:
            return False
        now = self._now()
        if now < self._blocked_until or not self._log.has_room(now):
            return False
        self._log.record(now)
        return True

    async def wait(self, ticket: int, longest: float | None, *, again: bool = False) -> None:
        """Return when it is this call's turn, its start counted; a cancelled call counts for nothing.

        `again`: the call was let through before, and was refused by the service. Raises RateLimitedError where it
        would take longer than `longest` seconds, the line is full, or waiting is not allowed.
        """
        now = self._now()
        longest = inf if longest is None else longest
        longest = longest if self._rules.queue_enabled else 0.0
        self._admit(now, ticket, longest, again=again)
        while True:
            waiter = Waiter(ticket, now + longest)
            self._line_up(waiter)
            self._pump()
            try:
                if waiter.future.done():
                    # What is done already is not waited for, and those who were let go before this one start first.
                    await asyncio.sleep(0)
                await waiter.future
            except asyncio.CancelledError:
                self._leave(waiter)
                raise
            self._granted -= 1
            if self._begin(waiter):
                return

    def penalise(self, wait: float) -> None:
        """Let nothing start for so many seconds from now; a longer penalty that holds already stays."""
        now = self._now()
        if now + wait > self._blocked_until:
            self._blocked_until = now + wait
            self._refuse_late(now)
            self._pump()

    def configure(self, rules: QueueRules) -> None:
        """Go on under other rules. Calls in line keep their deadlines."""
        self._rules = rules
        self._log = log_for(rules.limit, self._log)
        self._refuse_late(self._now())
        self._pump()

    def _free_at(self, now: float, ahead: int) -> float:
        return self._log.free_at(max(now, self._blocked_until), ahead)

    def _admit(self, now: float, ticket: int, longest: float, *, again: bool) -> None:
        ahead = self._granted + bisect_left(self._waiters, ticket, key=lambda waiter: waiter.ticket)
        wait = self._free_at(now, ahead) - now
        is_full = not again and len(self._waiters) >= self._rules.max_queue
        if wait > longest or (wait > 0 and is_full):
            raise RateLimitedError(timedelta(seconds=wait))

    def _line_up(self, waiter: Waiter) -> None:
        insort(self._waiters, waiter)

    def _begin(self, waiter: Waiter) -> bool:
        """Count the start of a call that was let go; False sends it back to its place in line."""
        del waiter
        self._log.record(self._now())
        return True

    def _leave(self, waiter: Waiter) -> None:
        """A cancelled call goes; what it was given is for the next one."""
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            self._granted -= 1
            self._take_back(waiter)
        else:
            at = bisect_left(self._waiters, waiter)
            if at < len(self._waiters) and self._waiters[at] is waiter:
                del self._waiters[at]
        self._pump()

    def _take_back(self, waiter: Waiter) -> None:
        """Have again what a call was let go with."""

    def _let_go(self) -> Waiter | None:
        """Let the first in line go, unless it was cancelled and has not left yet."""
        waiter = self._waiters.pop(0)
        if waiter.future.done():
            return None
        waiter.future.set_result(None)
        self._granted += 1
        return waiter

    def _pump(self) -> None:
        """Let go whoever may, and wake up when the next one may."""
        now = self._now()
        while self._waiters:
            at = self._free_at(now, self._granted)
            if at > now:
                self._wake(now, at)
                return
            self._let_go()
        self._wake(now, inf)

    def _wake(self, now: float, at: float) -> None:
        """Pump again at that moment, and at no other."""
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(at - now, self._on_timer) if at < inf else None
        self._timer_at = at

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, inf
        self._pump()

    def _refuse_late(self, now: float) -> None:
        """Tell those at once who could not be let go before their deadline."""
        kept: list[Waiter] = []
        for waiter in self._waiters:
            at = self._free_at(now, self._granted + len(kept))
            if at <= waiter.deadline:
                kept.append(waiter)
            else:
                self._refuse(waiter, at - now)
        self._waiters = kept

    @staticmethod
    def _refuse(waiter: Waiter, wait: float) -> None:
        if not waiter.future.done():
            waiter.future.set_exception(RateLimitedError(timedelta(seconds=wait)))
