"""Batches of calls, on a virtual clock."""

import asyncio

import pytest

from supabase_integrations.use_cases.batch import Failed, Progress, Succeeded
from tests.unit.use_cases.limiting import limiter
from tests.unit.virtual_time import run


def test_a_batch_answers_in_order_and_loses_nothing_to_one_bad_item() -> None:
    async def main() -> None:
        seen: list[Progress] = []

        async def fn(item: int) -> str:
            await asyncio.sleep(1 / item)
            if item == 3:
                raise ValueError
            return str(item)

        crm = limiter(10)
        outcomes = await crm.throttle_batch("crm", range(1, 6), fn, concurrency=5, on_progress=seen.append)
        assert [outcome.item for outcome in outcomes] == [1, 2, 3, 4, 5]
        assert outcomes[0] == Succeeded(1, "1")
        assert isinstance(outcomes[2], Failed)
        assert isinstance(outcomes[2].error, ValueError)
        assert [(progress.done, progress.total) for progress in seen] == [(done, 5) for done in range(1, 6)]
        assert seen[-1].failed == 1

    run(main())


def test_a_batch_waits_as_long_as_it_takes_and_keeps_its_concurrency() -> None:
    async def main() -> None:
        under_way, most = 0, 0

        async def fn(item: int) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(20)
            under_way -= 1
            return item

        crm = limiter(1, timeout=1, max_queue=3)
        outcomes = await crm.throttle_batch("crm", range(50), fn, concurrency=4)
        assert outcomes == [Succeeded(item, item) for item in range(50)]
        assert most == 4

    run(main())


def test_a_batch_that_is_cancelled_stops_all_it_began() -> None:
    async def main() -> None:
        ended = 0

        async def fn(item: int) -> None:
            nonlocal ended
            try:
                await asyncio.sleep(100)
            finally:
                ended += 1

        crm = limiter(10)
        batch = asyncio.create_task(crm.throttle_batch("crm", range(100), fn, concurrency=3))
        await asyncio.sleep(1)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert ended == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_an_item_that_was_cancelled_alone_does_not_lose_the_rest() -> None:
    async def main() -> None:
        async def fn(item: int) -> int:
            if item == 2:
                shared = asyncio.ensure_future(asyncio.sleep(100))
                shared.cancel()
                await shared
            return item

        outcomes = await limiter(10).throttle_batch("crm", range(1, 4), fn, concurrency=1)
        assert [outcomes[0], outcomes[2]] == [Succeeded(1, 1), Succeeded(3, 3)]
        assert isinstance(outcomes[1], Failed)
        assert isinstance(outcomes[1].error, asyncio.CancelledError)

    run(main())


def test_a_progress_hook_that_fails_ends_the_batch() -> None:
    async def main() -> None:
        async def fn(item: int) -> int:
            await asyncio.sleep(item)
            return item

        def broken(_: Progress) -> None:
            raise RuntimeError("hook")

        with pytest.raises(RuntimeError, match="hook"):
            await limiter(10).throttle_batch("crm", range(1, 9), fn, on_progress=broken)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
