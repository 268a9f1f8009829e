"""`ANY /api/integrations/{id}/proxy/{path}`: calls of a connection's service, by frontends that never see its token."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from supabase_integrations.core.errors import IntegrationError, InvalidValueError, ProviderUnavailableError
from supabase_integrations.core.proxy_messages import ProxyHead
from supabase_integrations.core.proxy_rule import METHODS
from supabase_integrations.logs import StructuredLog
from supabase_integrations.port_service_http import RequestBody
from supabase_integrations.use_cases.service_proxy import ProxyAnswer
from supabase_integrations.use_cases.user_integrations import UserIntegrations

from .dependencies import User
from .hang_up import while_connected
from .request_log import request_id

router: Final = APIRouter(prefix="/api/integrations", tags=["proxy"])

_PLACE: Final = re.compile(r"(/api/integrations/[0-9A-Fa-f-]+/proxy)(/.*)", re.DOTALL)
_BUFFERED_BYTES: Final = 64 * 1024
"""A body up to this size is held, so that it can be sent again after a refused token; larger ones are streamed."""
_IDLE_SECONDS: Final = 60.0
"""The longest pause within a caller's body, and in a caller's reading."""
_CLIENT_IS_GONE: Final = 499
_log: Final = StructuredLog("api")


async def call_service(user: User, integration_id: UUID, request: Request) -> Response:
    """Pass a request on to the connection's service: the path after `proxy`, the query, the body.

    The answer is the service's own, with its status in `integrations-upstream-status` as well. An answer without that
    header is this server's.
    """
    return _Passed(user, integration_id, _head(request.scope))


for _method in METHODS:
    router.add_api_route(
        "/{integration_id}/proxy/{path:path}",
        call_service,
        methods=[_method],
        response_class=Response,
        responses={200: {"description": "The service's answer.", "content": {"*/*": {}}}},
    )


class _Passed(Response):
    """Sends the request on when it is sent itself, so that neither body is ever held as a whole."""

    def __init__(self, user: UserIntegrations, integration_id: UUID, head: ProxyHead) -> None:
        super().__init__()
        self._user = user
        self._integration_id = integration_id
        self._head = head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        upload = _Upload(receive)
        try:
            body = await _body(self._head, upload)
            async with while_connected(receive, upload.ended):
                await self._pass(body, upload, send)
                return
        except ClientDisconnect:
            pass
        # Nobody reads it; the log does.
        await send({"type": "http.response.start", "status": _CLIENT_IS_GONE, "headers": []})

    async def _pass(self, body: RequestBody, upload: "_Upload", send: Send) -> None:
        try:
            answer = await self._user.proxy(self._integration_id, self._head, body)
        except ProviderUnavailableError:
            if upload.error is not None:
                # That is why the service got no whole request.
                raise upload.error from None
            raise
        try:
            await _answer(answer, send)
        except (IntegrationError, TimeoutError) as error:
            # The head is on its way, so the connection is cut: whoever reads sees that something is missing.
            code = error.code if isinstance(error, IntegrationError) else "reader_too_slow"
            _log.warning("proxy.cut", request_id=request_id(), code=code)
            raise ConnectionAbortedError from None
        finally:
            await answer.close()


class _Upload:
    """A caller's body as it comes, and what became of it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = asyncio.Event()
        self.error: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises ClientDisconnect, and HTTPException where it pauses for too long or is too large."""
        more = True
        while more:
            try:
                message = await self._next()
            except Exception as error:
                self.error = error
                raise
            if chunk := message.get("body", b""):
                yield chunk
            more = message.get("more_body", False)
        self.ended.set()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message


async def _answer(answer: ProxyAnswer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for chunk in answer.chunks():
        async with asyncio.timeout(_IDLE_SECONDS):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _head(scope: Scope) -> ProxyHead:
    """The request as it was written. Decoded by the framework, an encoded slash would be one already."""
    place = _PLACE.fullmatch((scope.get("raw_path") or b"").decode("latin-1"))
    if place is None:
        raise InvalidValueError("path", "The path must be written as /api/integrations/{id}/proxy/….")
    return ProxyHead(
        method=scope["method"],
        path=place[2],
        query=scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
        prefix=place[1],
    )


async def _body(head: ProxyHead, upload: _Upload) -> RequestBody:
    """The request's body: None where it has none, bytes where it is short, otherwise a stream."""
    found = dict(head.headers)
    length = found.get("content-length", "" if "transfer-encoding" in found else "0")
    if length.isdecimal() and int(length) <= _BUFFERED_BYTES:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                return b"".join([chunk async for chunk in upload.chunks()]) or None
        except TimeoutError:
            raise HTTPException(408) from None
    return upload.chunks()
