"""How often a service may be called, and how calls wait for their turn."""

from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Final

from .errors import InvalidValueError
from .service_kinds import LimitScope

DEFAULT_TIMEOUT: Final = 30.0
DEFAULT_MAX_QUEUE: Final = 1_000
DEFAULT_MAX_RETRIES: Final = 3
_LONGEST_REFUSAL: Final = 60.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` starts in any `window` seconds, counted for each of what `per` says."""

    requests: int
    window: float
    per: LimitScope = LimitScope.SERVICE

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise InvalidValueError("max_requests", "max_requests must be at least 1")
        if not 0 < self.window < inf:
            raise InvalidValueError("window", "window must be more than 0 seconds")


@dataclass(frozen=True, slots=True)
class QueueRules:
    """How calls of one service wait for their turn."""

    limit: RateLimit | None
    """None: the service publishes no figure. Only its own refusals and headers slow it down."""
    queue_enabled: bool = True
    max_queue: int = DEFAULT_MAX_QUEUE
    """Calls that may wait for one key."""
    timeout: float | None = DEFAULT_TIMEOUT
    """Seconds one call may wait altogether, over all its attempts; None: as long as it takes."""
    max_retries: int = DEFAULT_MAX_RETRIES
    """How often a call is tried again that the service itself refused with 429."""

    def __post_init__(self) -> None:
        if self.max_queue < 0:
            raise InvalidValueError("max_queue", "max_queue must not be negative")
        if self.timeout is not None and not self.timeout >= 0:
            raise InvalidValueError("timeout", "timeout must not be negative")
        if self.max_retries < 0:
            raise InvalidValueError("max_retries", "max_retries must not be negative")

    @property
    def per_account(self) -> bool:
        """Whether each account has a key of its own."""
        return self.limit is None or self.limit.per is not LimitScope.SERVICE

    def with_limit(self, requests: int | None, window: float | None, per: LimitScope | None) -> "QueueRules":
        """The same rules with what is given of a limit changed.

        Raises InvalidValueError where there is no limit yet and one of `requests` and `window` is missing.
        """
        if requests is None and window is None and per is None:
            return self
        old = self.limit
        if old is None and (requests is None or window is None):
            raise InvalidValueError("max_requests", "this service has no limit yet: give max_requests and window")
        scope = per or (old.per if old else LimitScope.SERVICE)
        changed = RateLimit(
            requests if requests is not None else (old.requests if old else 0),
            window if window is not None else (old.window if old else 0.0),
            scope,
        )
        return replace(self, limit=changed)


def refusal_wait(limit: RateLimit | None, retries: int, random: Random) -> float:
    """Seconds a key waits after a refusal that does not say for how long: longer each time, and at most a minute.

    A quarter of the window at first, for somewhere in it the calls that were too many will have left it.
    """
    first = max(1.0, limit.window / 4 if limit else 0.0)
    ceiling: float = min(_LONGEST_REFUSAL, first * 2 ** min(retries, 6))
    return ceiling * random.uniform(0.5, 1.0)
