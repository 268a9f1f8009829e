"""How a connection's credentials are shown to its service: header, parameter or field, as the catalogue says.

Whatever is sent is also named as a secret, so that an answer which repeats it can be cleaned of it.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlencode

import orjson

from .credentials import ApiKeyCredentials, BasicCredentials, Credentials, OAuthCredentials
from .errors import InvalidValueError, ServiceNotConfiguredError
from .oauth_messages import OAuthClient, api_auth_header, appsecret_proof
from .secret import SecretStr
from .service import ServiceDefinition

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Authorization:
    """What is added to a request: `headers`, `parameters` of the query, `fields` of the body. Nothing of it is shown
    in its repr.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    parameters: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[SecretStr, ...] = ()
    """Everything of the credentials that an answer must not show."""


def authorization(service: ServiceDefinition, credentials: Credentials, client: OAuthClient | None) -> Authorization:
    """What shows these credentials to this service. Raises ServiceNotConfiguredError where a signature is needed and
    this server has no client secret for it.
    """
    shown = _of_credentials(service, credentials, client)
    own = client.headers if client else ()
    return replace(
        shown,
        headers={**shown.headers, **{name: value.get_secret_value() for name, value in own}},
        secrets=(*shown.secrets, *(value for _, value in own)),
    )


def _of_credentials(service: ServiceDefinition, credentials: Credentials, client: OAuthClient | None) -> Authorization:
    if isinstance(credentials, BasicCredentials):
        return _basic(credentials.username, credentials.password)
    key = credentials.access_token if isinstance(credentials, OAuthCredentials) else credentials.api_key
    secrets = _secrets(credentials)
    kind, _, name = service.api_auth.partition(":")
    match kind:
        case "basic":
            return _basic(key.get_secret_value(), SecretStr(""), secrets)
        case "query":
            return Authorization(parameters=((name, key.get_secret_value()),), secrets=secrets)
        case "body":
            return Authorization(fields={name: key.get_secret_value()}, secrets=secrets)
    if not service.appsecret_proof:
        return Authorization(headers=api_auth_header(service, key), secrets=secrets)
    if client is None:
        raise ServiceNotConfiguredError
    proof = appsecret_proof(client.client_secret, key)
    return Authorization(
        headers=api_auth_header(service, key),
        parameters=(("appsecret_proof", proof),),
        secrets=(*secrets, SecretStr(proof)),
    )


def auth_header_names(service: ServiceDefinition) -> frozenset[str]:
    """The header names, in small letters, that carry credentials to this service."""
    kind, _, rest = service.api_auth.partition(":")
    name = rest.partition("=")[0].lower() if kind == "header" else "authorization"
    return frozenset({"authorization", name, *service.secret_headers})


def with_fields(body: bytes, content_type: str, fields: Mapping[str, str]) -> tuple[bytes, str]:
    """A body with further fields, and its content type; a form where there was no body.

    Raises InvalidValueError for a body that is neither a form nor a JSON object.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if not body or media_type == FORM:
        return b"&".join(filter(None, (body, urlencode(fields).encode()))), FORM
    try:
        value = orjson.loads(body) if media_type == JSON else None
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidValueError("body", "This service takes its key in the body: send a form or a JSON object.")
    return orjson.dumps({**value, **fields}), JSON


def _basic(username: str, password: SecretStr, secrets: tuple[SecretStr, ...] = ()) -> Authorization:
    """RFC 7617, in UTF-8."""
    pair = f"{username}:{password.get_secret_value()}"
    encoded = b64encode(pair.encode()).decode("ascii")
    return Authorization(
        headers={"authorization": f"Basic {encoded}"},
        secrets=(*secrets, password, SecretStr(pair), SecretStr(encoded.rstrip("="))),
    )


def _secrets(credentials: OAuthCredentials | ApiKeyCredentials) -> tuple[SecretStr, ...]:
    if isinstance(credentials, ApiKeyCredentials):
        return (credentials.api_key,)
    return tuple(filter(None, (credentials.access_token, credentials.refresh_token)))
