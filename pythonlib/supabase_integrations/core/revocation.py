"""Telling a service to end a token (RFC 7009, and what services do instead), and reading what it answers. Nothing here
sends anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson

from .credentials import OAuthCredentials
from .errors import InvalidClientError, ProviderUnavailableError, RevocationRefusedError
from .http_messages import HttpReply, HttpRequest, retry_after
from .models import Integration
from .oauth_messages import OAuthClient, api_auth_header, appsecret_proof, basic_header
from .revocation_rule import RevocationRule
from .service import ServiceDefinition
from .service_kinds import TokenEndpointAuth
from .token_reply import error_words

_UNKNOWN_TOKEN: Final = frozenset({"invalid_token", "invalid_grant"})
_CLIENT_ERRORS: Final = frozenset({"invalid_client", "unauthorized_client"})
_PLACEHOLDER: Final = re.compile(r"\{(client_id|client_secret|account_id)\}")


class RevocationOutcome(StrEnum):
    """What became of the tokens at the service."""

    REVOKED = "revoked"
    """The service ended them, or did not know them any more."""
    FAILED = "revocation_failed"
    """The service could not be told, or refused."""
    UNSUPPORTED = "revocation_unsupported"
    """There is nothing at the service to be told: an API key, or a service without revocation."""
    SKIPPED_SHARED_GRANT = "revocation_skipped_shared_grant"
    """Another connection of the user would have stopped with this one."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """An emptied connection, and what became of its tokens at the service."""

    integration: Integration
    outcome: RevocationOutcome


def revocation_request(
    service: ServiceDefinition, client: OAuthClient, credentials: OAuthCredentials, *, tenant: str, account_id: str
) -> HttpRequest:
    """The request that ends a connection's tokens, as the service's `revocation` describes it.

    `account_id` is the account that was identified when the credentials were stored. Raises InvalidValueError for a
    tenant that may not be built into a URL.
    """
    rule = service.revocation
    headers = {"accept": "application/json", **_auth_headers(service, client, credentials)}
    fields = _fields(rule, client, credentials, account_id)
    if rule.client_auth(service.token_endpoint_auth) is TokenEndpointAuth.POST:
        fields |= {"client_id": client.client_id, "client_secret": client.client_secret.get_secret_value()}
    elif rule.auth == "client" and service.token_endpoint_auth is TokenEndpointAuth.NONE:
        fields["client_id"] = client.client_id
    body, query = b"", dict[str, str]()
    match rule.format:
        case "form":
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields).encode("ascii")
        case "json":
            headers["content-type"] = "application/json"
            body = orjson.dumps(fields)
        case "query":
            query = fields
    if rule.auth == "access_token" and service.appsecret_proof:
        query["appsecret_proof"] = appsecret_proof(client.client_secret, credentials.access_token)
    template = service.revocation_endpoint.replace("{client_id}", quote(client.client_id, safe=""))
    return HttpRequest(rule.method, _with_query(service.url(template, tenant), query), headers, body)


def read_revocation_reply(reply: HttpReply, service: ServiceDefinition, now: datetime) -> RevocationOutcome:
    """What the service's answer means; a token that it does not know any more is revoked (RFC 7009 §2.2).

    Raises ProviderUnavailableError (429, 5xx), InvalidClientError and RevocationRefusedError.
    """
    rule = service.revocation
    if reply.status == 429 or reply.status >= 500:
        raise ProviderUnavailableError(retry_after=retry_after(reply.headers, now))
    answer = _json(reply.body)
    words = error_words(answer.get("error")) if isinstance(answer, dict) else []
    unknown_token = _UNKNOWN_TOKEN | service.invalid_grant_errors | rule.unknown_token_errors
    if not unknown_token.isdisjoint({*words, str(reply.status)}):
        return RevocationOutcome.REVOKED
    if reply.status == 401 and rule.auth == "access_token":
        return RevocationOutcome.REVOKED
    if "unsupported_token_type" in words:
        return RevocationOutcome.UNSUPPORTED
    if 200 <= reply.status < 300 and _says_success(answer, rule):
        return RevocationOutcome.REVOKED
    word = next((word.lower() for word in words if not word.isdigit()), "unknown_error")
    if word in _CLIENT_ERRORS or (reply.status == 401 and rule.auth != "none"):
        raise InvalidClientError(word, status=reply.status)
    raise RevocationRefusedError(word, status=reply.status)


def _auth_headers(service: ServiceDefinition, client: OAuthClient, credentials: OAuthCredentials) -> dict[str, str]:
    rule = service.revocation
    if rule.auth == "access_token":
        return api_auth_header(service, credentials.access_token)
    if rule.client_auth(service.token_endpoint_auth) is TokenEndpointAuth.BASIC:
        return {"authorization": basic_header(client)}
    kind, _, rest = rule.auth.partition(":")
    if kind == "client_secret_header":
        name, _, prefix = rest.partition("=")
        return {name.lower(): f"{prefix} {client.client_secret.get_secret_value()}".lstrip()}
    return {}


def _fields(
    rule: RevocationRule, client: OAuthClient, credentials: OAuthCredentials, account_id: str
) -> dict[str, str]:
    values = {
        "client_id": client.client_id,
        "client_secret": client.client_secret.get_secret_value(),
        "account_id": account_id,
    }
    fields = {name: _PLACEHOLDER.sub(lambda found: values[found[1]], text) for name, text in rule.params.items()}
    if not rule.sends_token:
        return fields
    token, hint = credentials.access_token, "access_token"
    if rule.token == "refresh_token" and credentials.refresh_token is not None:
        token, hint = credentials.refresh_token, "refresh_token"
    fields[rule.token_field] = token.get_secret_value()
    if rule.token_type_hint:
        fields["token_type_hint"] = hint
    return fields


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    if not parameters:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _says_success(answer: Any, rule: RevocationRule) -> bool:
    """Whether the body of a 2xx answer agrees with its status; RFC 7009 has no body to read, so most have none."""
    if not isinstance(answer, dict):
        return answer is not False and not rule.success
    refuses = bool(answer.get("error")) or any(answer.get(name) is False for name in ("ok", "success"))
    return not refuses and all(answer.get(name) == value for name, value in rule.success.items())
