"""What the claims of a Supabase access token must say, checked after its signature (RFC 7519 §4.1, RFC 8725 §3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from .token_refusal import TokenRefusal

AUDIENCE: Final = "authenticated"
ROLE: Final = "authenticated"
LEEWAY: Final = timedelta(seconds=10)
"""How far the clocks of Supabase Auth and of this server may be apart."""


@dataclass(frozen=True, slots=True)
class AccessTokenPolicy:
    """Whose tokens are accepted. `issuer` is `{SUPABASE_URL}/auth/v1`."""

    issuer: str
    allow_anonymous_users: bool = False
    allowed_oauth_clients: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """What the claims establish: whose token it is, until when, and for which Supabase Auth session it was issued."""

    user_id: UUID
    expires_at: datetime
    session_id: str | None


def check_claims(
    claims: Mapping[str, Any], policy: AccessTokenPolicy, *, now: datetime, issuer_required: bool = True
) -> TokenOwner:
    """The token's owner, if every claim is as it must be.

    Args:
        claims: the payload, as parsed JSON.
        policy: whose tokens are accepted.
        now: the current moment, in UTC.
        issuer_required: False accepts a token that names no issuer, as local systems' tokens do; never a wrong one.

    Raises:
        UnauthenticatedError, ForbiddenError: with the code of the check that failed.
    """
    expires_at = _check_times(claims, now)
    issuer = claims.get("iss")
    if issuer != policy.issuer and (issuer_required or issuer is not None):
        raise TokenRefusal.ISSUER_INVALID.error()
    audience = claims.get("aud")
    if audience != AUDIENCE and not (isinstance(audience, list) and AUDIENCE in audience):
        raise TokenRefusal.AUDIENCE_INVALID.error()
    user_id = _subject(claims.get("sub"))
    if claims.get("role") != ROLE:
        raise TokenRefusal.ROLE_INVALID.error()
    _check_kind(claims, policy)
    session_id = claims.get("session_id")
    return TokenOwner(user_id, expires_at, session_id if isinstance(session_id, str) else None)


def _check_kind(claims: Mapping[str, Any], policy: AccessTokenPolicy) -> None:
    """Refuse the two kinds of token that have the role `authenticated` and are no ordinary user's."""
    # Only `false` and absence mean an account: a value of another type is not given the benefit of the doubt.
    anonymous = claims.get("is_anonymous")
    if anonymous is not None and anonymous is not False and not policy.allow_anonymous_users:
        raise TokenRefusal.ANONYMOUS_NOT_ALLOWED.error()
    # Supabase's own OAuth server issues these to third-party apps; this claim alone tells them apart.
    client_id = claims.get("client_id")
    if client_id is not None and not (isinstance(client_id, str) and client_id in policy.allowed_oauth_clients):
        raise TokenRefusal.OAUTH_CLIENT_NOT_ALLOWED.error()


def _check_times(claims: Mapping[str, Any], now: datetime) -> datetime:
    expires_at = _moment(claims.get("exp"))
    if expires_at is None:
        raise TokenRefusal.MALFORMED.error()
    if expires_at <= now - LEEWAY:
        raise TokenRefusal.EXPIRED.error()
    # A token from the future: PostgREST refuses it by `iat` too, and later would say so less clearly.
    for name in ("nbf", "iat"):
        if name not in claims:
            continue
        moment = _moment(claims[name])
        if moment is None:
            raise TokenRefusal.MALFORMED.error()
        if moment > now + LEEWAY:
            raise TokenRefusal.NOT_YET_VALID.error()
    return expires_at


def _moment(value: object) -> datetime | None:
    """A NumericDate (RFC 7519 §2); None for what is none, including years that Python does not have."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _subject(value: object) -> UUID:
    try:
        user_id = UUID(value) if isinstance(value, str) else None
    except ValueError:
        user_id = None
    # UUID() also reads braces, `urn:uuid:` and digits without hyphens, which auth.uid() would not compare equal to.
    if user_id is None or str(user_id) != str(value).lower():
        raise TokenRefusal.SUBJECT_INVALID.error()
    return user_id
