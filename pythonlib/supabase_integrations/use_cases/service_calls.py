"""Calling a service for one connection: opened, authorized, sent once, logged; and once more after a refused token.

How often and when is the caller's to decide: `IntegrationClient` queues and repeats, the proxy does not.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final

from ..core.api_auth import with_fields
from ..core.credentials import OAuthCredentials
from ..core.errors import BodyTooLargeError, IntegrationError, ReplyTooLargeError
from ..core.outgoing import target
from ..core.outgoing_path import QueryParams
from ..core.secret import SecretStr
from ..port import Clock
from ..port_service_http import CallLog, RequestBody, ServiceCall, ServiceExchange, ServiceHttp, ServiceRequest
from .open_connections import Door, OpenConnection, OpenConnections
from .rate_limiter import RateLimiter

_MAX_BUFFERED_BODY: Final = 16 * 1024 * 1024
"""Of a body that has to be held as a whole, because the service takes its key in it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is asked for; header names are in small letters."""

    method: str
    path: str = field(repr=False)
    params: QueryParams | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: RequestBody = field(default=None, repr=False)

    @property
    def is_repeatable(self) -> bool:
        """Whether the body can be sent again; a stream is gone once it was read."""
        return self.body is None or isinstance(self.body, bytes)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply whose body is still to come, and what it must not show."""

    exchange: ServiceExchange
    connection: OpenConnection
    secrets: tuple[SecretStr, ...]
    was_renewed: bool = False
    """The reply refuses a token that has been renewed since: the next call has another one."""


class ServiceCalls:
    """Sends calls, for whoever holds a door to a connection."""

    def __init__(
        self, connections: OpenConnections, limiter: RateLimiter, http: ServiceHttp, log: CallLog, clock: Clock
    ) -> None:
        self.connections = connections
        self.limiter = limiter
        self.clock = clock
        self._http = http
        self._log = log

    async def send(self, door: Door, call: Call, *, attempt: int = 1) -> Answer:
        """Send a call, and where its token is refused with 401, renew that once and send it again.

        A body that cannot be sent again is answered as the service did; the token is renewed all the same. Close the
        answer's exchange. Raises InvalidValueError, ProviderUnavailableError, RateLimitedError (for the second
        sending), and what opening and renewing raise.
        """
        connection = await self.connections.get(door)
        answer = await self._send_once(connection, call, attempt)
        credentials = connection.opened.payload.credentials
        if answer.exchange.status != 401 or not isinstance(credentials, OAuthCredentials):
            return answer
        try:
            renewed = await self.connections.renewed(door, connection)
        except BaseException:
            await answer.exchange.close()
            raise
        if renewed.opened.payload.credentials == credentials:
            return answer
        if not call.is_repeatable:
            return replace(answer, was_renewed=True)
        await answer.exchange.close()
        await self.limiter.acquire(renewed.service.name, account=renewed.account)
        again = await self._send_once(renewed, call, attempt)
        return replace(again, secrets=(*again.secrets, *answer.secrets))

    async def _send_once(self, connection: OpenConnection, call: Call, attempt: int) -> Answer:
        service, shown = connection.service, connection.authorization
        address = target(service, connection.tenant, call.path, call.params)
        headers, body = {**service.public_headers, **call.headers, **shown.headers}, call.body
        if shown.fields:
            whole = await whole_body(body)
            body, headers["content-type"] = with_fields(whole, headers.get("content-type", ""), shown.fields)
        request = ServiceRequest(call.method, address.url(shown.parameters), headers, body)

        began = perf_counter()

        def logged(status: int | None, error: str | None) -> None:
            self._log.called(
                ServiceCall(
                    service_name=service.name,
                    integration_id=connection.integration.id,
                    method=call.method,
                    path_template=address.template,
                    status=status,
                    error=error,
                    seconds=perf_counter() - began,
                    attempt=attempt,
                )
            )

        try:
            exchange = await self._http.open(request)
        except IntegrationError as error:
            logged(None, error.code)
            raise
        logged(exchange.status, None)
        # A tenant's host may be anybody's, and then says nothing about the accounts of others.
        speaks_for_all = not service.tenant_param
        self.limiter.observe(service.name, connection.account, _usage(exchange), speaks_for_all=speaks_for_all)
        return Answer(exchange, connection, shown.secrets)


def _usage(exchange: ServiceExchange) -> dict[str, str]:
    """The headers that may say how much is left. With another status than a refusal's, Retry-After is about one thing:
    when a job may be done, or a page back.
    """
    headers = dict(exchange.headers)
    if exchange.status < 400:
        headers.pop("retry-after", None)
    return headers


async def whole_body(body: RequestBody, max_bytes: int = _MAX_BUFFERED_BODY) -> bytes:
    """A body as a whole. Raises BodyTooLargeError."""
    if body is None or isinstance(body, bytes):
        return body or b""
    try:
        return await collected(body, max_bytes)
    except ReplyTooLargeError:
        raise BodyTooLargeError from None


async def collected(chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    """Everything a stream brings. Raises ReplyTooLargeError where that is more than `max_bytes`."""
    parts, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise ReplyTooLargeError(f"The service's answer is larger than {max_bytes} bytes.")
        parts.append(chunk)
    return b"".join(parts)
