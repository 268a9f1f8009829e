"""An httpx transport that bounds what a server can make us do: how long an exchange lasts and how much comes back."""

import asyncio
from datetime import timedelta
from typing import cast

import aiohttp
import httpx

from .http_failures import ReplyTooLargeError, translated


class BoundedTransport(httpx.AsyncBaseTransport):
    """Ends an exchange that takes longer than `total_timeout` in all, or whose body exceeds `max_reply_bytes`.

    httpx's own timeouts start anew with every chunk, so that a server which sends one byte now and then is never ended.
    Compressed replies are refused (none are asked for): a bound on the wire would not bound what they unpack to.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, total_timeout: timedelta, max_reply_bytes: int) -> None:
        self._inner = inner
        self._total_seconds = total_timeout.total_seconds()
        self._max_reply_bytes = max_reply_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._exchange(request, host)
        except TimeoutError:
            raise httpx.ReadTimeout(f"{host} did not answer in time.") from None
        except httpx.TransportError as error:
            # While a body is read httpx-aiohttp translates by its own table, with aiohttp's error as the cause.
            if isinstance(error.__cause__, aiohttp.ClientError | OSError):
                raise translated(error.__cause__, host) from None
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _exchange(self, request: httpx.Request, host: str) -> httpx.Response:
        """Send a request and read its whole reply; a timeout for each chunk would cost 50 µs more."""
        reply = await self._inner.handle_async_request(request)
        try:
            self._require_acceptable(reply, host)
            body = await self._body(reply, host)
        finally:
            await reply.aclose()
        return httpx.Response(reply.status_code, headers=reply.headers, content=body, extensions=reply.extensions)

    def _require_acceptable(self, reply: httpx.Response, host: str) -> None:
        if reply.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx.RemoteProtocolError(f"{host} compressed its reply, though none but plain replies are accepted.")
        announced = reply.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_reply_bytes:
            raise _too_large(host, self._max_reply_bytes)

    async def _body(self, reply: httpx.Response, host: str) -> bytes:
        chunks, received = [], 0
        async for chunk in cast(httpx.AsyncByteStream, reply.stream):
            received += len(chunk)
            if received > self._max_reply_bytes:
                raise _too_large(host, self._max_reply_bytes)
            chunks.append(chunk)
        return b"".join(chunks)


def _too_large(host: str, max_bytes: int) -> ReplyTooLargeError:
    return ReplyTooLargeError(f"The reply of {host} is larger than {max_bytes} bytes.")
