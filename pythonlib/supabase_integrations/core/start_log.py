"""The sliding-window log: which calls have been started, and when the next one may be.

A window begins anywhere: no span of its length may hold more starts than the limit allows. Only a log of the starts
keeps that; buckets and fixed windows let nearly twice as many through where two windows meet. Moments are seconds of a
clock that does not go back.
"""

from array import array
from bisect import bisect_right
from math import inf
from typing import Final, Protocol

from .rate_limits import RateLimit

MARGIN: Final = 0.02
"""Seconds added to every window: what calls gain or lose on each other between their start and the service."""


class Log(Protocol):
    """What has been started, as far as it still counts."""

    def has_room(self, now: float) -> bool:
        """Whether a start now keeps the limit."""
        ...

    def free_at(self, now: float, ahead: int) -> float:
        """The moment, not before `now`, at which a start keeps the limit if `ahead` others start before it."""
        ...

    def record(self, now: float) -> None:
        """Count a start."""
        ...

    def is_idle(self, now: float) -> bool:
        """Whether nothing counts any more."""
        ...


class NoLog:
    """Of a service without a limit: nothing is counted."""

    def has_room(self, now: float) -> bool:
        """Always."""
        del now
        return True

    def free_at(self, now: float, ahead: int) -> float:
        """At once."""
        del ahead
        return now

    def record(self, now: float) -> None:
        """Nothing to count."""

    def is_idle(self, now: float) -> bool:
        """Always."""
        del now
        return True


class StartLog:
    """The last `requests` starts, in a ring that grows as it fills: 8 bytes each.

    The oldest of them alone decides whether one more fits, so that starting costs the same however many are allowed.
    """

    __slots__ = ("_forgotten", "_older", "_oldest", "_requests", "_starts", "_window")

    def __init__(self, requests: int, window: float) -> None:
        self._requests = requests
        self._window = window
        self._starts = array("d")
        self._oldest = 0
        self._older = array("d")
        """Those before them that a larger limit counted, for one that counts them again."""
        self._forgotten = -inf
        """No start that was forgotten under an earlier limit was later."""

    def has_room(self, now: float) -> bool:
        """Whether a start now keeps the limit."""
        starts = self._starts
        return len(starts) < self._requests or starts[self._oldest] + self._window <= now

    def free_at(self, now: float, ahead: int) -> float:
        """The moment, not before `now`, at which a start keeps the limit if `ahead` others start before it.

        Every `requests` starts the pattern of the log repeats, one window later.
        """
        turns, place = divmod(ahead, self._requests)
        unused = self._requests - len(self._starts)
        first = now
        if place >= unused:
            at = (self._oldest + place - unused) % len(self._starts)
            first = max(now, self._starts[at] + self._window)
        return first + turns * self._window

    def record(self, now: float) -> None:
        """Count a start."""
        starts = self._starts
        if len(starts) < self._requests:
            starts.append(now)
        else:
            oldest = self._oldest
            starts[oldest] = now
            oldest += 1
            self._oldest = oldest if oldest < self._requests else 0

    def is_idle(self, now: float) -> bool:
        """Whether no start is within the window."""
        return not self._starts or self._starts[self._oldest - 1] + self._window <= now

    def resized(self, requests: int, window: float) -> "StartLog":
        """The same starts under another limit.

        A ring that was full has forgotten starts which a longer window counts again: they are taken to have been as
        late as they can have been, one window before the last.
        """
        kept = self._starts[self._oldest :] + self._starts[: self._oldest]
        forgotten = self._forgotten
        if len(kept) == self._requests:
            forgotten = max(forgotten, min(kept[0], kept[-1] - self._window))
            known = self._older + kept
            later = known[bisect_right(known, forgotten) :]
            kept = array("d", [forgotten]) * (requests - len(later)) + later
        log = StartLog(requests, window)
        log._starts, log._older, log._forgotten = kept[-requests:], kept[:-requests], forgotten
        return log


def log_for(limit: RateLimit | None, old: Log | None = None) -> Log:
    """The log that keeps a limit, with the starts of the one it replaces."""
    if limit is None:
        return NoLog()
    requests, window = limit.requests, limit.window + MARGIN
    return old.resized(requests, window) if isinstance(old, StartLog) else StartLog(requests, window)
