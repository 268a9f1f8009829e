"""What calling a service needs of the outside world: exchanges whose bodies are streams, and a log of calls."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from uuid import UUID

RequestBody: TypeAlias = bytes | AsyncIterator[bytes] | None
HeaderPairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One request, complete. Its repr shows the method alone."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: RequestBody = field(default=None, repr=False)


class ServiceExchange(Protocol):
    """A reply whose head has come. Close it, or the connection is lost."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> HeaderPairs:
        """All headers as they came, names in small letters."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ProviderUnavailableError where it breaks off or pauses for too long."""
        ...

    async def close(self) -> None:
        """Give the connection back, or end it where the body was not read to its end. Twice does no harm."""
        ...


class ServiceHttp(Protocol):
    """Sends requests to services, and streams both bodies."""

    async def open(self, request: ServiceRequest) -> ServiceExchange:
        """Send a request once, without following redirects, and return when the head of the reply has come.

        Raises ProviderUnavailableError where none came or the address is not one that may be called.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One outgoing call, as it is logged: nothing of query, headers or bodies."""

    service_name: str
    integration_id: UUID
    method: str
    path_template: str
    status: int | None
    """None where no reply came; `error` then says why."""
    error: str | None
    seconds: float
    """Until the head of the reply had come."""
    attempt: int


class CallLog(Protocol):
    """Is told of every call."""

    def called(self, call: ServiceCall) -> None:
        """A reply's head has come, or none did."""
        ...
