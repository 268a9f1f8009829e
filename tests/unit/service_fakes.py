"""A third-party service in memory, for unit tests: it answers as a test wants and remembers what it was sent."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import orjson

from supabase_integrations.port_service_http import HeaderPairs, ServiceCall, ServiceRequest

Part = bytes | Exception


@dataclass
class FakeExchange:
    """Implements `port_service_http.ServiceExchange`; an exception among the parts is raised in its place."""

    status: int = 200
    headers: HeaderPairs = ()
    parts: Sequence[Part] = (b"{}",)
    closed: int = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def close(self) -> None:
        self.closed += 1


def answering(status: int = 200, body: object = None, **headers: str) -> FakeExchange:
    """A JSON reply; underscores in header names stand for hyphens."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return FakeExchange(status, (("content-type", "application/json"), *pairs), (orjson.dumps(body),))


@dataclass(frozen=True)
class Sent:
    """A request as the service got it, its body read to the end."""

    request: ServiceRequest
    body: bytes

    @property
    def url(self) -> str:
        return self.request.url

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.request.headers)


Responder = Callable[[Sent], FakeExchange]


@dataclass
class FakeServiceHttp:
    """Implements `port_service_http.ServiceHttp`; an exception is raised instead of an answer."""

    respond: Responder = lambda _: answering()
    sent: list[Sent] = field(default_factory=list)
    answers: list[FakeExchange] = field(default_factory=list)

    async def open(self, request: ServiceRequest) -> FakeExchange:
        body = request.body or b""
        if not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])
        self.sent.append(Sent(request, body))
        answer = self.respond(self.sent[-1])
        self.answers.append(answer)
        return answer


@dataclass
class FakeCallLog:
    """Implements `port_service_http.CallLog`."""

    calls: list[ServiceCall] = field(default_factory=list)

    def called(self, call: ServiceCall) -> None:
        self.calls.append(call)
