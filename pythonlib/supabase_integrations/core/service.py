"""One third-party service as data: where it authorizes, how it wants to be asked, and how an account is told from
another.

The field names are OAuth's (RFC 6749, 7009, 7636, 7662, 8414, 9207) and are the keys of the catalogue files.
"""

import re
import string
from functools import cached_property
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from .errors import InvalidValueError
from .models import ServiceType
from .proxy_rule import ProxyRule
from .rate_limit_rule import RateLimitRule
from .revocation_rule import RevocationRule
from .service_kinds import AccountSource, AuthKind, LimitScope, RefreshKind, TokenEndpointAuth
from .tenant_hosts import check_pattern, is_anybodys_host

MAX_TENANT_LENGTH: Final = 255
MAX_LABEL_LENGTH: Final = 63
"""Of one label of a host name (RFC 1035 §2.3.4); a tenant may become one."""
PROTOCOL_PARAMETERS: Final = frozenset(
    {
        *("client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "dpop_jkt"),
        *("grant_type", "nonce", "redirect_uri", "request", "request_uri", "response_mode", "response_type"),
        *("scope", "state"),
    }
)
"""Authorize parameters that the protocol owns: no caller may set them, whatever a service's allow-list says."""

_NOT_IN_A_TENANT: Final = frozenset("/?#@%\\ \t\r\n&;")
"""What would end the host, or begin another part of the URL that a tenant is built into."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ENDPOINTS: Final = (
    *("authorization_endpoint", "token_endpoint", "refresh_endpoint", "revocation_endpoint"),
    *("introspection_endpoint", "uninstall_endpoint", "api_base_url"),
)

_API_AUTH: Final = r"^(bearer|basic|header:[A-Za-z0-9_.-]+(=[A-Za-z0-9_-]+)?|(query|body):[A-Za-z0-9_.-]+)$"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=128)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$", max_length=128)]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^(\$\{[A-Z][A-Z0-9_]*\}|[!-#%-~]+)$", max_length=128)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AccountRule(_Entry):
    """How to identify the account: a `source`, the `field` of its id (dots descend) and, where there is one, of its
    name.

    `request` is `GET path-or-URL`, relative to `api_base_url`; it belongs to the source `request` alone.
    """

    source: AccountSource
    field: str = ""
    name_field: str = ""
    request: Annotated[str, StringConstraints(pattern=r"^(GET (/|https?://)\S+)?$")] = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.source is AccountSource.REQUEST) != bool(self.request):
            raise ValueError("request = 'GET /path' belongs to source = request, and only there")
        if (self.source is AccountSource.TENANT) == bool(self.field):
            raise ValueError("field is needed, except with source = tenant")
        return self


class ServiceDefinition(_Entry):
    """A catalogue entry. Endpoints may contain `{<tenant_param>}`; names ending in `_s` are seconds."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    bases: tuple[str, ...] = ()
    display_name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    service_type: ServiceType
    auth: AuthKind = AuthKind.OAUTH2
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    refresh_endpoint: str = ""
    revocation_endpoint: str = ""
    revocation: RevocationRule = Field(default_factory=RevocationRule)
    introspection_endpoint: str = ""
    uninstall_endpoint: str = ""
    issuer: str = ""
    issuer_in_callback: Literal["required", "when_present"] = "required"
    scopes: tuple[str, ...] = ()
    scope_separator: Literal[" ", ","] = " "
    pkce: Literal["S256", "none"] = "none"
    token_endpoint_auth: TokenEndpointAuth = TokenEndpointAuth.POST
    token_request_format: Literal["form", "json"] = "form"
    authorization_params: dict[str, str] = Field(default_factory=dict)
    token_params: dict[str, str] = Field(default_factory=dict)
    allowed_authorization_params: frozenset[str] = frozenset()
    tenant_param: Name | Literal[""] = ""
    tenant_pattern: str = ""
    refresh: RefreshKind = RefreshKind.NONE
    refresh_grant: str = ""
    invalid_grant_errors: frozenset[str] = frozenset()
    exchange_on_connect: bool = False
    expires: bool = True
    access_token_lifetime_s: Annotated[int, Field(gt=0)] | None = None
    account_id_from: AccountRule | None = None
    callback_hmac: bool = False
    appsecret_proof: bool = False
    api_base_url: str = ""
    api_auth: Annotated[str, StringConstraints(pattern=_API_AUTH)] = "bearer"
    api_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    proxy: tuple[str, ...] = ("GET /**",)
    proxy_body_types: tuple[MediaType, ...] = ()
    rate_limit: RateLimitRule | None = None
    rate_limit_headers: tuple[str, ...] = ()
    health_check: str = ""
    docs: str = ""
    env: tuple[EnvironmentName, ...] = ()
    variables: dict[EnvironmentName, str] = Field(default_factory=dict)
    development_only: bool = False
    quirks: tuple[str, ...] = ()
    confidence: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.auth is AuthKind.OAUTH2 and not (self.authorization_endpoint and self.token_endpoint):
            raise ValueError("authorization_endpoint and token_endpoint are needed for auth = oauth2")
        for rule in self.proxy:
            ProxyRule.parse(rule)
        for name in _ENDPOINTS:
            _check_endpoint(name, getattr(self, name), self.tenant_param)
        if self.account_id_from and "://" in self.account_id_from.request:
            _check_endpoint("account_id_from", self.account_id_from.request.removeprefix("GET "), self.tenant_param)
        if bool(self.tenant_param) != bool(self.tenant_pattern):
            raise ValueError("tenant_param and tenant_pattern belong together")
        if self.tenant_pattern:
            check_pattern(self.tenant_pattern)
        if self.refresh is RefreshKind.EXCHANGE and not self.refresh_grant:
            raise ValueError("refresh_grant is needed for refresh = exchange")
        if self.callback_hmac and not self.tenant_param:
            raise ValueError("callback_hmac signs a tenant: tenant_param is needed with it")
        source = self.account_id_from.source if self.account_id_from else None
        if source is AccountSource.INTROSPECTION and not self.introspection_endpoint:
            raise ValueError("introspection_endpoint is needed for account_id_from with source = introspection")
        owned = self.allowed_authorization_params & (PROTOCOL_PARAMETERS | self.authorization_params.keys())
        if owned:
            raise ValueError(f"allowed_authorization_params may not hold {min(owned)}")
        return self

    @model_validator(mode="after")
    def _at_known_hosts(self) -> Self:
        if self.auth is AuthKind.OAUTH2:
            for name in ("token_endpoint", "refresh_endpoint", "revocation_endpoint", "introspection_endpoint"):
                if is_anybodys_host(getattr(self, name), self.tenant_param, self.tenant_pattern):
                    raise ValueError(
                        f"{name}: tenant_pattern must pin the domain, for the client secret is sent to that host"
                    )
        per = self.rate_limit.per if self.rate_limit else None
        if per is LimitScope.SERVICE and self.is_at_users_hosts:
            raise ValueError(
                "rate_limit: with per = service, tenant_pattern must pin the domain, for what a tenant's host says then"
                " slows down everybody"
            )
        return self

    @model_validator(mode="after")
    def _revocable(self) -> Self:
        if self.revocation_endpoint:
            self.revocation.check_place_of_secret(self.token_endpoint_auth)
        if self.revocation.names_account and (self.tenant_param or not self.account_id_from):
            raise ValueError("revocation names {account_id}: account_id_from is needed, and no tenant")
        return self

    @model_validator(mode="after")
    def _heard(self) -> Self:
        if self.api_headers.keys() & {"authorization", "cookie", "host", "content-type", "content-length"}:
            raise ValueError("api_headers may not hold headers that are written elsewhere")
        if self.secret_headers and not self.needs_client:
            raise ValueError("api_headers: ${…} is for services with a client of this server's own")
        return self

    @property
    def lineage(self) -> tuple[str, ...]:
        """The service and those it is based on, nearest first: whose habits it has."""
        return (self.name, *self.bases)

    @property
    def public_headers(self) -> dict[str, str]:
        """The headers that every request to the API has, such as a version."""
        return {name: value for name, value in self.api_headers.items() if not value.startswith("$")}

    @property
    def secret_headers(self) -> dict[str, str]:
        """Further ones whose values are the operator's: the setting of each."""
        return {name: value[2:-1] for name, value in self.api_headers.items() if value.startswith("$")}

    @property
    def client_id_name(self) -> str:
        """The setting that holds the client id: the `env` list says which, else `<SERVICE>_CLIENT_ID`."""
        default = self.env[0] if self.env else f"{self.name.upper()}_CLIENT_ID"
        return next((name for name in self.env if name.endswith("_CLIENT_ID")), default)

    @property
    def client_secret_name(self) -> str:
        """The setting that holds the client secret: the `env` list says which, else `<SERVICE>_CLIENT_SECRET`."""
        rest = [name for name in self.env if name != self.client_id_name]
        default = rest[0] if rest else f"{self.name.upper()}_CLIENT_SECRET"
        return next((name for name in rest if name.endswith("_SECRET")), default)

    @property
    def needs_client(self) -> bool:
        """Whether this server has to be registered at the service before users can connect it."""
        return self.auth in (AuthKind.OAUTH2, AuthKind.CLIENT_CREDENTIALS)

    @property
    def needs_tenant(self) -> bool:
        """Whether a connection cannot start before the tenant (such as a shop's host) is known."""
        built_from = (self.authorization_endpoint, self.token_endpoint)
        return bool(self.tenant_param) and (
            self.auth is not AuthKind.OAUTH2 or any(f"{{{self.tenant_param}}}" in url for url in built_from)
        )

    @cached_property
    def is_at_users_hosts(self) -> bool:
        """Whether users name the host that is called, so that what it answers may be anybody's.

        Found out once: the pattern is tried with some fifty hosts, and every whole reply asks.
        """
        return is_anybodys_host(self.api_base_url, self.tenant_param, self.tenant_pattern)

    def check_tenant(self, tenant: str) -> str:
        """The tenant, if it may be built into this service's URLs; '' where none is given and none is needed.

        `fullmatch`, not `match`: with `$` alone a trailing line break would pass. Raises InvalidValueError.
        """
        name = f"config.{self.tenant_param}"
        if not tenant:
            if self.needs_tenant:
                raise InvalidValueError(name, f"{self.display_name} needs {name}, matching {self.tenant_pattern}")
            return ""
        too_long = len(tenant) > MAX_TENANT_LENGTH or any(len(label) > MAX_LABEL_LENGTH for label in tenant.split("."))
        breaks_out = self.auth is AuthKind.OAUTH2 and not _NOT_IN_A_TENANT.isdisjoint(tenant)
        if too_long or breaks_out or not re.fullmatch(self.tenant_pattern, tenant):
            raise InvalidValueError(name, f"{name} does not match {self.tenant_pattern}")
        return tenant

    def url(self, template: str, tenant: str) -> str:
        """An endpoint with the tenant in its place; the tenant is checked again before every request built from it.

        Raises InvalidValueError.
        """
        if not self.tenant_param:
            return template
        checked = self.check_tenant(tenant)
        placeholder = f"{{{self.tenant_param}}}"
        if placeholder in template and not checked:
            raise InvalidValueError(f"config.{self.tenant_param}", f"{self.display_name} needs its {self.tenant_param}")
        return template.replace(placeholder, checked)


def _check_endpoint(name: str, url: str, tenant_param: str) -> None:
    if not url:
        return
    placeholders = {placeholder for _, placeholder, _, _ in string.Formatter().parse(url) if placeholder}
    foreign = placeholders - {tenant_param, "client_id"}
    if foreign:
        raise ValueError(f"{name} uses {{{min(foreign)}}}, which is not the tenant_param")
    parts = urlsplit(re.sub(r"\{\w+\}", "placeholder", url))
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not secure or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError(f"{name} must be an https URL (http only on loopback) without a user name or fragment")
