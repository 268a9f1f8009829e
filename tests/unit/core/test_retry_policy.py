"""Which errors may pass, what they ask for, and how long to wait."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supabase_integrations.core.errors import (
    InvalidGrantError,
    InvalidValueError,
    ProviderUnavailableError,
    RateLimitedError,
    StoreUnavailableError,
    TokenEndpointError,
)
from supabase_integrations.core.retry_policy import (
    RetryPolicy,
    is_retryable_error,
    is_throttled,
    may_repeat,
    status_of,
    wait_asked_by,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class ForbiddenHostError(ProviderUnavailableError):
    """A kind of failure of its own, which lasts."""

    code = "forbidden_host"


class StatusError(Exception):
    """What many libraries raise."""

    def __init__(self, status: object, retry_after: object = None) -> None:
        super().__init__()
        self.status = status
        self.retry_after = retry_after


def http_error(status: int, headers: dict[str, str] | None = None) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "https://service.example")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, headers=headers, request=request))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 529])
def test_statuses_that_may_pass(status: int) -> None:
    assert is_retryable_error(StatusError(status))
    assert is_retryable_error(http_error(status))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 422, 501, 505])
def test_statuses_that_last(status: int) -> None:
    assert not is_retryable_error(StatusError(status))
    assert not is_retryable_error(http_error(status))


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        httpx.ReadTimeout(""),
        httpx.ConnectError(""),
        httpx.RemoteProtocolError(""),
        httpx.ProxyError(""),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
        ProviderUnavailableError(),
        StoreUnavailableError(),
        TokenEndpointError("server_error", status=503),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_that_may_pass(error: Exception) -> None:
    assert is_retryable_error(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        FileNotFoundError(),
        httpx.UnsupportedProtocol(""),
        httpx.LocalProtocolError(""),
        httpx.InvalidURL(""),
        aiohttp.InvalidURL("x"),
        ForbiddenHostError(),
        RateLimitedError(timedelta(seconds=1)),
        InvalidGrantError("invalid_grant", status=400),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_that_last(error: BaseException) -> None:
    assert not is_retryable_error(error)


def test_a_status_is_found_wherever_libraries_keep_it() -> None:
    assert status_of(StatusError(429)) == 429
    assert status_of(http_error(503)) == 503
    assert status_of(StatusError(True)) is None
    assert status_of(StatusError("429")) is None
    assert status_of(StatusError(7)) is None
    assert is_throttled(http_error(429))
    assert not is_throttled(RateLimitedError(timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (StatusError(429, 7), 7.0),
        (StatusError(429, 0.5), 0.5),
        (StatusError(429, timedelta(minutes=1)), 60.0),
        (StatusError(429, "12"), 12.0),
        (StatusError(429, "Mon, 23 Nov 2026 12:00:30 GMT"), 30.0),
        (http_error(429, {"Retry-After": "9"}), 9.0),
        (http_error(503, {"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}), 0.0),
        (StatusError(429, 10**9), 86_400.0),
        (StatusError(429, -1), None),
        (StatusError(429, float("nan")), None),
        (StatusError(429, True), None),
        (StatusError(429, "soon"), None),
        (http_error(429), None),
        (ValueError(), None),
    ],
)
def test_what_an_error_asks_for(error: Exception, seconds: float | None) -> None:
    assert wait_asked_by(error, NOW) == seconds


def test_a_header_is_found_in_any_spelling() -> None:
    error = StatusError(429)
    error.response = SimpleNamespace(headers={"RETRY-AFTER": "3"})  # type: ignore[attr-defined]
    assert wait_asked_by(error, NOW) == 3.0


@given(st.integers(0, 200), st.floats(0, 100), st.floats(0, 100), st.integers())
def test_our_own_wait_is_between_nothing_and_the_capped_exponential(
    retries: int, base: float, most: float, seed: int
) -> None:
    wait = RetryPolicy(base_delay=base, max_delay=most).backoff(retries, Random(seed))
    assert 0 <= wait <= min(most, base * 2 ** min(retries, 60))


def test_jitter_is_full() -> None:
    """Even over the whole range: a tenth of the waits in each tenth of it."""
    random, policy = Random(7), RetryPolicy(base_delay=1.0, max_delay=30.0)
    waits = [policy.backoff(3, random) for _ in range(10_000)]
    tenths = [sum(part * 0.8 <= wait < (part + 1) * 0.8 for wait in waits) for part in range(10)]
    assert all(850 < count < 1_150 for count in tenths)


def test_what_the_service_asks_for_wins_within_the_budget() -> None:
    policy = RetryPolicy(max_retries=2, base_delay=1.0, max_delay=5.0, budget=60.0)
    assert policy.wait(0, elapsed=0.0, asked=40.0, random=Random(1)) == 40.0
    assert policy.wait(0, elapsed=0.0, asked=0.0, random=Random(1)) == 0.0
    assert policy.wait(0, elapsed=20.5, asked=40.0, random=Random(1)) is None
    assert policy.wait(2, elapsed=0.0, asked=None, random=Random(1)) is None


def test_without_a_budget_any_wait_fits() -> None:
    assert RetryPolicy(budget=None).wait(0, elapsed=1e6, asked=86_400.0, random=Random(1)) == 86_400.0


@pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"base_delay": -1.0}, {"max_delay": float("nan")}])
def test_a_policy_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["GET", "head", "PUT", "DELETE", "OPTIONS"])
def test_idempotent_requests_are_repeated(method: str) -> None:
    assert may_repeat(method, http_error(503))
    assert not may_repeat(method, http_error(404))


@pytest.mark.parametrize("method", ["POST", "patch"])
def test_others_are_repeated_only_when_refused_unread_or_with_a_key(method: str) -> None:
    assert not may_repeat(method, http_error(503))
    assert not may_repeat(method, httpx.ReadTimeout(""))
    assert not may_repeat(method, ConnectionRefusedError())
    assert may_repeat(method, http_error(429))
    assert may_repeat(method, http_error(503), has_idempotency_key=True)
    assert not may_repeat(method, http_error(400), has_idempotency_key=True)
