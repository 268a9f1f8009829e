"""A user who keeps every connection busy keeps their own busy, not everybody's."""

import asyncio

from supabase_integrations.use_cases.user_shares import CALLS
from tests.api.proxy.conftest import Connect, Connected
from tests.api.proxy.echo_service import EchoService
from tests.people import Person


async def test_slow_calls_of_one_user_hold_up_nobody_else(
    ada: Person, connect: Connect, echo: EchoService, keyed: Connected
) -> None:
    slow = await connect(ada, "echo_header")
    calls = [asyncio.create_task(slow.get("/slow")) for _ in range(CALLS + 15)]
    try:
        for _ in range(200):
            if len(echo.got) >= CALLS:
                break
            await asyncio.sleep(0.05)
        assert (await keyed.get("/contacts")).status_code == 200
        assert sum(got.path == "/api/slow" for got in echo.got) == CALLS
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    # What was given up has made room.
    assert (await slow.get("/contacts")).status_code == 200
