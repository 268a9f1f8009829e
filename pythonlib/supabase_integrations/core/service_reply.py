"""What a service answered, as a whole."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .errors import ProviderUnavailableError


@dataclass(frozen=True, slots=True)
class ServiceReply:
    """A reply as a whole; header names are in small letters. Its repr shows the status alone."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ProviderUnavailableError where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise ProviderUnavailableError("The service answered with something that is not JSON.") from None


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name, those of one name joined as RFC 9110 §5.3 says."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
