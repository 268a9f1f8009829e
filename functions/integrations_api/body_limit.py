"""No request body above a limit, whether it announces its length or not, and none that never ends."""

import asyncio
import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .http_errors import problem

MAX_BODY_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 30.0
"""How long a client may take to send one; each holds one of the server's connections meanwhile."""
_PROXIED: Final = re.compile(r"/api/integrations/[^/]+/proxy/")


class BodyLimit:
    """ASGI middleware that answers 413 before a body is read beyond the limit (RFC 9110 §15.5.14), and 408 to one that
    does not come in time (§15.5.9).

    What is passed on to a service has a limit of its own, and times; it is not held here.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, max_proxied_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_proxied_bytes = max_proxied_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_proxied = _PROXIED.match(scope["path"]) is not None
        max_bytes = self._max_proxied_bytes if is_proxied else self._max_bytes
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced) > max_bytes:
            answer = problem(413, "body_too_large", f"A request body may have at most {max_bytes} bytes.")
            await answer(scope, receive, send)
            return
        received = 0
        ends_at = None if is_proxied else asyncio.get_running_loop().time() + BODY_SECONDS

        async def limited_receive() -> Message:
            nonlocal received, ends_at
            try:
                async with asyncio.timeout_at(ends_at):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408) from None
            if not message.get("more_body", False):
                # What is waited for from here on is the client's hanging up.
                ends_at = None
            received += len(message.get("body", b""))
            if received > max_bytes:
                # The framework passes this one on to the error handlers, and answers 400 to any other.
                raise HTTPException(413)
            return message

        await self._app(scope, limited_receive, send)
