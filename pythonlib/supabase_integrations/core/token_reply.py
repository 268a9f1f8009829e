"""Replies of token endpoints, validated (RFC 6749 §5.1, §5.2). What is not clearly a token is an error, at any
status.
"""

import math
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from .credentials import OAuthCredentials
from .errors import (
    InvalidClientError,
    InvalidGrantError,
    MalformedTokenResponseError,
    ProviderUnavailableError,
    TokenEndpointError,
)
from .http_messages import HttpReply, retry_after
from .secret import SecretStr
from .service import ServiceDefinition

_MAX_TOKEN_LENGTH: Final = 12_288
_MAX_LIFETIME: Final = timedelta(days=3650)
_SCOPE: Final = re.compile(r"[!-~]{1,256}")
MAX_SCOPES: Final = 100
_MAX_SCOPES_LENGTH: Final = 8192
"""Of all scopes together, so that two tokens and they always fit into one envelope: a token that is too large for it is
refused here, where the old one can still be kept.
"""
_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "text/plain"})
_CLIENT_ERRORS: Final = frozenset({"invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class TokenReply:
    """A good answer: the credentials, and all fields for what else a service puts there (id_token, account names)."""

    credentials: OAuthCredentials
    fields: Mapping[str, object] = field(repr=False)


def parse_token_reply(
    reply: HttpReply, service: ServiceDefinition, now: datetime, *, requested_scopes: tuple[str, ...]
) -> TokenReply:
    """What a token endpoint answered.

    Raises ProviderUnavailableError (429, 5xx), InvalidGrantError, InvalidClientError, TokenEndpointError and
    MalformedTokenResponseError.
    """
    fields = _reply_object(reply, service, now)
    # An empty one is none: some serializers write every field.
    refresh_token = _token(fields, "refresh_token", required=False) if fields.get("refresh_token") != "" else None
    lifetime = _lifetime(fields.get("expires_in"), may_be_unusable=refresh_token is not None)
    if lifetime is None and refresh_token and service.expires and service.access_token_lifetime_s:
        lifetime = timedelta(seconds=service.access_token_lifetime_s)
    refresh_lifetime = _lifetime(fields.get("refresh_token_expires_in"), may_be_unusable=refresh_token is not None)
    access_token = _token(fields, "access_token", required=True)
    if access_token is None:
        raise MalformedTokenResponseError
    credentials = OAuthCredentials(
        access_token=access_token,
        issued_at=now,
        token_type=_token_type(fields.get("token_type"), may_be_unusable=refresh_token is not None),
        refresh_token=refresh_token,
        expires_at=now + lifetime if lifetime else None,
        refresh_token_expires_at=now + refresh_lifetime if refresh_lifetime else None,
        scopes=_scopes(fields.get("scope")) or requested_scopes,
    )
    return TokenReply(credentials, fields)


def _reply_object(reply: HttpReply, service: ServiceDefinition, now: datetime) -> dict[str, Any]:
    if reply.status == 429 or reply.status >= 500:
        raise ProviderUnavailableError(retry_after=retry_after(reply.headers, now))
    fields = _object(reply)
    error = fields.get("error")
    if error or not 200 <= reply.status < 300:
        raise _endpoint_error(error, reply.status, service)
    return fields


def _object(reply: HttpReply) -> dict[str, Any]:
    """JSON whatever the content type says; else a form where it says so (GitHub's default); else not a reply at all.

    A byte order mark is passed over, as RFC 8259 §8.1 allows: no token is lost over it.
    """
    try:
        fields = orjson.loads(reply.body.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError:
        fields = _form(reply) if reply.media_type in _FORM_TYPES else None
    if isinstance(fields, dict):
        return fields
    if 200 <= reply.status < 300:
        raise MalformedTokenResponseError
    return {}


def _form(reply: HttpReply) -> dict[str, Any] | None:
    try:
        return dict(parse_qsl(reply.body.decode("ascii"), strict_parsing=True))
    except ValueError:
        return None


def _endpoint_error(error: object, status: int, service: ServiceDefinition) -> TokenEndpointError:
    """The error by its code (RFC 6749 §5.2), or by the code that the catalogue knows to mean the same."""
    words = error_words(error)
    if "invalid_grant" in words or not service.invalid_grant_errors.isdisjoint(words):
        return InvalidGrantError("invalid_grant", status=status)
    code = next((word.lower() for word in words if not word.isdigit()), "unknown_error")
    if code in _CLIENT_ERRORS:
        return InvalidClientError(code, status=status)
    return TokenEndpointError(code, status=status)


def error_words(error: object) -> list[str]:
    """The codes that a reply's `error` names, as texts that may be shown.

    Some services answer an object instead of a code (Meta: `{"error": {"type": …, "code": 190}}`).
    """
    codes = [error.get(key) for key in ("code", "type", "status")] if isinstance(error, dict) else [error]
    return [str(code) for code in codes if isinstance(code, str | int) and _ERROR_CODE.fullmatch(str(code))]


def _token(fields: dict[str, Any], name: str, *, required: bool) -> SecretStr | None:
    value = fields.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value or _written(value) > _MAX_TOKEN_LENGTH or not _is_printable(value):
        raise MalformedTokenResponseError(f"The token endpoint's reply has no usable {name}.")
    return SecretStr(value)


def _written(text: str) -> int:
    """Characters of a printable text within JSON, as it is sealed."""
    return len(text) + text.count('"') + text.count("\\")


def _is_printable(token: str) -> bool:
    """VSCHAR of RFC 6749 appendix A: a token with a line break in it would end up in a header."""
    return token.isascii() and token.isprintable()


def _token_type(value: object, *, may_be_unusable: bool) -> str:
    """One that is unusable counts as absent where a lifetime would."""
    if value is None or value == "":
        return "Bearer"
    if isinstance(value, str) and _ERROR_CODE.fullmatch(value):
        return value
    if may_be_unusable:
        return "Bearer"
    raise MalformedTokenResponseError("The token endpoint's reply has no usable token_type.")


def _lifetime(value: object, *, may_be_unusable: bool) -> timedelta | None:
    """`expires_in` as number or text; None where it is absent, null or 0, which services mean as "does not expire".

    One that is unusable counts as absent where a refresh token came with it: to refuse that reply would be to lose the
    token, after the service has ended the one before it.
    """
    if value is None or value == "":
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        if may_be_unusable:
            return None
        raise MalformedTokenResponseError("The token endpoint's reply has no usable expires_in.")
    return min(timedelta(seconds=min(seconds, _MAX_LIFETIME.total_seconds())), _MAX_LIFETIME) or None


def _scopes(value: object) -> tuple[str, ...]:
    """Space separated by RFC 6749 §3.3; commas and lists exist in the wild.

    What is no scope token is left out: the database would refuse it, and a token that was renewed would be lost.
    """
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value)
    if not isinstance(value, list):
        return ()
    known = dict.fromkeys(scope for scope in value if isinstance(scope, str) and _SCOPE.fullmatch(scope))
    lengths = accumulate(map(_written, known))
    short = [scope for scope, length in zip(known, lengths, strict=True) if length <= _MAX_SCOPES_LENGTH]
    return tuple(short[:MAX_SCOPES])
