"""Which account a token belongs to, read from what a service answers. The catalogue's `account_id_from` says where to
look.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from .errors import AccountUnknownError, CredentialsRejectedError
from .http_messages import HttpReply
from .service import AccountRule, ServiceDefinition
from .service_kinds import AccountSource

MAX_ACCOUNT_ID_LENGTH = 255
MAX_DISPLAY_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a service. `id` is the service's own stable identifier, '' where the service tells none."""

    id: str
    display_name: str | None = None


def account_in(fields: Mapping[str, object], rule: AccountRule) -> Account:
    """The account in a parsed answer. Raises AccountUnknownError where the id is missing or no identifier."""
    value = _descend(fields, rule.field)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise AccountUnknownError
    identifier = str(value)
    if len(identifier) > MAX_ACCOUNT_ID_LENGTH or not identifier.isprintable():
        raise AccountUnknownError
    name = _descend(fields, rule.name_field) if rule.name_field else None
    return Account(identifier, display_name(name) if isinstance(name, str) else None)


def account_in_reply(reply: HttpReply, rule: AccountRule) -> Account:
    """The account in a service's JSON answer. Raises AccountUnknownError."""
    try:
        fields = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        raise AccountUnknownError from None
    if not 200 <= reply.status < 300 or not isinstance(fields, dict):
        raise AccountUnknownError
    if rule.source is AccountSource.INTROSPECTION and fields.get("active") is False:
        raise CredentialsRejectedError
    return account_in(fields, rule)


def account_in_id_token(id_token: object, service: ServiceDefinition, client_id: str, rule: AccountRule) -> Account:
    """The account an ID token names. Raises AccountUnknownError.

    The token came straight from the token endpoint over TLS, which takes the place of its signature (OpenID Connect
    Core §3.1.3.7 rule 6); issuer and audience are compared all the same.
    """
    claims = _claims(id_token)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences or (service.issuer and claims.get("iss") != service.issuer):
        raise AccountUnknownError
    return account_in(claims, rule)


def display_name(text: str) -> str | None:
    """A name fit to be shown: one line, at most 200 characters; None where nothing is left of it."""
    line = "".join(character for character in text if character.isprintable()).strip()
    return line[:MAX_DISPLAY_NAME_LENGTH] or None


def _claims(id_token: object) -> dict[str, Any]:
    parts = id_token.split(".") if isinstance(id_token, str) else []
    if len(parts) != 3:
        raise AccountUnknownError
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        raise AccountUnknownError from None
    if not isinstance(claims, dict):
        raise AccountUnknownError
    return claims


def _descend(fields: Mapping[str, object], path: str) -> object:
    value: object = fields
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
