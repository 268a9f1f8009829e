"""A request to a third-party service and its reply, as values. Their reprs show nothing that could hold a secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_WAIT: Final = timedelta(days=1)
_SECONDS: Final = re.compile(r"([0-9]+)((?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. Query, headers and body stay out of its repr."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One reply. Header names are lower-case; the repr shows the status alone."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait a Retry-After header asks for, in either of its forms (RFC 9110 §10.2.3), at most a day; with a fraction
    of a second where it has one, as Shopify's do.

    None without a usable one.
    """
    value = headers.get("retry-after", "").strip()
    if seconds := _SECONDS.fullmatch(value):
        return min(timedelta(seconds=float(seconds[1][:9] + seconds[2][:4])), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)
