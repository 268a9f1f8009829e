"""Calls of one user wait for each other, and never for anybody else's."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import pytest

from supabase_integrations.core.errors import RateLimitedError
from supabase_integrations.use_cases.user_shares import UserShares

ADA, BOB = uuid4(), uuid4()


async def test_who_has_used_up_their_share_waits_alone() -> None:
    shares = UserShares(calls=2, wait=timedelta(milliseconds=20))
    async with shares.place(ADA), shares.place(ADA):
        with pytest.raises(RateLimitedError):
            async with shares.place(ADA):
                pass
        async with shares.place(BOB):
            assert len(shares) == 2
    assert len(shares) == 0


async def test_the_next_call_goes_when_one_ends() -> None:
    shares = UserShares(calls=1)
    began: list[int] = []

    async def call(number: int) -> None:
        async with shares.place(ADA):
            began.append(number)
            await asyncio.sleep(0)

    async with AsyncExitStack() as first:
        await first.enter_async_context(shares.place(ADA))
        calls = [asyncio.create_task(call(number)) for number in range(3)]
        await asyncio.sleep(0.01)
        assert began == []
        calls[0].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (began, len(shares)) == ([1, 2], 0)


async def test_only_so_many_wait() -> None:
    shares = UserShares(calls=1, waiting=1)

    async def call() -> None:
        async with shares.place(ADA):
            pass

    async with shares.place(ADA):
        waiting = asyncio.create_task(call())
        await asyncio.sleep(0)
        with pytest.raises(RateLimitedError):
            async with asyncio.timeout(60):
                await call()
    await waiting
    assert len(shares) == 0
