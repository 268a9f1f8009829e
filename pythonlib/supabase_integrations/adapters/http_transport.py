"""An httpx transport that bounds what a server can make us do: how long an exchange lasts and how much comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
        deadline = asyncio.get_running_loop().time() + self._total_seconds
        async with _within(deadline, host):
            reply = await self._inner.handle_async_request(request)
        try:
            self._require_acceptable(reply, host)
        except httpx.TransportError:
            await reply.aclose()
            raise
        body = cast(httpx.AsyncByteStream, reply.stream)
        reply.stream = _BoundedStream(body, host, deadline, self._max_reply_bytes)
        return reply

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _require_acceptable(self, reply: httpx.Response, host: str) -> None:
        if reply.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx.RemoteProtocolError(f"{host} compressed its reply, though none but plain replies are accepted.")
        announced = reply.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_reply_bytes:
            raise _too_large(host, self._max_reply_bytes)


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, host: str, deadline: float, max_bytes: int) -> None:
        self._inner = inner
        self._host = host
        self._deadline = deadline
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        chunks = aiter(self._inner)
        while True:
            try:
                async with _within(self._deadline, self._host):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            received += len(chunk)
            if received > self._max_bytes:
                raise _too_large(self._host, self._max_bytes)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def _within(deadline: float, host: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout(f"{host} did not answer in time.") from None
    except httpx.TransportError as error:
        # While a body is read httpx-aiohttp translates by its own table, with aiohttp's error as the cause.
        if isinstance(error.__cause__, aiohttp.ClientError | OSError):
            raise translated(error.__cause__, host) from None
        raise


def _too_large(host: str, max_bytes: int) -> ReplyTooLargeError:
    return ReplyTooLargeError(f"The reply of {host} is larger than {max_bytes} bytes.")
