"""A user who keeps every connection busy keeps their own busy, and nobody uses up what a service allows for all."""

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
        for _ in range(600):
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


async def test_nobody_uses_up_what_a_service_allows_for_all(
    ada: Person, grace: Person, connect: Connect, echo: EchoService
) -> None:
    greedy, modest = await connect(ada, "limited_app"), await connect(grace, "limited_app")
    assert [(await greedy.get("/x")).status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = await greedy.get("/x")
    assert refused.json()["code"] == "rate_limited"
    assert 3500 <= int(refused.headers["retry-after"]) <= 3601
    assert (await modest.get("/x")).status_code == 200
    assert len(echo.got) == 3


async def test_an_operator_says_how_much_of_it_one_user_may_have(ada: Person, grace: Person, connect: Connect) -> None:
    greedy, modest = await connect(ada, "limited_otherwise"), await connect(grace, "limited_otherwise")
    assert [(await greedy.get("/x")).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [(await modest.get("/x")).status_code for _ in range(3)] == [200, 200, 429]
