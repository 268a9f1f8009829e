"""What the rate limiter needs of a store that several processes share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .core.rate_limits import RateLimit


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to start one call: not before `wait` seconds from the store's answer, and at most `slack` later."""

    wait: float
    token: str
    """Names it, to give it back."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was reserved, in order; `refused` is the wait of the first that would have taken too long."""

    reservations: tuple[Reservation, ...]
    refused: float | None = None


class RateLimitStore(Protocol):
    """Counts calls for all processes, on a clock of its own. Every method may raise StoreUnavailableError, soon."""

    async def reserve(self, key: str, limit: RateLimit, *, count: int, slack: float, longest: float) -> Reserved:
        """Reserve up to `count` starts in one atomic step, none of them more than `longest` seconds away.

        Each start is counted at its latest moment, `wait` + `slack`, so that a call which starts late within its slack
        still keeps the limit. Durations are seconds.
        """
        ...

    async def give_back(self, key: str, tokens: Sequence[str]) -> None:
        """Return reservations that were not used."""
        ...

    async def penalise(self, key: str, wait: float) -> None:
        """Reserve no start of this key within so many seconds from now."""
        ...

    async def ping(self) -> None:
        """Return if the store can be used."""
        ...
