"""Two steps at once: both results, or the first failure and no step left running."""

import asyncio

import pytest

from supabase_integrations.local.errors import LocalStackError
from supabase_integrations.local.together import together


async def test_both_results_come_back_in_order() -> None:
    async def give(value: str) -> str:
        return value

    assert await together(give("a"), give("b")) == ("a", "b")


async def test_a_failure_is_raised_as_it_is_and_ends_the_other_step() -> None:
    ended = asyncio.Event()

    async def fail() -> None:
        raise LocalStackError("canary")

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(LocalStackError, match="canary"):
        await together(wait_for_ever(), fail())

    assert ended.is_set()


async def test_a_failure_inside_a_failure_is_raised_as_it_is() -> None:
    async def fail() -> None:
        raise LocalStackError("canary")

    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(LocalStackError, match="canary"):
        await together(together(fail(), wait_for_ever()), wait_for_ever())
