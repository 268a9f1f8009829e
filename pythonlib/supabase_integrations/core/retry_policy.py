"""Which failures may pass by themselves, and how long to wait before another attempt.

An error is known by what it carries, whatever library raised it: `status`, `status_code` or `response.status_code`, and
`retry_after` or the response's `Retry-After` (RFC 9110 §10.2.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from random import Random
from typing import Final

from .errors import (
    AuthUnavailableError,
    InvalidValueError,
    ProviderUnavailableError,
    StoreUnavailableError,
)
from .http_messages import LONGEST_WAIT, retry_after

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 §9.2.2: sent twice, they do what they do once."""
_PASSING: Final = frozenset({408, 425, 429})
_LASTING: Final = frozenset({501, 505})
_OURS: Final = (ProviderUnavailableError, StoreUnavailableError, AuthUnavailableError)
_THEIRS: Final = frozenset(
    {
        *(
            f"{library}.{name}"
            for library in ("httpx", "httpx2")
            for name in ("TimeoutException", "NetworkError", "ProxyError", "RemoteProtocolError")
        ),
        "aiohttp.client_exceptions.ClientConnectionError",
        "aiohttp.client_exceptions.ClientPayloadError",
    }
)
"""By name, so that no HTTP library has to be there. Their other errors are of requests that cannot be sent at all."""
_LONGEST_EXPONENT: Final = 60


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after which waits. All durations are seconds.

    The wait before retry n (from 0) is drawn evenly from 0 to min(`max_delay`, `base_delay` · 2ⁿ): full jitter. What
    the service asks for with `Retry-After` wins over that and over `max_delay`, for asking earlier is refused again.
    The total `budget` bounds everything: a wait that would end after it is not begun.
    """

    max_retries: int = 3
    base_delay: float = 1.0
    max_delay: float = 30.0
    budget: float | None = 120.0

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise InvalidValueError("max_retries", "max_retries must not be negative")
        for name, value in (("base_delay", self.base_delay), ("max_delay", self.max_delay), ("budget", self.budget)):
            if value is not None and not 0 <= value < inf:
                raise InvalidValueError(name, f"{name} must be 0 or more seconds")

    def wait(self, retries: int, *, elapsed: float, asked: float | None, random: Random) -> float | None:
        """Seconds to wait before the next attempt after so many retries, or None where there is none.

        `elapsed` is since the first attempt began; `asked` is what the service asks for.
        """
        if retries >= self.max_retries:
            return None
        wait = self.backoff(retries, random) if asked is None else asked
        return None if self.budget is not None and elapsed + wait > self.budget else wait

    def backoff(self, retries: int, random: Random) -> float:
        """Our own wait after so many retries."""
        ceiling: float = min(self.max_delay, self.base_delay * 2 ** min(retries, _LONGEST_EXPONENT))
        return random.uniform(0.0, ceiling)


def is_retryable_error(error: BaseException) -> bool:
    """Whether trying again may help: the network failed, it took too long, the service is busy or broken for now.

    Statuses 408, 425, 429 and 5xx except 501 and 505; timeouts and lost connections. Never a cancellation, and not
    RateLimitedError: the limiter has refused to wait any longer, and who waits outside its line would jump it.
    """
    if not isinstance(error, Exception):
        return False
    status = status_of(error)
    if status is not None:
        return status in _PASSING or (500 <= status <= 599 and status not in _LASTING)
    if isinstance(error, ProviderUnavailableError) and error.code != ProviderUnavailableError.code:
        # A kind of its own says why there was no reply, such as an address that must not be called: that lasts.
        return False
    if isinstance(error, (*_OURS, TimeoutError, ConnectionError)):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _THEIRS for kind in type(error).__mro__)


def is_throttled(error: BaseException) -> bool:
    """Whether the service itself refused the call as one too many (HTTP 429)."""
    return status_of(error) == 429


def may_repeat(method: str, error: BaseException, *, has_idempotency_key: bool = False) -> bool:
    """Whether a request that failed so may be sent again.

    Nobody knows whether a POST or PATCH without a reply was carried out, so without an idempotency key they are sent
    again only where the service refused them unread: 429.
    """
    if not is_retryable_error(error):
        return False
    return has_idempotency_key or method.upper() in _IDEMPOTENT or is_throttled(error)


def status_of(error: BaseException) -> int | None:
    """The HTTP status an error carries."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status", "status_code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
                return int(value)
    return None


def wait_asked_by(error: BaseException, now: datetime) -> float | None:
    """Seconds the service asks to wait, at most a day: `retry_after` of the error, else its response's header."""
    value = getattr(error, "retry_after", None)
    if value is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        names = headers if isinstance(headers, Mapping) else {}
        value = next((names[name] for name in names if str(name).lower() == "retry-after"), None)
    if isinstance(value, str):
        value = retry_after({"retry-after": value}, now)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return min(float(value), LONGEST_WAIT.total_seconds())
