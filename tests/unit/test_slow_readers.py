"""Callers of the proxy who do not read what they asked for, or hardly send what they announced."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from integrations_api import proxy
from supabase_integrations.core.proxy_messages import ProxyHead
from supabase_integrations.use_cases.service_proxy import ProxyAnswer


class Answer:
    """One that has more to say."""

    status = 200
    headers = (("content-type", "text/plain"),)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            yield b"x"


async def test_a_caller_who_stops_reading_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_IDLE_SECONDS", 0.02)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 3:
            await asyncio.Event().wait()

    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await proxy._answer(cast(ProxyAnswer, Answer()), send)
    assert len(sent) == 4


async def test_a_short_body_that_comes_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held before the caller's share is asked for, so it may not take as long as a stream."""
    monkeypatch.setattr(proxy, "_IDLE_SECONDS", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    head = ProxyHead("POST", "/x", "", (("content-length", "60000"),), "")
    async with asyncio.timeout(60):
        with pytest.raises(HTTPException) as refused:
            await proxy._body(head, proxy._Upload(receive))
    assert refused.value.status_code == 408
