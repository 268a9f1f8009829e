"""Every error this project raises, under one root.

A class's docstring is its default message and `code` the stable word that API clients may rely on. No message carries a
secret, a provider's body or the value that was refused.
"""

from datetime import timedelta


class IntegrationError(Exception):
    """The integration could not be used."""

    code: str = "integration_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigurationError(IntegrationError):
    """The service is not configured correctly."""

    code = "configuration_error"


# --- who is calling ---------------------------------------------------------------------------------------------------


class RefusedError(IntegrationError):
    """Never raised itself: a refusal whose code says which check failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnauthenticatedError(RefusedError):
    """Who is calling could not be established (HTTP 401)."""

    code = "unauthenticated"


class ForbiddenError(RefusedError):
    """The caller is known and may not do this (HTTP 403)."""

    code = "forbidden"


class AuthUnavailableError(IntegrationError):
    """Supabase Auth cannot be reached, so the session could not be checked. Try again."""

    code = "auth_unavailable"


# --- storage ----------------------------------------------------------------------------------------------------------


class StoreUnavailableError(IntegrationError):
    """The database cannot be reached. Try again."""

    code = "database_unavailable"

    def __init__(self, message: str | None = None, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class JournalUnavailableError(IntegrationError):
    """This server cannot keep a new token safe just now: its operator has to look at the disk under STATE_DIR."""

    code = "journal_unavailable"


class SchemaMissingError(IntegrationError):
    """The integrations tables are not in this database: run `integrations migrate` (or `supabase db push`)."""

    code = "schema_missing"


class IntegrationNotFoundError(IntegrationError):
    """There is no such integration."""

    code = "integration_not_found"


class DuplicateIntegrationError(IntegrationError):
    """This account of this service is connected already. Change or delete that connection instead."""

    code = "duplicate_integration"


class IntegrationBusyError(IntegrationError):
    """Another process is changing the credentials of this connection. Try again in a moment."""

    code = "integration_busy"


class NotRefreshableError(IntegrationError):
    """This connection has a key or a password, which does not expire: there is nothing to refresh."""

    code = "not_refreshable"


class IntegrationPausedError(IntegrationError):
    """This connection is paused. Set its status to active first."""

    code = "integration_paused"


class ReauthorizationRequiredError(IntegrationError):
    """The service no longer accepts this connection: connect again with POST /api/integrations/oauth/initiate and its
    integration_id.
    """

    code = "reauthorization_required"


class RevokedError(ReauthorizationRequiredError):
    """This connection was revoked: connect again with POST /api/integrations/oauth/initiate and its integration_id, or,
    where it has a key or a password, give it a new one with PATCH /api/integrations/{integration_id}.
    """


class NotResumableError(IntegrationError):
    """This connection has stopped for another reason than a pause: start an authorization with its integration_id."""

    code = "not_resumable"


class QuotaExceededError(IntegrationError):
    """The database's limit for one user is reached: too many connections, pending authorizations or changes."""

    code = "quota_exceeded"


class InvalidValueError(IntegrationError):
    """A field holds a value that is not allowed."""

    code = "invalid_value"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# --- services and OAuth -----------------------------------------------------------------------------------------------


class UnknownServiceError(IntegrationError):
    """There is no service of that name in the catalogue. GET /api/integrations/services lists them."""

    code = "unknown_service"


class ServiceNotConfiguredError(IntegrationError):
    """This service is not configured on this server: `integrations services` tells its operator what is missing."""

    code = "service_not_configured"


class InvalidStateError(IntegrationError):
    """This authorization is unknown, used up, or was started by somebody else. Start again."""

    code = "invalid_state"


class StateExpiredError(InvalidStateError):
    """The authorization was not finished within ten minutes. Start again."""

    code = "state_expired"


class InvalidCallbackError(IntegrationError):
    """The service's answer to the authorization request is not valid. Start again."""

    code = "invalid_callback"


class IssuerMismatchError(InvalidCallbackError):
    """The answer came from another authorization server than the one that was asked (RFC 9207). Start again."""

    code = "issuer_mismatch"


class InvalidHandleError(IntegrationError):
    """The handle is not one of ours or has expired. Start the authorization again."""

    code = "invalid_handle"


class AuthorizationDeniedError(IntegrationError):
    """The service answered the authorization request with an error; `code` is that error, from a closed list."""

    code = "access_denied"

    def __init__(self, code: str) -> None:
        super().__init__(f"The service did not grant access ({code}). Start again.")
        self.code = code


class AccountMismatchError(IntegrationError):
    """You signed in to a different account than the one this connection belongs to. Nothing was changed."""

    code = "account_mismatch"


class AccountUnknownError(IntegrationError):
    """The service accepted the connection but did not say which account it belongs to. Start again."""

    code = "account_unknown"


class CredentialsRejectedError(IntegrationError):
    """The service does not accept these credentials."""

    code = "credentials_rejected"


class ProviderUnavailableError(IntegrationError):
    """The service cannot be reached or answers with errors. Try again later."""

    code = "provider_unavailable"

    def __init__(self, message: str | None = None, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EndlessListError(ProviderUnavailableError):
    """The service says of a page of a list that one follows it which came before: the list would never end."""

    code = "endless_list"


class RateLimitedError(IntegrationError):
    """Too many calls of this service are under way or waiting. Try again later."""

    code = "rate_limited"

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__()
        self.retry_after = retry_after


class ServiceError(IntegrationError):
    """The service refused the call."""

    code = "service_error"

    def __init__(
        self, status: int, *, body: bytes = b"", retry_after: timedelta | None = None, message: str | None = None
    ) -> None:
        super().__init__(message or f"The service refused the call (HTTP {status}).")
        self.status = status
        self.body = body
        """The beginning of the service's own answer. It may hold anything: neither shown nor logged."""
        self.retry_after = retry_after


class ServiceRateLimitedError(ServiceError):
    """The service refused the call as one too many. Try again later."""

    code = "service_rate_limited"

    def __init__(self, *, status: int = 429, body: bytes = b"", retry_after: timedelta | None = None) -> None:
        super().__init__(status, body=body, retry_after=retry_after, message=(type(self).__doc__ or "").strip())


class ReplyTooLargeError(IntegrationError):
    """The service's answer is larger than is accepted."""

    code = "reply_too_large"


class BodyTooLargeError(IntegrationError):
    """The request's body is larger than is passed on."""

    code = "body_too_large"


class CallNotAllowedError(IntegrationError):
    """Calls with this method and path are not passed on to this service. Its operator may allow them: PROXY_ALLOW."""

    code = "call_not_allowed"


class TokenEndpointError(IntegrationError):
    """The service's token endpoint refused the request."""

    code = "token_endpoint_error"

    def __init__(self, error: str, *, status: int) -> None:
        super().__init__(f"The service's token endpoint refused the request ({error}, HTTP {status}).")
        self.error = error
        self.status = status


class InvalidGrantError(TokenEndpointError):
    """The authorization code or refresh token is expired, revoked or was used before (RFC 6749 §5.2)."""

    code = "invalid_grant"


class InvalidClientError(TokenEndpointError):
    """The service does not accept this server's client id or secret (RFC 6749 §5.2): the operator must correct it."""

    code = "invalid_client"


class RevocationRefusedError(IntegrationError):
    """The service refused to end the connection's tokens. They are kept: try again, or delete the connection."""

    code = "revocation_failed"

    def __init__(self, error: str, *, status: int) -> None:
        super().__init__(f"{(type(self).__doc__ or '').strip()} ({error}, HTTP {status})")
        self.error = error
        self.status = status


class MalformedTokenResponseError(IntegrationError):
    """The service's token endpoint answered with something that is not a token."""

    code = "malformed_token_response"


# --- syncing ----------------------------------------------------------------------------------------------------------


class UnknownResourceError(IntegrationError):
    """The service has no such resource to sync."""

    code = "unknown_resource"


class SyncBusyError(IntegrationError):
    """This resource is being synced at this moment. Try again in a few minutes."""

    code = "sync_busy"


class SyncTakenOverError(IntegrationError):
    """Somebody else syncs this resource now, or it is no longer asked for."""

    code = "sync_taken_over"


class TooManyRecordsError(IntegrationError):
    """The resource has more records than this server copies: its operator may raise SYNC_MAX_RECORDS."""

    code = "too_many_records"
