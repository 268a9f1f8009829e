"""OAuth 2.0 requests as values (RFC 6749, 7636, 7662): nothing here sends anything. Replies are in `token_reply.py`."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_plus, urlencode, urlsplit

import orjson

from .errors import InvalidValueError
from .http_messages import HttpRequest
from .pkce import code_challenge
from .secret import SecretStr
from .service import PROTOCOL_PARAMETERS, ServiceDefinition
from .service_kinds import TokenEndpointAuth

_MAX_PARAMETER_LENGTH: Final = 1024
_MAX_SCOPES: Final = 100
_MAX_SCOPE_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """This server's registration at one service. A public client has no secret; `headers` go to the service's API."""

    client_id: str
    client_secret: SecretStr = field(default=SecretStr(""))
    headers: tuple[tuple[str, SecretStr], ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What one authorize URL is built from (RFC 6749 §4.1.1, RFC 7636 §4.3)."""

    redirect_uri: str
    state: str
    code_verifier: SecretStr
    scopes: tuple[str, ...]
    tenant: str = ""
    additional_params: Mapping[str, str] = field(default_factory=dict)


def authorization_url(service: ServiceDefinition, client: OAuthClient, request: AuthorizationRequest) -> str:
    """The URL to send the user's browser to. Raises InvalidValueError for a parameter the caller may not set."""
    check_additional_params(service, request.additional_params)
    parameters = {
        **request.additional_params,
        **service.authorization_params,
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": request.redirect_uri,
        "state": request.state,
    }
    if request.scopes:
        parameters["scope"] = service.scope_separator.join(request.scopes)
    if service.pkce == "S256":
        parameters["code_challenge"] = code_challenge(request.code_verifier.get_secret_value())
        parameters["code_challenge_method"] = "S256"
    endpoint = service.url(service.authorization_endpoint, request.tenant)
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(parameters)}"


def check_additional_params(service: ServiceDefinition, parameters: Mapping[str, str]) -> None:
    """Refuse what the service's allow-list does not name and what the protocol owns. Raises InvalidValueError."""
    for name, value in parameters.items():
        if name in PROTOCOL_PARAMETERS or name not in service.allowed_authorization_params:
            raise InvalidValueError("additional_params", f"{service.display_name} takes no such additional parameter")
        if len(value) > _MAX_PARAMETER_LENGTH:
            raise InvalidValueError(
                "additional_params", f"A parameter is longer than {_MAX_PARAMETER_LENGTH} characters"
            )


def check_scopes(service: ServiceDefinition, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Scope tokens as RFC 6749 §3.3 writes them, so that one of them cannot be several."""
    if len(scopes) > _MAX_SCOPES:
        raise InvalidValueError("scopes", f"At most {_MAX_SCOPES} scopes can be asked for.")
    forbidden = f'"\\{service.scope_separator}'
    for scope in scopes:
        printable = all("!" <= character <= "~" and character not in forbidden for character in scope)
        if not 0 < len(scope) <= _MAX_SCOPE_LENGTH or not printable:
            raise InvalidValueError(
                "scopes", f"A scope is 1 to {_MAX_SCOPE_LENGTH} printable characters without spaces."
            )
    return tuple(dict.fromkeys(scopes))


def code_exchange_request(
    service: ServiceDefinition,
    client: OAuthClient,
    *,
    code: SecretStr,
    code_verifier: SecretStr,
    redirect_uri: str,
    tenant: str,
) -> HttpRequest:
    """Trade an authorization code for tokens (RFC 6749 §4.1.3); the redirect URI is the one the flow began with."""
    parameters = {
        **service.token_params,
        "grant_type": "authorization_code",
        "code": code.get_secret_value(),
        "redirect_uri": redirect_uri,
    }
    if service.pkce == "S256":
        parameters["code_verifier"] = code_verifier.get_secret_value()
    return token_request(service, client, service.token_endpoint, parameters, tenant)


def refresh_request(
    service: ServiceDefinition, client: OAuthClient, *, refresh_token: SecretStr, tenant: str
) -> HttpRequest:
    """Trade a refresh token for a new access token (RFC 6749 §6)."""
    parameters = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
    return token_request(service, client, service.refresh_endpoint or service.token_endpoint, parameters, tenant)


def access_token_exchange_request(
    service: ServiceDefinition, client: OAuthClient, *, access_token: SecretStr, tenant: str
) -> HttpRequest:
    """Trade an access token for one that lives longer, at services that have no refresh tokens.

    Source: https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived
    """
    parameters = {"grant_type": service.refresh_grant, service.refresh_grant: access_token.get_secret_value()}
    return token_request(service, client, service.refresh_endpoint or service.token_endpoint, parameters, tenant)


def introspection_request(
    service: ServiceDefinition, client: OAuthClient, *, access_token: SecretStr, tenant: str
) -> HttpRequest:
    """Ask the authorization server about a token (RFC 7662 §2.1)."""
    parameters = {"token": access_token.get_secret_value(), "token_type_hint": "access_token"}
    return token_request(service, client, service.introspection_endpoint, parameters, tenant)


def token_request(
    service: ServiceDefinition, client: OAuthClient, endpoint: str, parameters: Mapping[str, str], tenant: str
) -> HttpRequest:
    """A POST to one of the authorization server's endpoints, with this server's proof of who it is (RFC 6749
    §2.3.1).
    """
    headers = {"accept": "application/json"}
    fields = dict(parameters)
    if service.token_endpoint_auth is TokenEndpointAuth.BASIC:
        headers["authorization"] = basic_header(client)
    else:
        fields["client_id"] = client.client_id
        if service.token_endpoint_auth is TokenEndpointAuth.POST:
            fields["client_secret"] = client.client_secret.get_secret_value()
    if service.token_request_format == "json":
        headers["content-type"] = "application/json"
        body = orjson.dumps(fields)
    else:
        headers["content-type"] = "application/x-www-form-urlencoded"
        body = urlencode(fields).encode("ascii")
    return HttpRequest("POST", service.url(endpoint, tenant), headers, body)


def account_request(
    service: ServiceDefinition, client: OAuthClient, *, access_token: SecretStr, request: str, tenant: str
) -> HttpRequest:
    """A GET to the service's API that tells whose token this is; `request` is `GET path-or-URL`."""
    target = request.removeprefix("GET ")
    url = service.url(target if "://" in target else service.api_base_url + target, tenant)
    headers = {"accept": "application/json", **service.public_headers, **api_auth_header(service, access_token)}
    headers.update((name, value.get_secret_value()) for name, value in client.headers)
    if service.appsecret_proof:
        proof = appsecret_proof(client.client_secret, access_token)
        url = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode({'appsecret_proof': proof})}"
    return HttpRequest("GET", url, headers)


def api_auth_header(service: ServiceDefinition, access_token: SecretStr) -> dict[str, str]:
    """The header that carries a token to the service's API: Bearer (RFC 6750 §2.1) unless the catalogue names
    another.
    """
    token = access_token.get_secret_value()
    kind, _, rest = service.api_auth.partition(":")
    if kind == "header":
        name, _, prefix = rest.partition("=")
        return {name.lower(): f"{prefix} {token}" if prefix else token}
    return {"authorization": f"Bearer {token}"}


def appsecret_proof(client_secret: SecretStr, access_token: SecretStr) -> str:
    """Hex HMAC-SHA256 of the token under the app secret.

    Source: https://developers.facebook.com/docs/graph-api/guides/secure-requests
    """
    key = client_secret.get_secret_value().encode()
    return hmac.new(key, access_token.get_secret_value().encode(), hashlib.sha256).hexdigest()


def basic_header(client: OAuthClient) -> str:
    """HTTP Basic of the client: both halves form-encoded before they are joined, which many clients forget (RFC 6749
    §2.3.1).
    """
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret.get_secret_value())}"
    return f"Basic {b64encode(pair.encode()).decode('ascii')}"
