"""Replies that are held as a whole, and what a refusal among them means."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from ..core.credentials import OAuthCredentials
from ..core.errors import (
    CredentialsRejectedError,
    ReauthorizationRequiredError,
    ServiceError,
    ServiceRateLimitedError,
)
from ..core.http_messages import retry_after
from ..core.service_reply import ServiceReply, joined
from .service_calls import Answer, collected

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""Of a reply that is held as a whole; larger ones are for `stream`."""
MAX_STRANGERS_REPLY_BYTES: Final = 4 * 1024 * 1024
"""Of one from a host that a user names. JSON of nothing but brackets takes thirty times its size when it is read, and
that would end the process that everybody shares.
"""
_MAX_ERROR_BYTES: Final = 64 * 1024


async def whole(answer: Answer) -> ServiceReply:
    """Read a reply to its end, or the beginning of a refusal, and end the exchange.

    Raises ReplyTooLargeError, ProviderUnavailableError.
    """
    try:
        if answer.exchange.status >= 400:
            body = await _beginning(answer.exchange.chunks(), _MAX_ERROR_BYTES)
        else:
            service = answer.connection.service
            most = MAX_STRANGERS_REPLY_BYTES if service.is_at_users_hosts else MAX_REPLY_BYTES
            body = await collected(answer.exchange.chunks(), most)
    finally:
        await answer.exchange.close()
    return ServiceReply(answer.exchange.status, joined(answer.exchange.headers), body)


async def refusal_of(answer: Answer) -> ServiceReply | None:
    """What refuses the call, as `whole` reads it; None where the reply is none, and is still to be read."""
    return await whole(answer) if answer.exchange.status >= 400 else None


def require_success(answer: Answer, reply: ServiceReply, now: datetime) -> None:
    """Raise for a status from 400 on, as `IntegrationClient.request` says."""
    if reply.status < 400:
        return
    wait = retry_after(reply.headers, now)
    if reply.status == 401:
        if answer.was_renewed:
            raise ServiceError(401, body=reply.body)
        if isinstance(answer.connection.opened.payload.credentials, OAuthCredentials):
            raise ReauthorizationRequiredError
        raise CredentialsRejectedError
    if reply.status == 429:
        raise ServiceRateLimitedError(body=reply.body, retry_after=wait)
    raise ServiceError(reply.status, body=reply.body, retry_after=wait)


async def _beginning(chunks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) >= max_bytes:
            break
    return bytes(body[:max_bytes])
