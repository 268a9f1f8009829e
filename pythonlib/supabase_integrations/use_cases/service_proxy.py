"""Passing a caller's request on to the service of one of their connections, without the token ever being seen.

Sent once: what the service answers is passed on, whatever it is. Only a token that it refuses is renewed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, ParamSpec, TypeVar

from ..core.api_auth import FORM
from ..core.errors import InvalidValueError, ProviderUnavailableError, ReplyTooLargeError
from ..core.outgoing import base_url
from ..core.outgoing_headers import proxied_headers
from ..core.outgoing_path import checked_path, segments
from ..core.proxy_messages import (
    ProxyHead,
    answered_headers,
    check_body_type,
    location_here,
    passed_form,
    passed_parameters,
)
from ..core.proxy_rules import ProxyRules
from ..core.redaction import Redactor
from ..core.service import ServiceDefinition
from ..port_service_http import RequestBody
from .open_connections import Door, OpenConnection
from .service_calls import Answer, Call, ServiceCalls, whole_body
from .user_allowances import UserAllowances
from .user_shares import UserShares

P = ParamSpec("P")
T = TypeVar("T")

_BODILESS: Final = frozenset({"GET", "HEAD"})
MAX_HELD_BYTES: Final = 256 * 1024
"""Of a body that is held as a whole and rewritten. Reading one takes up to eighty times its size while it lasts, so ten
megabytes of escapes would take most of a gigabyte.
"""
_QUICKLY_READ: Final = 64 * 1024
"""The largest form, in bytes, that takes a few milliseconds."""
_ESCAPES: Final = (b"%", b"\\", b"&")
_QUICKLY_UNESCAPED: Final = 2_000
"""Of them: the most that take a few milliseconds."""
_BESIDE: Final = ThreadPoolExecutor(1, thread_name_prefix="beside")
"""For what would keep the event loop: one at a time, so that it takes no more than half of the process."""
_UNREADABLE_CHARSETS: Final = (
    *("utf-16", "utf-32", "utf-7", "ucs-2", "ucs-4", "iso-10646", "unicode", "cp037", "ibm037", "ebcdic"),
)
"""In which a secret is written with other bytes than those that are looked for."""


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """The largest bodies that are passed on, in bytes."""

    max_request_bytes: int
    max_reply_bytes: int


class ProxyAnswer:
    """The service's answer, cleaned; its body is still to come. Close it."""

    def __init__(
        self,
        answer: Answer,
        headers: list[tuple[str, str]],
        redactor: Redactor,
        max_bytes: int,
        held: AsyncExitStack,
    ) -> None:
        self.status = answer.exchange.status
        self.headers = headers
        self._exchange = answer.exchange
        self._redactor = redactor
        self._max_bytes = max_bytes
        self._held = held

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ProviderUnavailableError where it breaks off, and ReplyTooLargeError."""
        size = 0
        async for chunk in self._exchange.chunks():
            size += len(chunk)
            if size > self._max_bytes:
                raise _too_large(self._max_bytes)
            if passed := await self._searched(chunk):
                yield passed
        if rest := self._redactor.finish():
            yield rest

    async def close(self) -> None:
        """End the exchange, and make room for another one."""
        await self._held.aclose()

    async def _searched(self, chunk: bytes) -> bytes:
        """A part without its secrets."""
        passed = self._redactor.feed_plain(chunk)
        if passed is not None:
            return passed
        if sum(map(chunk.count, _ESCAPES)) <= _QUICKLY_UNESCAPED:
            return self._redactor.search()
        return await _beside(self._redactor.search)


class ServiceProxy:
    """Passes calls on, where the rules allow them."""

    def __init__(
        self, calls: ServiceCalls, rules: ProxyRules, limits: ProxyLimits, services: Iterable[ServiceDefinition]
    ) -> None:
        self._calls = calls
        self._rules = rules
        self._limits = limits
        self._shares = UserShares()
        self._allowances = UserAllowances(calls.limiter, services)

    async def open(self, door: Door, head: ProxyHead, body: RequestBody) -> ProxyAnswer:
        """Send a caller's request on and return when the head of the answer has come.

        Raises CallNotAllowedError, InvalidValueError, RateLimitedError, ProviderUnavailableError, ReplyTooLargeError,
        and what opening the connection raises.
        """
        path = checked_path(head.path)
        async with AsyncExitStack() as held:
            # First: also what is waited for or held from here on is the user's own share.
            await held.enter_async_context(self._shares.place(door.ref.user_id))
            connection = await self._calls.connections.get(door)
            service = connection.service
            self._rules.check(service, head.method, segments(path))
            headers = proxied_headers(head.headers, service)
            if body:
                headers["content-type"] = head.content_type
            call = Call(
                head.method,
                path,
                passed_parameters(service, head.query),
                headers,
                await self._body(connection, head, body),
            )
            await self._allowances.acquire(service.name, door.ref.user_id)
            await self._calls.limiter.acquire(service.name, account=connection.account)
            answer = await self._calls.send(door, call)
            held.push_async_callback(answer.exchange.close)
            return self._answered(answer, head, path, held)

    async def _body(self, connection: OpenConnection, head: ProxyHead, body: RequestBody) -> RequestBody:
        if head.method in _BODILESS:
            # A server that reads one all the same could find another method in it.
            if body:
                raise InvalidValueError("body", f"A {head.method} request has no body.")
            return None
        if body:
            check_body_type(connection.service, head.content_type)
        most = min(self._limits.max_request_bytes, MAX_HELD_BYTES)
        if head.content_type == FORM:
            whole = await whole_body(body, most)
            if len(whole) <= _QUICKLY_READ:
                return passed_form(connection.service, whole)
            # A quarter of a megabyte of escapes takes a tenth of a second.
            return await _beside(passed_form, connection.service, whole)
        if body and connection.authorization.fields:
            # The service takes its key in it.
            return await whole_body(body, most)
        return body

    def _answered(self, answer: Answer, head: ProxyHead, path: str, held: AsyncExitStack) -> ProxyAnswer:
        exchange, connection = answer.exchange, answer.connection
        found = dict(exchange.headers)
        types = "".join(value.lower() for name, value in exchange.headers if name == "content-type")
        # No server is known to send statuses above 599 but to turn machines away, and ours cannot.
        if not 200 <= exchange.status < 600 or any(charset in types for charset in _UNREADABLE_CHARSETS):
            raise ProviderUnavailableError("The service answered in a way that cannot be passed on.")
        announced = found.get("content-length", "")
        if head.method != "HEAD" and announced.isdecimal() and int(announced) > self._limits.max_reply_bytes:
            raise _too_large(self._limits.max_reply_bytes)
        redactor, location = Redactor(answer.secrets), found.get("location")
        if location is not None:
            base = base_url(connection.service, connection.tenant)
            location = location_here(connection.service, base, path, location, head.prefix)
        headers = answered_headers(connection.service, exchange.status, exchange.headers, redactor, location)
        return ProxyAnswer(answer, headers, redactor, self._limits.max_reply_bytes, held.pop_all())


async def _beside(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What `work` returns, done while everybody else is served."""
    return await asyncio.get_running_loop().run_in_executor(_BESIDE, partial(work, *arguments, **options))


def _too_large(max_bytes: int) -> ReplyTooLargeError:
    return ReplyTooLargeError(f"The service's answer is larger than {max_bytes} bytes.")
