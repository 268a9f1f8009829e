"""When a connection's credentials are to be renewed, and what a failed attempt means for the next one."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Final

from .credentials import Credentials, OAuthCredentials
from .errors import (
    IntegrationError,
    InvalidClientError,
    InvalidGrantError,
    ProviderUnavailableError,
    TokenEndpointError,
)
from .models import IntegrationStatus, RefreshFailure
from .service import ServiceDefinition
from .service_kinds import RefreshKind

MARGIN: Final = timedelta(minutes=5)
"""How long before its end a token is renewed; at most half of its lifetime."""
TRADE_MARGIN: Final = timedelta(days=1)
"""The same for a token that is traded for its successor. Once it has ended nothing is left to trade: with minutes
alone, an outage at that time would end the connection.
"""
SHORTEST_AGE: Final = timedelta(seconds=5)
"""A token younger than this is not renewed on request: it is what came of somebody else's request just now."""
FIRST_WAIT: Final = timedelta(seconds=60)
LONGEST_WAIT: Final = timedelta(hours=1)
"""The bounds of the wait after a failure that may pass."""
OPERATOR_WAIT: Final = timedelta(minutes=10)
"""The wait after a failure that the operator has to mend."""
_MOST_FAILURES: Final = 100_000
"""What the database counts to. Users write that number too: one more would be refused, and the wait with it."""

_MISCONFIGURATION: Final = frozenset({"invalid_request", "invalid_scope", "unsupported_grant_type"})
"""Codes of RFC 6749 §5.2 that no waiting and no user mends."""


class RefreshReason(StrEnum):
    """Why credentials are, or are not, to be renewed now."""

    FRESH = "fresh"
    REQUESTED = "requested"
    EXPIRES_SOON = "expires_soon"
    EXPIRED = "expired"
    CANNOT_BE_RENEWED = "cannot_be_renewed"
    """They have ended, or were asked to be renewed, and there is nothing to renew them with."""
    NOT_OAUTH = "not_oauth"
    """Keys and passwords do not expire."""


@dataclass(frozen=True, slots=True)
class RefreshDecision:
    """Whether to renew, and why."""

    should: bool
    reason: RefreshReason


def decide(
    credentials: Credentials, service: ServiceDefinition, now: datetime, *, requested: bool = False
) -> RefreshDecision:
    """Whether these credentials are to be renewed now; `requested` renews them whatever their age."""
    if not isinstance(credentials, OAuthCredentials):
        return RefreshDecision(False, RefreshReason.NOT_OAUTH)
    expired = credentials.expires_at is not None and now >= credentials.expires_at
    if not is_renewable(credentials, service, now):
        stuck = expired or requested
        return RefreshDecision(False, RefreshReason.CANNOT_BE_RENEWED if stuck else RefreshReason.FRESH)
    due_at = refresh_due_at(credentials, service)
    if expired:
        return RefreshDecision(True, RefreshReason.EXPIRED)
    # A token from the future was issued by a clock that is ahead, or before this one was set back.
    if requested and not timedelta(0) <= now - credentials.issued_at < SHORTEST_AGE:
        return RefreshDecision(True, RefreshReason.REQUESTED)
    if due_at is not None and now >= due_at:
        return RefreshDecision(True, RefreshReason.EXPIRES_SOON)
    return RefreshDecision(False, RefreshReason.FRESH)


def is_renewable(credentials: OAuthCredentials, service: ServiceDefinition, now: datetime) -> bool:
    """Whether there is something to renew with: a refresh token that lives, or a living token that can be traded."""
    match service.refresh:
        case RefreshKind.NONE:
            return False
        case RefreshKind.EXCHANGE:
            return credentials.expires_at is not None and now < credentials.expires_at
    end = credentials.refresh_token_expires_at
    return credentials.refresh_token is not None and (end is None or now < end)


def refresh_due_at(credentials: OAuthCredentials, service: ServiceDefinition) -> datetime | None:
    """The moment from which the token is renewed: its margin before its end, at most half of its lifetime.

    None where there is nothing to renew with, or no end.
    """
    if credentials.expires_at is None or not is_renewable(credentials, service, credentials.issued_at):
        return None
    lifetime = credentials.expires_at - credentials.issued_at
    margin = TRADE_MARGIN if service.refresh is RefreshKind.EXCHANGE else MARGIN
    return credentials.expires_at - min(margin, lifetime / 2)


def next_look_at(credentials: OAuthCredentials, service: ServiceDefinition) -> datetime | None:
    """When the worker is to look at these credentials: when they are due, or at their end where nothing renews them,
    so that a connection that has ended says so. None where they have no end.
    """
    return refresh_due_at(credentials, service) or credentials.expires_at


def spends_its_token(service: ServiceDefinition) -> bool:
    """Whether a refresh token is of no use after its request, so that a lost reply would end the connection."""
    return service.refresh is RefreshKind.ROTATING


def renewed(old: OAuthCredentials, reply: OAuthCredentials, service: ServiceDefinition) -> OAuthCredentials:
    """A refresh's reply over what was known: what it leaves out stays as it was (RFC 6749 §6).

    The reply's scopes default to the old ones where it is parsed. A lifetime that is not said is the catalogue's, or
    what it was before: taken for one without an end, the token would never be renewed again.
    """
    if reply.refresh_token is None:
        end = reply.refresh_token_expires_at or old.refresh_token_expires_at
        reply = replace(reply, refresh_token=old.refresh_token, refresh_token_expires_at=end)
    if reply.expires_at is None and reply.refresh_token is not None and old.expires_at is not None:
        seconds = service.access_token_lifetime_s
        lifetime = timedelta(seconds=seconds) if seconds else old.expires_at - old.issued_at
        reply = replace(reply, expires_at=reply.issued_at + lifetime)
    return reply


def failure_of(error: IntegrationError, *, failures: int, now: datetime, random: Random) -> RefreshFailure:
    """What a failed refresh does to the row; `failures` counts those in a row before this one.

    A refused grant is the user's to mend, a refused client the operator's; everything else passes, and is tried again
    after capped exponential backoff with full jitter, or when the service says.
    """
    counted = min(failures + 1, _MOST_FAILURES)
    if isinstance(error, InvalidGrantError):
        return RefreshFailure(IntegrationStatus.NEEDS_REAUTHORIZATION, error.code, None, counted)
    wait = _wait(failures, random)
    if isinstance(error, ProviderUnavailableError) and error.retry_after is not None:
        wait = min(max(error.retry_after, timedelta(seconds=1)), timedelta(days=1))
    if _is_misconfiguration(error):
        return RefreshFailure(IntegrationStatus.ERROR, error.code, now + OPERATOR_WAIT, counted)
    return RefreshFailure(None, error.code, now + wait, counted)


def _is_misconfiguration(error: IntegrationError) -> bool:
    if isinstance(error, InvalidClientError):
        return True
    return isinstance(error, TokenEndpointError) and error.error in _MISCONFIGURATION


def _wait(failures: int, random: Random) -> timedelta:
    ceiling = min(LONGEST_WAIT, FIRST_WAIT * (1 << min(failures, 10)))
    return random.uniform(0.0, 1.0) * ceiling
