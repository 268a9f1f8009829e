"""What a connection's envelope holds once opened, and how it is written down: JSON with a `kind`.

The payload repeats the service and the tenant: decisions are made from it, never from the columns beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from .encryption_errors import MalformedEnvelopeError
from .json_types import JsonValue
from .secret import SecretStr


@dataclass(frozen=True, slots=True)
class OAuthCredentials:
    """A token reply (RFC 6749 §5.1) with its times made absolute. None means the service did not say."""

    access_token: SecretStr
    issued_at: datetime
    token_type: str = "Bearer"
    refresh_token: SecretStr | None = None
    expires_at: datetime | None = None
    refresh_token_expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKeyCredentials:
    """One key, as the service's own settings page shows it."""

    api_key: SecretStr


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """User name and password for HTTP Basic (RFC 7617)."""

    username: str
    password: SecretStr


Credentials: TypeAlias = OAuthCredentials | ApiKeyCredentials | BasicCredentials


@dataclass(frozen=True, slots=True)
class CredentialPayload:
    """Credentials together with the service and tenant they are for."""

    service_name: str
    tenant: str
    credentials: Credentials


def to_json(payload: CredentialPayload) -> dict[str, JsonValue]:
    """The payload as an object to be sealed; times are Unix seconds."""
    common: dict[str, JsonValue] = {"service_name": payload.service_name, "tenant": payload.tenant}
    match payload.credentials:
        case OAuthCredentials() as oauth:
            return common | {
                "kind": "oauth2",
                "access_token": oauth.access_token.get_secret_value(),
                "token_type": oauth.token_type,
                "refresh_token": oauth.refresh_token.get_secret_value() if oauth.refresh_token else None,
                "issued_at": _seconds(oauth.issued_at),
                "expires_at": _seconds(oauth.expires_at),
                "refresh_token_expires_at": _seconds(oauth.refresh_token_expires_at),
                "scopes": list(oauth.scopes),
            }
        case ApiKeyCredentials(api_key):
            return common | {"kind": "api_key", "api_key": api_key.get_secret_value()}
        case BasicCredentials(username, password):
            return common | {"kind": "basic", "username": username, "password": password.get_secret_value()}


def from_json(value: Mapping[str, JsonValue]) -> CredentialPayload:
    """The inverse of `to_json`. Raises MalformedEnvelopeError for an object that is not one of ours."""
    try:
        return CredentialPayload(_text(value, "service_name"), _text(value, "tenant"), _credentials(value))
    except (KeyError, TypeError, ValueError):
        raise MalformedEnvelopeError("The envelope opened, but holds no credentials of a known kind.") from None


def _credentials(value: Mapping[str, JsonValue]) -> Credentials:
    match value["kind"]:
        case "oauth2":
            issued_at = _moment(value["issued_at"])
            scopes = value["scopes"]
            if issued_at is None or not isinstance(scopes, list):
                raise ValueError
            return OAuthCredentials(
                access_token=SecretStr(_text(value, "access_token")),
                issued_at=issued_at,
                token_type=_text(value, "token_type"),
                refresh_token=SecretStr(_text(value, "refresh_token")) if value["refresh_token"] else None,
                expires_at=_moment(value["expires_at"]),
                refresh_token_expires_at=_moment(value["refresh_token_expires_at"]),
                scopes=tuple(str(scope) for scope in scopes),
            )
        case "api_key":
            return ApiKeyCredentials(SecretStr(_text(value, "api_key")))
        case "basic":
            return BasicCredentials(_text(value, "username"), SecretStr(_text(value, "password")))
    raise ValueError


def _text(value: Mapping[str, JsonValue], key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise TypeError
    return text


def _seconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None


def _moment(seconds: JsonValue) -> datetime | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise TypeError
    return datetime.fromtimestamp(seconds, UTC)
