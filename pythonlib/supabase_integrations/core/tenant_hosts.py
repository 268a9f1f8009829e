"""Hosts that are built from a tenant, which a user names: whose they may be."""

import re
from typing import Final
from urllib.parse import urlsplit

_TRIED_DOMAINS: Final = ("example", "com", "net", "org", "io", "dev", "app", "co.uk", "cloud", "xyz")
_LABELS: Final = ("a", "attacker", "xn--a", "a.b", "a1")
_ANYBODYS: Final = (*(f"{label}.{domain}" for label in _LABELS for domain in _TRIED_DOMAINS), "localhost", "127.0.0.1")


def check_pattern(pattern: str) -> None:
    """Raise ValueError for what is no anchored regular expression."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise ValueError("tenant_pattern must be anchored: ^…$")
    try:
        re.compile(pattern)
    except re.error:
        raise ValueError("tenant_pattern is not a regular expression") from None


def is_anybodys_host(url: str, tenant_param: str, tenant_pattern: str) -> bool:
    """Whether a user could name a host of their own as the tenant of this URL.

    Where the tenant ends the host, its pattern has to pin the domain: it is tried with hosts that anybody could own.
    """
    if not tenant_pattern:
        return False
    host = urlsplit(url.replace(f"{{{tenant_param}}}", "tenant")).hostname or ""
    return host.endswith("tenant") and any(re.fullmatch(tenant_pattern, stranger) for stranger in _ANYBODYS)
