"""Where a request to a service goes: always to the base URL of the catalogue, whatever the path says."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from .errors import InvalidValueError, ServiceNotConfiguredError
from .outgoing_path import QueryParams, checked_path, parsed_query, path_template, query_pairs, written_query
from .service import ServiceDefinition

TOKEN_PARAMETERS: Final = frozenset({"access_token", "appsecret_proof"})
"""RFC 6750 §2.3 and Meta's signature: this system adds them itself, and never takes them from elsewhere."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address at a service: `path` is encoded, relative to the origin; `query` are decoded pairs."""

    origin: str
    path: str = field(repr=False)
    query: tuple[tuple[str, str], ...] = field(repr=False)
    template: str
    """The path for logs, relative to the base URL, without what may be an id."""

    def url(self, more: Collection[tuple[str, str]] = ()) -> str:
        """The whole address, with further parameters."""
        pairs = (*self.query, *more)
        return f"{self.origin}{self.path}?{written_query(pairs)}" if pairs else self.origin + self.path


def target(service: ServiceDefinition, tenant: str, path: str, params: QueryParams | None = None) -> Target:
    """The address of `path` at a service.

    `path` is relative to the catalogue's base URL and may have a query; or it is an absolute URL of exactly the base
    URL's origin, as services write into their paging links. The tenant is checked anew. Parameters that carry a token
    are dropped wherever they come from. Raises InvalidValueError.
    """
    base = base_url(service, tenant)
    relative, _, query = path.partition("?")
    if "#" in path:
        raise InvalidValueError("path", "The path must have no fragment.")
    prefix = base.path.rstrip("/")
    if "://" in relative and not relative.startswith("/"):
        found = _path_of_absolute(base, relative)
        template = path_template(found.removeprefix(prefix) or "/")
    else:
        checked = checked_path(relative)
        found, template = prefix + checked, path_template(checked)
    dropped = dropped_parameters(service)
    pairs = [
        (name, value)
        for name, value in [*parsed_query(query), *query_pairs(params)]
        if parameter_name(name) not in dropped
    ]
    return Target(f"{base.scheme}://{base.netloc}", found, tuple(pairs), template)


def base_url(service: ServiceDefinition, tenant: str) -> SplitResult:
    """The base URL with its tenant, checked before every request. Raises InvalidValueError, and
    ServiceNotConfiguredError where the catalogue has none.
    """
    if not service.api_base_url:
        raise ServiceNotConfiguredError(f"The catalogue has no api_base_url for {service.display_name}.")
    url = service.url(service.api_base_url, tenant)
    try:
        parts = urlsplit(url)
        is_base = "@" not in parts.netloc and not parts.query and not parts.fragment and parts.port != 0
    except ValueError:
        is_base = False
    if not is_base:
        raise InvalidValueError(f"config.{service.tenant_param}", "The tenant must be no more than its part of a URL.")
    return parts


def dropped_parameters(service: ServiceDefinition) -> frozenset[str]:
    """The parameters that carry a token to this service, in the form that `parameter_name` gives."""
    kind, _, name = service.api_auth.partition(":")
    return TOKEN_PARAMETERS | {parameter_name(name)} if kind in ("query", "body") else TOKEN_PARAMETERS


def parameter_name(name: str) -> str:
    """A parameter's name as the most forgiving server reads it: `METHOD[]` and ` method` are `method`."""
    return name.partition("\0")[0].strip().partition("[")[0].casefold().replace(".", "_").replace(" ", "_")


def same_origin(one: SplitResult, other: SplitResult) -> bool:
    """Whether two URLs have one origin, and no user name in the first. Raises ValueError for a port that is none."""
    return _origin(one) == _origin(other) and "@" not in one.netloc


def _path_of_absolute(base: SplitResult, url: str) -> str:
    try:
        given = urlsplit(url)
        is_same = same_origin(given, base)
    except ValueError:
        is_same = False
    if not is_same:
        raise InvalidValueError("path", "An absolute URL must have the service's own origin.")
    return checked_path(given.path or "/")


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
