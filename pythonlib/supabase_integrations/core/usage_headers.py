"""What services say about how much of their allowance is used, read as waits, so that a key slows down in time.

Malformed values mean nothing and raise nothing. A wait belongs to the account that was called, to one that the reply
names, or to the whole service.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Final

import orjson

from .http_messages import LONGEST_WAIT, retry_after

CALM: Final = 0.8
"""The part of an allowance up to which nothing is slowed down."""
PACE: Final = 60.0
"""Seconds between calls when a percentage that recovers within the hour reaches 100."""
BLOCKED: Final = 300.0
"""Seconds to wait where all is used and the service does not say for how long."""
_LONGEST_VALUE: Final = 16_384
_MOST_ACCOUNTS: Final = 50
_HUBSPOT_SPANS: Final = (("secondly", 1.0), ("daily", BLOCKED))
_META_PERCENTAGES: Final = ("call_count", "total_cputime", "total_time")
_EPOCH: Final = 1e9
_EPOCH_MS: Final = 1e11
"""A reset above them is a moment, in seconds or milliseconds of Unix time; one below is a number of seconds."""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Start nothing for `wait` seconds: for one account, or with None for the service as a whole."""

    wait: float
    account: str | None


Headers = Mapping[str, str]
"""By lower-case name."""


def slowdowns(headers: Headers, *, account: str, now: datetime) -> tuple[Slowdown, ...]:
    """What the headers of a reply to a call for `account` ask for; the longest wait of each key."""
    longest: dict[str | None, float] = {}
    for read in _READERS:
        for slowdown in read(headers, account, now):
            wait = min(slowdown.wait, LONGEST_WAIT.total_seconds())
            if wait > longest.get(slowdown.account, 0.0):
                longest[slowdown.account] = wait
    return tuple(Slowdown(wait, key) for key, wait in longest.items())


def graphql_cost_wait(extensions: object) -> float:
    """Seconds until Shopify has the points again that the query just sent would cost once more.

    `extensions` is that member of a GraphQL answer: `cost.throttleStatus` has `maximumAvailable`,
    `currentlyAvailable` and `restoreRate` (points a second). 0.0 where there is nothing to wait for.
    """
    cost = _member(extensions, "cost")
    status = _member(cost, "throttleStatus")
    available, rate = _number(_member(status, "currentlyAvailable")), _number(_member(status, "restoreRate"))
    most, requested = _number(_member(status, "maximumAvailable")), _number(_member(cost, "requestedQueryCost"))
    if available is None or not rate or most is None:
        return 0.0
    # A query above the maximum never runs: waiting for more than there can be would be waiting for good.
    missing = min(requested or 0.0, most) - available
    return min(max(0.0, missing / rate), LONGEST_WAIT.total_seconds())


def _retry_after(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    wait = retry_after(headers, now)
    if wait is not None:
        yield Slowdown(wait.total_seconds(), account)


def _hubspot(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    """In a rolling interval nobody knows when the next call leaves it: spread the last ones over it evenly.

    A second and a day are told apart from it, each by what is left; nobody is told when the day ends.
    """
    del now
    for span, wait in _HUBSPOT_SPANS:
        if _number(headers.get(f"x-hubspot-ratelimit-{span}-remaining")) == 0:
            yield Slowdown(wait, account)
    most = _number(headers.get("x-hubspot-ratelimit-max"))
    left = _number(headers.get("x-hubspot-ratelimit-remaining"))
    interval = _number(headers.get("x-hubspot-ratelimit-interval-milliseconds"))
    if not most or left is None or not interval or most - left < most * CALM:
        return
    yield Slowdown(interval / 1000 / (most if left > 0 else 1), account)


def _shopify_bucket(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    """`32/40`: a bucket that drains a twentieth of its size a second, on every plan."""
    del now
    used_text, _, size_text = headers.get("x-shopify-shop-api-call-limit", "").partition("/")
    used, size = _number(used_text), _number(size_text)
    if used is not None and size and used > size * CALM:
        yield Slowdown((used - size * CALM) / (size / 20), account)


def _meta_business(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    """`{"<id>": [{call_count, total_cputime, total_time, estimated_time_to_regain_access}]}`: percent, and minutes.

    Where the account that was called is none of them, such as a user id, it waits for the worst.
    """
    del now
    usage = _json(headers.get("x-business-use-case-usage"))
    if not isinstance(usage, dict):
        return
    prefix = "act_" if account.startswith("act_") else ""
    waits: dict[str, float] = {}
    for name, entries in list(usage.items())[:_MOST_ACCOUNTS]:
        found = [_meta_wait(entry) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        waits[prefix + name] = max(found, default=0.0)
    waits.setdefault(account, max(waits.values(), default=0.0))
    yield from (Slowdown(wait, name) for name, wait in waits.items())


def _meta_app(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    """`{call_count, total_cputime, total_time}`: percent of what the whole app may do."""
    del account, now
    usage = _json(headers.get("x-app-usage"))
    if isinstance(usage, dict):
        yield Slowdown(_meta_wait(usage), None)


def _meta_ad_account(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    """`{acc_id_util_pct, reset_time_duration}`: percent, and seconds."""
    del now
    usage = _json(headers.get("x-ad-account-usage"))
    used, reset = _number(_member(usage, "acc_id_util_pct")), _number(_member(usage, "reset_time_duration"))
    if used is not None:
        yield Slowdown(_paced(used, reset or BLOCKED), account)


def _remaining(headers: Headers, account: str, now: datetime) -> Iterator[Slowdown]:
    """`RateLimit-Remaining` and `RateLimit-Reset`, with or without `X-`: nothing is left until the reset."""
    for prefix in ("ratelimit", "x-ratelimit"):
        left = _number(headers.get(f"{prefix}-remaining"))
        after = _number(headers.get(f"{prefix}-reset-after"))
        reset = _number(headers.get(f"{prefix}-reset")) if after is None else after
        if left == 0 and reset is not None:
            moment = reset / 1000 if reset > _EPOCH_MS else reset
            yield Slowdown(moment - now.timestamp() if moment > _EPOCH else moment, account)


def _meta_wait(usage: Mapping[str, Any]) -> float:
    regain = _number(usage.get("estimated_time_to_regain_access"))
    if regain:
        return regain * 60
    used = max((value for name in _META_PERCENTAGES if (value := _number(usage.get(name))) is not None), default=0.0)
    return _paced(used, BLOCKED)


def _paced(percent: float, blocked: float) -> float:
    """Slower and slower above CALM, and stopped at 100."""
    if percent >= 100:
        return blocked
    return max(0.0, (percent / 100 - CALM) / (1 - CALM)) * PACE


_READERS: Final[tuple[Callable[[Headers, str, datetime], Iterator[Slowdown]], ...]] = (
    *(_retry_after, _hubspot, _shopify_bucket, _meta_business, _meta_app, _meta_ad_account, _remaining),
)


def _json(text: str | None) -> object:
    if not text or len(text) > _LONGEST_VALUE:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _number(value: object) -> float | None:
    """A finite number that is not negative, also where it is written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 32:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < inf else None
