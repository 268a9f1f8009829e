"""Calls of third-party services, never more often than they allow.

limiter = RateLimiter(catalogue)
contact = await limiter.throttle("hubspot", lambda: fetch(contact_id), account=hub_id)

Each service, or each account where the service counts so, has a line of its own; none waits behind another. A limiter
belongs to one event loop.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, TypeVar

from ..core.errors import RateLimitedError, UnknownServiceError
from ..core.http_messages import LONGEST_WAIT
from ..core.rate_limits import QueueRules, refusal_wait
from ..core.retry_policy import is_throttled, wait_asked_by
from ..core.service import ServiceDefinition
from ..core.service_kinds import LimitScope
from ..core.usage_headers import Headers, slowdowns
from ..port_rate_limits import RateLimitStore
from .batch import Outcome, Progress, run_batch
from .call_queue import TICKETS, CallQueue
from .service_lines import ServiceLines
from .shared_limits import SharedLimits

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item

SWEEP_INTERVAL: Final = 30.0
"""Seconds between looks for keys that nobody uses any more."""
_SWEEP_SHARE: Final = 1_000
"""Keys looked at in one go, so that the event loop is not held up."""


class _Unset:
    """Stands for an argument that was not given, where None means something."""


_UNSET: Final = _Unset()


class RateLimiter:
    """Limits, queues and retries for all services of a catalogue.

    `store` shares the limits among processes; without one they hold for this process. `random` spreads retries.
    """

    def __init__(
        self,
        services: Iterable[ServiceDefinition],
        store: RateLimitStore | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads retries, keeps no secret
        self._shared = SharedLimits(store) if store else None
        self._services = {
            service.name: ServiceLines(
                service.name,
                QueueRules(service.rate_limit.limit() if service.rate_limit else None),
                self._shared,
                clock,
            )
            for service in services
        }
        self._sweeper: asyncio.TimerHandle | None = None

    async def throttle(
        self,
        service: str,
        fn: Callable[[], Awaitable[T]],
        *,
        account: str = "",
        max_wait: float | _Unset | None = _UNSET,
    ) -> T:
        """What `fn` returns, called when it is its turn.

        Where the service itself refuses it with HTTP 429 (an error with that `status`), the key waits as long as the
        error's `retry_after` says and the call is tried again, in its old place in line, as often as the rules allow.
        `max_wait` overrides the rules' `timeout`: seconds this call may wait altogether, None for any time.
        Raises RateLimitedError when that is not enough or the line is full, UnknownServiceError, and what `fn` raises.
        """
        queue = self._queue(service, account)
        ticket = next(TICKETS)
        left = max_wait
        if not queue.try_start():
            left = await self._wait(queue, ticket, self._longest(service, left))
        retries = 0
        while True:
            try:
                return await fn()
            except Exception as error:
                if not is_throttled(error):
                    raise
                self._slow_down(service, account, error, retries)
                rules = self._services[service].rules
                if not rules.queue_enabled or retries >= rules.max_retries:
                    raise
                refusal = error
            retries += 1
            # Asked for anew: while the call was under way, its line may have been forgotten.
            queue = self._queue(service, account)
            try:
                left = await self._wait(queue, ticket, self._longest(service, left), again=True)
            except RateLimitedError:
                raise refusal from None

    async def acquire(self, service: str, *, account: str = "") -> None:
        """Return when a call may start, for callers that bring no function. Raises as `throttle`."""
        queue = self._queue(service, account)
        if not queue.try_start():
            await queue.wait(next(TICKETS), self._services[service].rules.timeout)

    async def throttle_batch(
        self,
        service: str,
        items: Iterable[I],
        fn: Callable[[I], Awaitable[T]],
        *,
        concurrency: int = 10,
        on_progress: Callable[[Progress], None] | None = None,
        account: str = "",
        max_wait: float | None = None,
    ) -> list[Outcome[I, T]]:
        """Call `fn` with every item, `concurrency` at a time; the outcomes in the items' order, failures among them.

        Waits as long as it takes, unless `max_wait` bounds the wait of each item. Cancelling it cancels what is
        under way.
        """

        async def call(item: I) -> T:
            return await self.throttle(service, lambda: fn(item), account=account, max_wait=max_wait)

        self._lines(service)
        return await run_batch(items, call, concurrency=concurrency, on_progress=on_progress)

    def set_config(
        self,
        service: str,
        *,
        max_requests: int | None = None,
        window: float | timedelta | None = None,
        per: LimitScope | None = None,
        queue_enabled: bool | None = None,
        max_queue: int | None = None,
        timeout: float | timedelta | _Unset | None = _UNSET,
        max_retries: int | None = None,
    ) -> None:
        """Change what is given of a service's rules, also for calls that wait; durations in seconds.

        The service need not be in the catalogue. Raises InvalidValueError and changes nothing then.
        """
        lines = self._services.get(service)
        old = lines.rules if lines is not None else QueueRules(None)
        rules = replace(
            old.with_limit(max_requests, _seconds(window), per),
            queue_enabled=old.queue_enabled if queue_enabled is None else queue_enabled,
            max_queue=old.max_queue if max_queue is None else max_queue,
            timeout=old.timeout if isinstance(timeout, _Unset) else _seconds(timeout),
            max_retries=old.max_retries if max_retries is None else max_retries,
        )
        is_same_kind = rules.per_account == old.per_account and (rules.limit is None) == (old.limit is None)
        if lines is None or not is_same_kind:
            # What already waits in the old lines goes on there; it was let in under their rules.
            self._services[service] = ServiceLines(service, rules, self._shared, self._clock)
        else:
            lines.configure(rules)

    def penalise(self, service: str, account: str, wait: float | timedelta) -> None:
        """Start no call of this key within so many seconds from now, at most a day. Raises UnknownServiceError."""
        self._queue(service, account).penalise(_bounded(wait))

    def penalise_service(self, service: str, wait: float | timedelta) -> None:
        """The same for all accounts of a service. Raises UnknownServiceError."""
        self._lines(service).penalise(_bounded(wait))

    def observe(self, service: str, account: str, headers: Headers, *, speaks_for_all: bool = True) -> None:
        """Slow down as the headers of a reply ask, by lower-case name; only this account, unless who replied
        `speaks_for_all` of them. Raises UnknownServiceError.
        """
        for slowdown in slowdowns(headers, account=account, now=datetime.now(UTC)):
            if not speaks_for_all and slowdown.account != account:
                continue
            if slowdown.account is None:
                self.penalise_service(service, slowdown.wait)
            else:
                self.penalise(service, slowdown.account, slowdown.wait)

    @property
    def key_count(self) -> int:
        """How many keys are remembered."""
        return sum(map(len, self._services.values()))

    async def aclose(self) -> None:
        """Stop what runs in the background. Calls that wait keep waiting until they are cancelled."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._shared is not None:
            await self._shared.close()

    def _longest(self, service: str, given: float | _Unset | None) -> float | None:
        return self._services[service].rules.timeout if isinstance(given, _Unset) else given

    async def _wait(self, queue: CallQueue, ticket: int, longest: float | None, *, again: bool = False) -> float | None:
        """Wait in line; what is then left of the longest wait."""
        began = self._clock()
        await queue.wait(ticket, longest, again=again)
        return None if longest is None else max(0.0, longest - (self._clock() - began))

    def _slow_down(self, service: str, account: str, refusal: Exception, retries: int) -> None:
        """Let the key wait as a refusal asks."""
        asked = wait_asked_by(refusal, datetime.now(UTC))
        wait = refusal_wait(self._lines(service).rules.limit, retries, self._random) if asked is None else asked
        self.penalise(service, account, wait)

    def _lines(self, service: str) -> ServiceLines:
        try:
            return self._services[service]
        except KeyError:
            raise UnknownServiceError from None

    def _queue(self, service: str, account: str) -> CallQueue:
        lines = self._services.get(service)
        if lines is None:
            raise UnknownServiceError
        queue = lines.find(account)
        if queue is None:
            queue = lines.open(account)
            if self._sweeper is None:
                self._sweep_later()
        return queue

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        for lines in self._services.values():
            lines.sweep(_SWEEP_SHARE)
        if self.key_count:
            self._sweep_later()


def _seconds(duration: float | timedelta | None) -> float | None:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _bounded(wait: float | timedelta) -> float:
    """Seconds of a wait that a service may have named, whatever it wrote."""
    seconds = _seconds(wait) or 0.0
    return min(seconds, LONGEST_WAIT.total_seconds()) if seconds > 0 else 0.0
