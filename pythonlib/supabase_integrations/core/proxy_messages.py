"""What of a caller's request goes on to a service, and what of the service's answer comes back."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from .api_auth import FORM
from .errors import InvalidValueError
from .outgoing import dropped_parameters, parameter_name, same_origin
from .outgoing_headers import shown_headers
from .outgoing_path import checked_path, parsed_query, written_query
from .proxy_rules import overrides_method
from .redaction import Redactor
from .service import ServiceDefinition

UPSTREAM_STATUS: Final = "integrations-upstream-status"
"""In every answer that is the service's own, and in none of ours."""
_SAFE: Final = (
    ("cache-control", "no-store"),
    ("content-security-policy", "sandbox; default-src 'none'"),
    ("x-content-type-options", "nosniff"),
)
"""A service's page is nobody's script on this origin."""
_UNKNOWN: Final = "application/octet-stream"
_MEDIA_TYPE: Final = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
"""With other parameters, some servers may see another type in it."""


@dataclass(frozen=True, slots=True)
class ProxyHead:
    """A caller's request without its body: `path` as it was written, from the slash after `proxy` on; header names in
    small letters; `prefix` is where the proxy of this connection is.
    """

    method: str
    path: str = field(repr=False)
    query: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    prefix: str

    @property
    def content_type(self) -> str:
        """What the body is said to be. Some servers read a form whatever stands beside that word, and where nothing
        stands at all.
        """
        types = ", ".join(value for name, value in self.headers if name == "content-type" and value)
        return FORM if FORM in types.lower() else types or _UNKNOWN


def passed_parameters(service: ServiceDefinition, query: str) -> list[tuple[str, str]]:
    """A caller's parameters without those that would carry a token or change the method. Raises InvalidValueError."""
    dropped = dropped_parameters(service)
    return [
        (name, value)
        for name, value in parsed_query(query)
        if parameter_name(name) not in dropped and not overrides_method(name, value)
    ]


def passed_form(service: ServiceDefinition, body: bytes) -> bytes:
    """A form with the same left out. Raises InvalidValueError."""
    try:
        return written_query(passed_parameters(service, body.decode("ascii"))).encode()
    except UnicodeDecodeError:
        raise InvalidValueError("body", f"The body is not {FORM}.") from None


def check_body_type(service: ServiceDefinition, content_type: str) -> None:
    """Raise InvalidValueError for a body of a type that the service's catalogue entry does not name."""
    found = _MEDIA_TYPE.fullmatch(content_type)
    if service.proxy_body_types and (found is None or found[1].lower() not in service.proxy_body_types):
        taken = " or ".join(service.proxy_body_types)
        raise InvalidValueError("content-type", f"Bodies for {service.display_name} must be {taken}.")


def answered_headers(
    service: ServiceDefinition,
    status: int,
    headers: Iterable[tuple[str, str]],
    redactor: Redactor,
    location: str | None,
) -> list[tuple[str, str]]:
    """The headers of an answer: what a caller may see of the service's, without secrets, and what keeps it harmless."""
    shown = [(name, redactor.text(value)) for name, value in shown_headers(headers, service)]
    moved = [("location", redactor.text(location))] if location else []
    return [*shown, *moved, *_SAFE, (UPSTREAM_STATUS, str(status))]


def location_here(service: ServiceDefinition, base: SplitResult, path: str, location: str, prefix: str) -> str | None:
    """Where a service's Location is behind the proxy; None for one that leads elsewhere.

    `path` is that of the request, relative to the base URL.
    """
    root = f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}"
    try:
        given = urlsplit(urljoin(root + path, location))
        inside = same_origin(given, base) and given.path.startswith(f"{base.path.rstrip('/')}/")
        checked = checked_path(given.path) if inside else ""
        pairs = passed_parameters(service, given.query)
    except (ValueError, InvalidValueError):
        return None
    if not checked:
        return None
    query = f"?{written_query(pairs)}" if pairs else ""
    return prefix + checked.removeprefix(base.path.rstrip("/")) + query
