"""Which headers go to a service and which come back: never who the caller is, never how they reached us."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from .api_auth import auth_header_names
from .errors import InvalidValueError
from .service import ServiceDefinition

HeaderPairs: TypeAlias = Iterable[tuple[str, str]]

HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade", "http2-settings"),
    }
)
"""RFC 9110 §7.6.1, with what older proxies say."""
_FRAMING: Final = frozenset({"host", "content-length", "content-encoding", "expect", "accept-encoding"})
"""The HTTP client writes these itself. Compressed replies are not asked for: a secret in them could not be found."""
_OF_THE_CALLER: Final = frozenset(
    {
        *("authorization", "cookie", "cookie2", "set-cookie", "apikey", "origin", "referer", "user-agent", "from"),
        *("forwarded", "via", "client-ip", "true-client-ip", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "dnt"),
        *("x-request-id", "x-correlation-id", "traceparent", "tracestate", "baggage", "x-csrf-token", "x-xsrf-token"),
        *("x-client-info", "x-requested-with", "priority", "upgrade-insecure-requests", "cdn-loop", "x-wap-profile"),
        *("access-control-request-method", "access-control-request-headers", "x-amz-cf-id", "fly-client-ip"),
    }
)
_READ_TWICE: Final = frozenset(
    {
        *("x-original-url", "x-original-uri", "x-rewrite-url", "x-original-host", "x-host", "x-forwarded", "proxy"),
        *("a-im", "accept-charset", "want-digest", "want-content-digest", "want-repr-digest"),
    }
)
"""What makes of a request another one than was allowed. Parts of a reply and other charsets would hide a secret."""
_OVERRIDE: Final = re.compile(r"method|override|-verb$")
"""One meaning in too many spellings to list: `X-HTTP-Method-Override`, `Method-Override`, `X-HTTP-Verb`."""
_PART: Final = re.compile(r"^range$|(?<!content)-range$")
"""`Range`, and what asks for a part in its place: `Request-Range`, `X-MS-Range`. An upload's part is not meant."""
_PREFIXES: Final = (
    *("x-forwarded-", "x-envoy-", "x-amzn-", "x-vercel-", "x-supabase-", "x-middleware-", "x-nf-", "x-arr-"),
    *(
        "cf-",
        "fly-",
        "fastly-",
        "sec-",
        "proxy-",
        "x-appengine-",
        "x-cloud-trace-",
        "x-b3-",
        "x-azure-",
        "x-ms-forward",
    ),
)
_SHOWN: Final = frozenset(
    {
        *("content-type", "content-language", "content-disposition", "content-range", "accept-ranges", "allow"),
        *("etag", "last-modified", "retry-after", "link", "deprecation", "sunset", "warning"),
    }
)
"""Not Date: our server writes its own, and there may be one."""
_SHOWN_PREFIXES: Final = ("x-ratelimit-", "x-rate-limit-", "ratelimit")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""A server that is asked to send one hangs up instead."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def proxied_headers(headers: HeaderPairs, service: ServiceDefinition) -> dict[str, str]:
    """Of a caller's headers (names in small letters) those that go on to the service."""
    pairs = list(headers)
    named = {name.strip().lower() for key, value in pairs if key == "connection" for name in value.split(",")}
    # CGI makes one variable of X-A and X_A.
    own = {name.replace("_", "-") for name in auth_header_names(service)}
    found: dict[str, str] = {}
    for name, value in pairs:
        meant = name.replace("_", "-")
        dropped = meant in own or name in named or _never_sent(meant) or meant.startswith(_PREFIXES)
        if not dropped:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def app_headers(headers: Mapping[str, str] | None, service: ServiceDefinition) -> dict[str, str]:
    """Headers that the app's own code adds to a call, with names in small letters.

    Raises InvalidValueError for what the client writes itself and for what HTTP cannot carry.
    """
    checked: dict[str, str] = {}
    for given, value in (headers or {}).items():
        name = given.lower()
        if name in HOP_BY_HOP or name in _FRAMING or name == "cookie" or name in auth_header_names(service):
            raise InvalidValueError("headers", f"{given!r} is a header that the client writes itself.")
        if not _NAME.fullmatch(given) or not _VALUE.fullmatch(value):
            raise InvalidValueError("headers", "A header's name or value is not one that HTTP can carry.")
        checked[name] = value
    return checked


def shown_headers(headers: HeaderPairs, service: ServiceDefinition) -> list[tuple[str, str]]:
    """Of a service's headers (names in small letters) those that its caller may read."""
    own = {name.lower() for name in service.rate_limit_headers}
    return [
        (name, value)
        for name, value in headers
        if (name in _SHOWN or name in own or name.startswith(_SHOWN_PREFIXES)) and not _CONTROL.search(value)
    ]


def _never_sent(name: str) -> bool:
    listed = name in HOP_BY_HOP or name in _FRAMING or name in _OF_THE_CALLER or name in _READ_TWICE
    return listed or _OVERRIDE.search(name) is not None or _PART.search(name) is not None
