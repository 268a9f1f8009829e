"""Replies of nothing but escaped letters, which take long to search for secrets: how long the event loop pauses with 25
of them at a time, searched in it and beside it.
"""

import asyncio
import time

from _table import print_table

from supabase_integrations.core.redaction import Redactor
from supabase_integrations.core.secret import SecretStr
from supabase_integrations.use_cases.service_proxy import _beside
from supabase_integrations.use_cases.user_shares import CALLS

SECRET = SecretStr("canary-access-Ab3dEf6hIj9kLmNoPqRsTuVwXyZ0123456789")
PART = b"%41" * 21_845
PARTS = 4


async def search(*, beside: bool) -> None:
    """One reply."""
    redactor = Redactor([SECRET])
    for _ in range(PARTS):
        if redactor.feed_plain(PART) is None:
            await _beside(redactor.search) if beside else redactor.search()
        await asyncio.sleep(0)


async def pauses(found: list[float]) -> None:
    """How late the event loop is, again and again."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append(time.perf_counter() - began)


async def measure(*, beside: bool) -> tuple[str, ...]:
    """All replies at a time."""
    found: list[float] = []
    watch = asyncio.create_task(pauses(found))
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    await asyncio.gather(*(search(beside=beside) for _ in range(CALLS)))
    seconds = time.perf_counter() - began
    watch.cancel()
    size = CALLS * PARTS * len(PART)
    where = "beside the event loop" if beside else "in the event loop"
    return where, f"{size / seconds / 1e6:.1f}", f"{max(found) * 1000:.0f}"


async def main() -> None:
    rows = [await measure(beside=beside) for beside in (False, True)]
    print_table(f"{CALLS} replies of escaped letters at a time", ("searched", "MB/s", "longest pause, ms"), rows)


if __name__ == "__main__":
    asyncio.run(main())
