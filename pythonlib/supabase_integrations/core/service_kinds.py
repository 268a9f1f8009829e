"""The closed sets a catalogue entry chooses from."""

from enum import StrEnum


class AuthKind(StrEnum):
    """How a user connects the service."""

    OAUTH2 = "oauth2"
    CLIENT_CREDENTIALS = "oauth2_client_credentials"
    API_KEY = "api_key"
    BASIC = "basic"


class TokenEndpointAuth(StrEnum):
    """How this server proves itself at the token endpoint (RFC 8414 `token_endpoint_auth_methods_supported`)."""

    POST = "client_secret_post"
    BASIC = "client_secret_basic"
    NONE = "none"


class RefreshKind(StrEnum):
    """How an access token is renewed."""

    ROTATING = "rotating"
    """Each reply brings a new refresh token, and the old one must not be used again."""
    STABLE = "stable"
    """The first refresh token is kept."""
    EXCHANGE = "exchange"
    """The access token itself is traded for a longer-lived one, before it expires."""
    NONE = "none"


class AccountSource(StrEnum):
    """Where the service says which account a token belongs to."""

    ID_TOKEN = "id_token"
    TOKEN_REPLY = "token_reply"
    REQUEST = "request"
    INTROSPECTION = "introspection"
    TENANT = "tenant"


class LimitScope(StrEnum):
    """What a service counts calls for."""

    SERVICE = "service"
    """This server's app: all accounts share one allowance."""
    ACCOUNT = "account"
    """Each connected account."""
    TENANT = "tenant"
    """Each tenant, such as a shop, whoever connected it."""
