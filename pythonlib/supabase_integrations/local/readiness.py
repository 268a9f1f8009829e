"""Waiting until a server of the local system answers."""

import asyncio
from datetime import timedelta

import httpx

from .process import Child

_POLL_SECONDS = 0.02


def loopback_client() -> httpx.AsyncClient:
    """An HTTP client for this machine: proxies and other settings of the environment do not apply to it."""
    return httpx.AsyncClient(trust_env=False, timeout=10)


async def wait_until_answering(
    http: httpx.AsyncClient, child: Child, url: str, *, patience: timedelta = timedelta(seconds=30)
) -> None:
    """Wait until `url` answers without a server error. Raises LocalStackError when the process ends or is late."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            while not await _answers(http, url):
                if not child.running:
                    raise child.failure("stopped while starting")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise child.failure(f"did not answer within {round(patience.total_seconds())} s") from None


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        reply = await http.get(url)
    except httpx.TransportError:
        return False
    return reply.status_code < 500
