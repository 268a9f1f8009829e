"""Why an access token was refused: one stable code for each check, and what to do about it. Nothing about keys."""

from enum import StrEnum
from typing import Final

from .errors import ForbiddenError, UnauthenticatedError


class TokenRefusal(StrEnum):
    """The codes of HTTP 401 and 403 answers about the access token itself."""

    MISSING = "token_missing"
    TOO_LONG = "token_too_long"
    MALFORMED = "token_malformed"
    ALGORITHM_NOT_ALLOWED = "token_algorithm_not_allowed"
    KEY_UNKNOWN = "token_key_unknown"
    SIGNATURE_INVALID = "token_signature_invalid"
    EXPIRED = "token_expired"
    NOT_YET_VALID = "token_not_yet_valid"
    ISSUER_INVALID = "token_issuer_invalid"
    AUDIENCE_INVALID = "token_audience_invalid"
    SUBJECT_INVALID = "token_subject_invalid"
    ROLE_INVALID = "token_role_invalid"
    REFUSED_BY_DATA_API = "token_refused"
    SESSION_ENDED = "session_ended"
    ANONYMOUS_NOT_ALLOWED = "anonymous_not_allowed"
    OAUTH_CLIENT_NOT_ALLOWED = "oauth_client_not_allowed"

    def error(self) -> UnauthenticatedError | ForbiddenError:
        """The error to raise: forbidden where we know the caller and do not want them, unauthenticated otherwise."""
        kind = ForbiddenError if self in _FORBIDDEN else UnauthenticatedError
        return kind(self.value, _MESSAGES[self])


_FORBIDDEN: Final = frozenset({TokenRefusal.ANONYMOUS_NOT_ALLOWED, TokenRefusal.OAUTH_CLIENT_NOT_ALLOWED})

_MESSAGES: Final = {
    TokenRefusal.MISSING: "Send the Supabase access token of a signed-in user as `Authorization: Bearer …`.",
    TokenRefusal.TOO_LONG: "The access token is longer than any that is accepted. Keep custom claims small.",
    TokenRefusal.MALFORMED: "The access token is not a JSON Web Token of Supabase Auth.",
    TokenRefusal.ALGORITHM_NOT_ALLOWED: "The access token is not signed with an algorithm that is allowed for its key.",
    TokenRefusal.KEY_UNKNOWN: "The access token is signed with a key that this Supabase project does not publish.",
    TokenRefusal.SIGNATURE_INVALID: "The access token's signature is not valid. Sign in to this Supabase project.",
    TokenRefusal.EXPIRED: "The access token has expired. Refresh the session and try again.",
    TokenRefusal.NOT_YET_VALID: "The access token is not valid yet. Check the clocks of client and server.",
    TokenRefusal.ISSUER_INVALID: "The access token was issued by another Supabase project.",
    TokenRefusal.AUDIENCE_INVALID: "The access token is meant for another audience than `authenticated`.",
    TokenRefusal.SUBJECT_INVALID: "The access token names no user: its subject is not a UUID.",
    TokenRefusal.ROLE_INVALID: "The access token's role is not `authenticated`. Sign in as a user.",
    TokenRefusal.REFUSED_BY_DATA_API: "Supabase's Data API does not accept this access token. Sign in again.",
    TokenRefusal.SESSION_ENDED: "The session of this access token has ended. Sign in again.",
    TokenRefusal.ANONYMOUS_NOT_ALLOWED: "Anonymous users may not use this API. Sign in with an account.",
    TokenRefusal.OAUTH_CLIENT_NOT_ALLOWED: "The app that this token was issued to may not use this API.",
}
