"""Calls of one connection's service: credentials, rate limit, retries and errors in one object.

    async with user.client(integration_id) as api:
        contacts = (await api.get("/crm/v3/objects/contacts", params={"limit": 100})).json()

The token is renewed by itself, also while a client is in use for hours. Nothing of it is ever shown.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Self, TypeAlias, TypedDict, TypeVar, Unpack

import orjson

from ..core.credentials import OAuthCredentials
from ..core.errors import (
    CredentialsRejectedError,
    InvalidValueError,
    ReauthorizationRequiredError,
    ServiceError,
)
from ..core.models import Integration
from ..core.outgoing_headers import app_headers
from ..core.outgoing_path import QueryParams
from ..core.retry_policy import is_throttled, may_repeat
from ..core.service import ServiceDefinition
from ..core.service_reply import ServiceReply, joined
from ..port_service_http import RequestBody
from .open_connections import Door, OpenConnection
from .retry import retry_if
from .service_calls import Answer, Call, ServiceCalls
from .whole_replies import refusal_of, require_success, whole

T = TypeVar("T")

IDEMPOTENCY_KEY: Final = "idempotency-key"
_ACCEPT: Final = "application/json, */*;q=0.5"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


Check: TypeAlias = Callable[[ServiceReply], None]
"""Looks at a reply before its status is looked at, and raises for what a service says in a way of its own."""


class CallOptions(TypedDict, total=False):
    """The keyword arguments of `IntegrationClient.request` and `stream`."""

    json: Any
    content: RequestBody
    params: QueryParams | None
    headers: Mapping[str, str] | None
    idempotency_key: str | None
    is_read: bool
    check: Check | None


class StreamedReply:
    """A reply whose body comes in chunks; made by `IntegrationClient.stream`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status = answer.exchange.status
        self.headers: Mapping[str, str] = joined(answer.exchange.headers)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, as often as it is asked for. Raises ProviderUnavailableError where it breaks off."""
        return self._answer.exchange.chunks()


class IntegrationClient:
    """One connection, ready to be called. Use it as an async context manager; it may serve many calls at a time.

    Made by `client(…)` of a user's or the worker's integrations.
    """

    def __init__(self, door: Door, calls: ServiceCalls, *, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self._door = door
        self._calls = calls
        self._before = before
        self._opened: OpenConnection | None = None

    async def __aenter__(self) -> Self:
        """Open the connection. Raises as `Refresher.fresh` does."""
        if self._before is not None:
            await self._before()
        self._opened = await self._calls.connections.get(self._door)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._opened = None

    @property
    def integration(self) -> Integration:
        """The row, as it was when it was last read."""
        return self._connection.integration

    @property
    def service(self) -> ServiceDefinition:
        """The service that is called."""
        return self._connection.service

    @property
    def account(self) -> str:
        """The account the service counts calls for, as the rate limiter knows it."""
        return self._connection.account

    def slow_down(self, wait: float | timedelta) -> None:
        """Start no call of this account within so many seconds, for what a service says in a body of its own."""
        self._calls.limiter.penalise(self.service.name, self.account, wait)

    async def get(self, path: str, **options: Unpack[CallOptions]) -> ServiceReply:
        """GET, see `request`."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Unpack[CallOptions]) -> ServiceReply:
        """POST, see `request`. Without an idempotency key it is repeated only where the service refused it unread."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Unpack[CallOptions]) -> ServiceReply:
        """PUT, see `request`."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Unpack[CallOptions]) -> ServiceReply:
        """PATCH, see `request`. Repeated as POST is."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Unpack[CallOptions]) -> ServiceReply:
        """DELETE, see `request`."""
        return await self.request("DELETE", path, **options)

    async def request(self, method: str, path: str, **options: Unpack[CallOptions]) -> ServiceReply:
        """Call the service and return its whole reply, of a status below 400; redirects are not followed.

        Args:
            method: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
            path: relative to the catalogue's base URL; or an absolute URL of exactly its origin, as in paging links.
            json: sent as JSON; `content`, bytes or a stream of bytes, is sent as it is. A stream is sent once.
            params: of the query; a list becomes one parameter for each of its values.
            headers: further ones. The client writes those that authorize and frame the request.
            idempotency_key: sent as `Idempotency-Key`; a POST with one is repeated like a GET.
            is_read: says of a POST that it only asks, as a search does: it is repeated like a GET.
            check: looks at every reply first (with `stream`, at a refusal) and may raise: ServiceRateLimitedError
                queues the call again, CredentialsRejectedError renews the token as a 401 does.

        Raises:
            InvalidValueError: the path, a header or a body is not one that can be sent.
            ServiceError: the service refused the call; `status`, `body` and `retry_after` say more.
            ServiceRateLimitedError: with 429, and waiting for it would take too long.
            RateLimitedError: this server's own limit, and waiting for it would take too long.
            ReauthorizationRequiredError: the service no longer accepts the connection.
            CredentialsRejectedError: the same for a key or a password.
            ProviderUnavailableError: no whole reply came.
            ReplyTooLargeError: more than 64 MiB came, or than 4 MiB from a host that a user named; use `stream`.
        """
        check, call = options.get("check"), self._call(method, path, options)

        async def attempt(number: int) -> ServiceReply:
            answer, reply = await self._exchange(call, number)
            if check is not None and reply.status != 401:
                try:
                    check(reply)
                except CredentialsRejectedError:
                    answer = await self._send_renewed(call, number, answer)
                    reply = await whole(answer)
                    _check_again(check, reply)
            require_success(answer, reply, self._calls.clock.now())
            return reply

        return await self._repeatedly(call, attempt, is_read=options.get("is_read", False))

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Unpack[CallOptions]) -> AsyncIterator[StreamedReply]:
        """Call the service and read its reply while it comes; arguments and errors are those of `request`.

        Repeated is what fails before the reply's head has come.
        """
        check, call = options.get("check"), self._call(method, path, options)

        async def attempt(number: int) -> Answer:
            answer = await self._calls.send(self._door, call, attempt=number)
            refusal = await refusal_of(answer)
            if check is not None and refusal is not None and refusal.status != 401:
                try:
                    check(refusal)
                except CredentialsRejectedError:
                    answer = await self._send_renewed(call, number, answer)
                    refusal = await refusal_of(answer)
                    if refusal is not None:
                        _check_again(check, refusal)
            if refusal is not None:
                require_success(answer, refusal, self._calls.clock.now())
            return answer

        answer = await self._repeatedly(call, attempt, is_read=options.get("is_read", False))
        try:
            yield StreamedReply(answer)
        finally:
            await answer.exchange.close()

    @property
    def _connection(self) -> OpenConnection:
        if self._opened is None:
            raise RuntimeError("Use the client inside its `async with` block.")
        return self._opened

    def _call(self, method: str, path: str, options: CallOptions) -> Call:
        if method.upper() not in _METHODS:
            raise InvalidValueError("method", "The method is not one of HTTP's that services take.")
        headers, content = {"accept": _ACCEPT, **(options.get("headers") or {})}, options.get("content")
        key, json = options.get("idempotency_key"), options.get("json")
        if key is not None:
            headers[IDEMPOTENCY_KEY] = key
        sent = app_headers(headers, self.service)
        if json is not None:
            if content is not None:
                raise InvalidValueError("body", "Give either json or content.")
            content = orjson.dumps(json)
            sent.setdefault("content-type", "application/json")
        return Call(method.upper(), path, options.get("params"), sent, content)

    async def _exchange(self, call: Call, number: int) -> tuple[Answer, ServiceReply]:
        answer = await self._calls.send(self._door, call, attempt=number)
        return answer, await whole(answer)

    async def _send_renewed(self, call: Call, number: int, refusal: Answer) -> Answer:
        """Once more with a renewed token, where a service refuses one in another way than with 401."""
        refused = refusal.connection
        if not isinstance(refused.opened.payload.credentials, OAuthCredentials):
            raise CredentialsRejectedError
        renewed = await self._calls.connections.renewed(self._door, refused)
        if not call.is_repeatable:
            raise ServiceError(refusal.exchange.status)
        await self._calls.limiter.acquire(renewed.service.name, account=renewed.account)
        return await self._calls.send(self._door, call, attempt=number)

    async def _repeatedly(self, call: Call, attempt: Callable[[int], Awaitable[T]], *, is_read: bool) -> T:
        """Take turns with the account's other calls, and try again what may be tried again."""
        attempts, has_key = 0, IDEMPOTENCY_KEY in call.headers

        async def counted() -> T:
            nonlocal attempts
            attempts += 1
            return await attempt(attempts)

        async def in_turn() -> T:
            opened = self._opened = await self._calls.connections.get(self._door)
            if not call.is_repeatable:
                await self._calls.limiter.acquire(opened.service.name, account=opened.account)
                return await counted()
            return await self._calls.limiter.throttle(opened.service.name, counted, account=opened.account)

        def again(error: Exception) -> bool:
            # A 429 has been in the queue again already, as often as its rules allow.
            return (
                call.is_repeatable
                and not is_throttled(error)
                and may_repeat("GET" if is_read else call.method, error, has_idempotency_key=has_key)
            )

        return await retry_if(in_turn, again, sleep=self._calls.clock.sleep)


def _check_again(check: Check, reply: ServiceReply) -> None:
    try:
        check(reply)
    except CredentialsRejectedError:
        raise ReauthorizationRequiredError from None
