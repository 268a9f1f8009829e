"""Every setting, and the only place that reads the environment. A mistake is told with what to do about it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from .core import base64url
from .core.errors import ConfigurationError
from .core.keyring import Keyring
from .core.secret import SecretStr
from .core.session_check import SessionCheck

CALLBACK_PATH: Final = "/api/integrations/oauth/callback"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DANGEROUS_SCHEMES: Final = frozenset(
    {"", "about", "blob", "data", "file", "filesystem", "intent", "javascript", "vbscript", "view-source"}
)
_MIN_JWT_SECRET_BYTES: Final = 32
"""The least that HS256 allows: RFC 7518 §3.2."""
_MASTER_KEYS: Final = (
    *("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SERVICE_KEY", "SERVICE_ROLE_KEY"),
    *("SUPABASE_SECRET_KEY", "SUPABASE_SECRET_KEYS", "JWT_SECRET", "GOTRUE_JWT_SECRET"),
)
_DATABASE_DOORS: Final = ("DATABASE_URL", "SUPABASE_DB_URL", "SUPABASE_DB_PASSWORD", "PGPASSWORD")
_WORKER_DOORS: Final = ("WORKER_DATABASE_URL", "WORKER_LISTEN_URL")

_ADVICE: Final = {
    "ENCRYPTION_KEY": "Make one with `integrations generate-key` and keep it: without it no stored credential opens.",
    "SUPABASE_URL": "It is the project's address, such as https://<project-ref>.supabase.co.",
    "SUPABASE_PUBLISHABLE_KEY": "It is under Project Settings, API Keys, and begins with sb_publishable_.",
    "WORKER_DATABASE_URL": "It logs in as integrations_worker, whose login comes from sql/operations/worker_login.sql.",
    "APP_URL": "It is the public https address of this API: the services send users back to it.",
}


_PUBLISHABLE_KEY: Final = re.compile(r"sb_publishable_[A-Za-z0-9_-]+")
_NOT_IN_A_REDIRECT: Final = frozenset("#*\\;<>\"' `")


class Environment(StrEnum):
    """`development` allows what only a local system may: loopback services, a shared JWT secret, the demo service."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


def _listed(value: object) -> object:
    return tuple(item for item in re.split(r"[\s,]+", value) if item) if isinstance(value, str) else value


def _ruled(value: object) -> object:
    """Rules have spaces in them: only commas and line breaks part them."""
    return (
        tuple(" ".join(rule.split()) for rule in re.split(r"[,\n]", value) if rule.strip())
        if isinstance(value, str)
        else value
    )


def _is_secure(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def _address(value: str) -> str:
    """An https address (http on loopback) without path, query or fragment."""
    try:
        parts = urlsplit(value)
        is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
        # Reading the port checks it.
        is_address = is_bare and _is_secure(value) and parts.port != 0 and value.isascii() and "*" not in value
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError("must be an https:// address (http:// only on localhost) without a path")
    return value.rstrip("/").lower()


def _redirect_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("must name complete URLs") from None
    is_web = parts.scheme in ("http", "https")
    if parts.scheme in _DANGEROUS_SCHEMES or "@" in parts.netloc or (is_web and not parts.hostname):
        raise ValueError("must name complete URLs, such as https://app.example.com/integrations")
    if not value.isascii() or not value.isprintable() or not _NOT_IN_A_REDIRECT.isdisjoint(value):
        raise ValueError("must name exact URLs in ASCII, without a fragment or wildcard")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("may have http:// for localhost only: use https://")
    return value


def _redis_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must be an address like redis://host:6379/0, or rediss:// for TLS")
    return value


Address = Annotated[str, BeforeValidator(lambda value: _address(value) if isinstance(value, str) else value)]
RedirectUrl = Annotated[str, BeforeValidator(lambda value: _redirect_url(value) if isinstance(value, str) else value)]
Listed = BeforeValidator(_listed)


class CatalogueSettings(BaseModel):
    """The settings that decide which services there are. Build them with `from_environment`."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    environment: Environment = Field(Environment.PRODUCTION, alias="ENVIRONMENT")
    providers_file: Path | None = Field(None, alias="PROVIDERS_FILE")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check settings; empty values count as absent. Raises ConfigurationError, naming every mistake."""
        try:
            return cls.model_validate({name: text for name, value in environment.items() if (text := value.strip())})
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None

    @property
    def is_development(self) -> bool:
        """Whether this is a local system."""
        return self.environment is Environment.DEVELOPMENT


class KeySettings(CatalogueSettings):
    """The settings of every process that opens credentials."""

    encryption_key: SecretStr = Field(alias="ENCRYPTION_KEY")
    encryption_keys_retired: Annotated[tuple[SecretStr, ...], Listed] = Field((), alias="ENCRYPTION_KEYS_RETIRED")
    state_dir: Path = Field(Path(".local"), alias="STATE_DIR")
    rate_limit_url: Annotated[SecretStr | None, AfterValidator(_redis_url)] = Field(None, alias="RATE_LIMIT_URL")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check all settings; empty values count as absent. Raises ConfigurationError for all mistakes."""
        settings = super().from_environment(environment)
        for name in _MASTER_KEYS:
            if environment.get(name, "").strip() and settings.environment is Environment.PRODUCTION:
                raise ConfigurationError(
                    f"{name} is set, and this service must not have it: unset it."
                    " Rows are reached with each user's own token; no key here bypasses row level security."
                )
        settings.keyring()
        return settings

    def keyring(self) -> Keyring:
        """The encryption keys. Raises ConfigurationError."""
        return Keyring.from_hex(self.encryption_key, self.encryption_keys_retired)


class Settings(KeySettings):
    """All settings of the HTTP service."""

    supabase_url: Address = Field(alias="SUPABASE_URL")
    publishable_key: str = Field(
        min_length=1, validation_alias=AliasChoices("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
    )
    jwt_secret: SecretStr | None = Field(None, alias="SUPABASE_JWT_SECRET")
    app_url: Address = Field(validation_alias=AliasChoices("APP_URL", "NEXT_PUBLIC_APP_URL"))
    allowed_redirect_urls: Annotated[tuple[RedirectUrl, ...], Listed] = Field((), alias="ALLOWED_REDIRECT_URLS")
    allowed_origins: Annotated[tuple[Address, ...], Listed] = Field((), alias="ALLOWED_ORIGINS")
    session_check: SessionCheck = Field(SessionCheck.SENSITIVE, alias="SESSION_CHECK")
    allow_anonymous_users: bool = Field(False, alias="ALLOW_ANONYMOUS_USERS")
    allowed_oauth_clients: Annotated[frozenset[str], Listed] = Field(frozenset(), alias="ALLOWED_OAUTH_CLIENTS")
    proxy_allow: Annotated[tuple[str, ...], BeforeValidator(_ruled)] = Field((), alias="PROXY_ALLOW")
    proxy_max_request_bytes: int = Field(10 * 1024 * 1024, ge=0, alias="PROXY_MAX_REQUEST_BYTES")
    proxy_max_reply_bytes: int = Field(2 * 1024 * 1024 * 1024, ge=1, alias="PROXY_MAX_REPLY_BYTES")
    host: str = Field("127.0.0.1", alias="HOST")
    port: int = Field(8000, ge=1, le=65_535, alias="PORT")

    @model_validator(mode="after")
    def _only_keys_it_may_have(self) -> Self:
        if not _is_publishable(self.publishable_key):
            raise ValueError(
                f"SUPABASE_PUBLISHABLE_KEY is not a publishable key. {_ADVICE['SUPABASE_PUBLISHABLE_KEY']}"
            )
        if self.environment is Environment.DEVELOPMENT and self.host not in _LOOPBACK:
            raise ValueError(
                "HOST: a development system listens on 127.0.0.1 only, for it trusts this machine."
                " Set ENVIRONMENT=production for everybody else."
            )
        if self.jwt_secret and self.environment is Environment.PRODUCTION:
            raise ValueError(
                "SUPABASE_JWT_SECRET is set: its holder can mint any role, so only a development system may have it."
                " Unset it: HS256 tokens are verified by asking Supabase Auth."
            )
        if self.jwt_secret and len(self.jwt_secret.get_secret_value().encode()) < _MIN_JWT_SECRET_BYTES:
            raise ValueError(
                f"SUPABASE_JWT_SECRET is shorter than {_MIN_JWT_SECRET_BYTES} bytes:"
                " set the secret your Supabase signs with, or unset it to have Supabase Auth asked."
            )
        return self

    @property
    def redirect_uri(self) -> str:
        """The one redirect URI to register at every service."""
        return self.app_url + CALLBACK_PATH


def refuse_database_access(environment: Mapping[str, str], *, command: str = "serve") -> None:
    """The database alone holds ciphertext, and this service's environment alone opens no row: refuse the two together.

    The worker's role reads declared users' rows, so its login is for the worker. Raises ConfigurationError where the
    environment of a production service opens the database otherwise.
    """
    for name in (*_DATABASE_DOORS, *(() if command == "worker" else _WORKER_DOORS)):
        if environment.get(name, "").strip():
            raise ConfigurationError(
                f"{name} is set, and `{command}` must not have it beside ENCRYPTION_KEY: whoever read both could open"
                " every credential. Keep it where it is needed, and unset it here."
            )


def _is_publishable(key: str) -> bool:
    """Whether a key may be shown to anybody: a publishable one, or a legacy one, a JWT that names the role `anon`."""
    if _PUBLISHABLE_KEY.fullmatch(key):
        return True
    parts = key.split(".")
    try:
        claims = orjson.loads(base64url.decode(parts[1])) if len(parts) == 3 else {}
    except ValueError:
        return False
    return isinstance(claims, dict) and claims.get("role") == "anon"


_WHAT: Final = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "bool_parsing": "must be true or false",
}
"""By pydantic's type of a mistake."""
_OURS: Final = {"Value error, ": "", "Input should be ": "must be "}
_PYDANTICS_OPENING: Final = re.compile("|".join(f"^{opening}" for opening in _OURS))


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        what = _WHAT.get(problem["type"]) or _PYDANTICS_OPENING.sub(lambda found: _OURS[found[0]], problem["msg"])
        advice = f" {_ADVICE[name]}" if name in _ADVICE else ""
        lines.append(f"{name} {what}.{advice}".strip().replace("..", "."))
    return "\n".join(lines)
