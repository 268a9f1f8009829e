"""One structured line for each request, and the id that ties it to its answer and to everything logged on the way."""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supabase_integrations.logs import StructuredLog

_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9_.-]{8,64}")
_log: Final = StructuredLog("api")


@dataclass(slots=True)
class RequestRecord:
    """What is known of the request being served; dependencies fill it in as they learn it."""

    request_id: str
    user_id: UUID | None = None


_record: ContextVar[RequestRecord] = ContextVar("request_record")


def current() -> RequestRecord:
    """The record of this request; an empty one outside of any."""
    return _record.get(RequestRecord(""))


def request_id() -> str:
    """The id of this request."""
    return current().request_id


class RequestLog:
    """ASGI middleware. A caller's own X-Request-Id is kept where it is a plain word, and returned either way.

    What the API says of a user is for that user alone: no answer of /api/ is stored by anybody on the way.
    Logged are the route's template and never the path or the query: those of a callback hold a code.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(_given_id(scope) or uuid4().hex)
        token = _record.set(record)
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", record.request_id.encode())]
                if scope["path"].startswith("/api/") and not _has(message["headers"], b"cache-control"):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            route = scope.get("route")
            _log.info(
                "request",
                request_id=record.request_id,
                user_id=str(record.user_id) if record.user_id else None,
                method=scope["method"],
                route=getattr(route, "path", None) or "unmatched",
                status=status,
                duration_ms=round((time.perf_counter() - started) * 1000, 2),
            )
            _record.reset(token)


def _has(headers: list[tuple[bytes, bytes]], name: bytes) -> bool:
    return any(given == name for given, _ in headers)


def _given_id(scope: Scope) -> str | None:
    value = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return value if _ACCEPTED_ID.fullmatch(value) else None
