"""All lines of one service: one for the service, or one for each account, made when needed and forgotten when idle."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from math import inf

from ..core.rate_limits import QueueRules
from .call_queue import CallQueue
from .shared_call_queue import SharedCallQueue
from .shared_limits import SharedLimits


class ServiceLines:
    """The lines of the service `name`; shared with other processes where there is a store and a limit."""

    def __init__(self, name: str, rules: QueueRules, shared: SharedLimits | None, clock: Callable[[], float]) -> None:
        self._name = name
        self.rules = rules
        self._per_account = rules.per_account
        self._shared = shared
        self._clock = clock
        self._queues: OrderedDict[str, CallQueue] = OrderedDict()
        self._blocked_until = -inf

    def __len__(self) -> int:
        return len(self._queues)

    def find(self, account: str) -> CallQueue | None:
        """The line of an account's calls, where there is one."""
        return self._queues.get(account if self._per_account else "")

    def open(self, account: str) -> CallQueue:
        """A new line for an account's calls."""
        key = account if self._per_account else ""
        queue: CallQueue
        if self._shared is not None and self.rules.limit is not None:
            # An account's id may be a host name or an address, and is nobody's business in a store.
            name = f"{self._name}:{sha256(key.encode()).hexdigest()[:32]}"
            queue = SharedCallQueue(name, self.rules, self.rules.limit, self._shared, self._clock)
        else:
            queue = CallQueue(self.rules, self._clock)
        self._queues[key] = queue
        left = self._blocked_until - self._clock()
        if left > 0:
            queue.penalise(left)
        return queue

    def configure(self, rules: QueueRules) -> None:
        """Go on under other rules, in every line."""
        self.rules = rules
        for queue in self._queues.values():
            queue.configure(rules)

    def penalise(self, wait: float) -> None:
        """Let nothing start in any line for so many seconds, nor in those that are still to come."""
        self._blocked_until = max(self._blocked_until, self._clock() + wait)
        for queue in self._queues.values():
            queue.penalise(wait)

    def sweep(self, share: int) -> None:
        """Look at so many lines, the longest unseen first, and forget the idle ones.

        Their windows are over, so they would begin anew with the same rights.
        """
        for _ in range(min(len(self._queues), share)):
            key, queue = self._queues.popitem(last=False)
            if not queue.is_idle():
                self._queues[key] = queue
