"""What callers may send. Unknown fields, wrong types, NUL bytes and numbers that JSON cannot hold are refused here."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from supabase_integrations.core.credentials import ApiKeyCredentials, BasicCredentials, Credentials, OAuthCredentials
from supabase_integrations.core.models import ServiceType

_MAX_DEPTH: Final = 8
_MAX_CONFIG_BYTES: Final = 12_000
"""The database keeps 16 KiB of jsonb's own, wider spelling; an authorization seals the config into as much."""
_MAX_INTEGER: Final = 2**53
"""Beyond it JavaScript and jsonb readers do not agree on what was written (RFC 8259 §6)."""


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if "\0" in text:
        raise ValueError("must not contain NUL bytes")
    return text


def _clean_secret(secret: SecretStr) -> SecretStr:
    text = _clean(secret.get_secret_value())
    if not text or len(text) > 16_384 or any(ord(character) < 32 for character in text):
        raise ValueError("must be 1 to 16384 characters without control characters")
    return secret


def _clean_json(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"must not be nested deeper than {_MAX_DEPTH}")
    match value:
        case str():
            return _clean(value)
        case Mapping():
            return {_clean(key): _clean_json(item, depth + 1) for key, item in value.items()}
        case list():
            return [_clean_json(item, depth + 1) for item in value]
        case float() if not math.isfinite(value):
            raise ValueError("must hold finite numbers only")
        case int() if not isinstance(value, bool) and abs(value) > _MAX_INTEGER:
            raise ValueError("must hold integers of at most 2^53")
    return value


def _config(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    clean = _clean_json(value)
    if len(orjson.dumps(clean)) > _MAX_CONFIG_BYTES:
        raise ValueError(f"must be at most {_MAX_CONFIG_BYTES} bytes of JSON")
    return clean


def _utc(moment: datetime) -> datetime:
    """In UTC, and in a year that every reader can hold: the database keeps 2000 to 2999."""
    if not 2000 < moment.year < 2999:
        raise ValueError("must be between the years 2001 and 2998")
    return moment.astimezone(UTC)


Text: TypeAlias = Annotated[str, AfterValidator(_clean)]
ServiceName: TypeAlias = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_clean_secret)]
Config: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_config)]
Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_utc)]
Parameter: TypeAlias = Annotated[Text, StringConstraints(max_length=8192)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ApiKeyBody(_Body):
    """Credentials of a service with API keys."""

    api_key: Secret


class BasicBody(_Body):
    """Credentials of a service with HTTP Basic."""

    username: Annotated[Text, StringConstraints(min_length=1, max_length=256, pattern=r"^[^:\x00-\x1f]+$")]
    password: Secret


class TokenBody(_Body):
    """A token of an OAuth service that the user holds already.

    No refresh token: the service would be asked to renew it with this server's own client, for whoever brought it.
    """

    access_token: Secret
    expires_at: Moment | None = None
    scopes: Annotated[list[Annotated[Text, StringConstraints(min_length=1, max_length=256)]], Field(max_length=100)] = (
        Field(default_factory=list)
    )


CredentialsBody: TypeAlias = ApiKeyBody | BasicBody | TokenBody


def credentials_in(body: CredentialsBody, now: datetime) -> Credentials:
    """What a caller sent, as the core knows it. A token's end is at most ten years away."""
    match body:
        case ApiKeyBody(api_key=api_key):
            return ApiKeyCredentials(api_key)
        case BasicBody(username=username, password=password):
            return BasicCredentials(username, password)
        case TokenBody():
            latest = now + timedelta(days=3650)
            return OAuthCredentials(
                access_token=body.access_token,
                issued_at=now,
                expires_at=min(body.expires_at, latest) if body.expires_at else None,
                scopes=tuple(body.scopes),
            )


class CreateBody(_Body):
    """Body of `POST /api/integrations`."""

    service_name: ServiceName
    service_type: ServiceType | None = None
    credentials: CredentialsBody
    config: Config = Field(default_factory=dict)


class UpdateBody(_Body):
    """Body of `PATCH /api/integrations/{id}`. The user pauses and resumes; every other status is found out."""

    status: Literal["active", "inactive"] | None = None
    credentials: CredentialsBody | None = None
    config: Config | None = None
    last_sync_at: Moment | None = None

    @field_validator("status", "credentials", "config", "last_sync_at", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave the field out")
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field")
        return self


class InitiateBody(_Body):
    """Body of `POST /api/integrations/oauth/initiate`."""

    service_name: ServiceName
    additional_params: Annotated[dict[Parameter, Parameter], Field(max_length=20)] = Field(default_factory=dict)
    redirect_to: Annotated[Text, StringConstraints(max_length=2048)] | None = None
    config: Config = Field(default_factory=dict)
    scopes: Annotated[list[Text], Field(max_length=100)] | None = None
    integration_id: UUID | None = None


class FinishBody(_Body):
    """Body of `POST /api/integrations/oauth/callback`: the handle, or the query that the service's redirect brought."""

    handle: Annotated[Text, StringConstraints(min_length=1, max_length=32_768)] | None = None
    params: Annotated[dict[Parameter, Parameter], Field(min_length=1, max_length=50)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.handle is None) == (self.params is None):
            raise ValueError("give either handle or params")
        return self
