"""When a worker looks for due rows next: at the moments it hears of, and otherwise now and then."""

import asyncio
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from ..port import Clock


class DueBell:
    """Collects announced moments. At most one a second counts, and none beyond the next look: whoever may NOTIFY, and
    that is every role of the database, wakes a worker once a second and costs it no memory.
    """

    def __init__(self, clock: Clock, poll: timedelta) -> None:
        self._clock = clock
        self._poll = poll
        self._announced: set[int] = set()
        self._changed = asyncio.Event()
        self._rung = False

    @property
    def remembered(self) -> int:
        """How many announced moments are still to come."""
        return len(self._announced)

    def announce(self, moment: datetime) -> None:
        """A row is due at this moment; one that has passed counts as the next second."""
        now = self._clock.now()
        if moment <= now + self._poll:
            self._announced.add(math.ceil(max(moment.timestamp(), now.timestamp())))
            self._changed.set()

    def ring(self) -> None:
        """End this wait and every further one."""
        self._rung = True
        self._changed.set()

    async def wait(self, longest: timedelta | None = None) -> None:
        """Wait until an announced moment, or as long as is given, or for the poll."""
        patience = self._poll if longest is None else min(longest, self._poll)
        loop = asyncio.get_running_loop()
        # Not by the time of day: where that is set back, the next look would be as much later.
        end = loop.time() + patience.total_seconds()
        while not self._rung:
            self._changed.clear()
            left = end - loop.time()
            if self._announced:
                left = min(left, (_moment(min(self._announced)) - self._clock.now()).total_seconds())
            if left <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        now = self._clock.now()
        self._announced = {second for second in self._announced if _moment(second) > now}


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
