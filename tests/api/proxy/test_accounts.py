"""Whom calls are counted for: nobody speaks for somebody else's account."""

import json

import pytest

from tests.api.proxy.conftest import Connect
from tests.api.proxy.echo_service import EchoService
from tests.people import Person


async def test_nobody_uses_up_the_calls_of_a_tenant_by_naming_it(
    ada: Person, grace: Person, connect: Connect, echo: EchoService
) -> None:
    victim = await connect(grace, "limited_shops", config={"shop": "grace"})
    hostile = await connect(ada, "limited_shops", config={"shop": "grace"})
    assert [(await hostile.get("/x")).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert (await victim.get("/x")).status_code == 200


@pytest.mark.parametrize("header", ["x-app-usage", "x-business-use-case-usage"])
async def test_a_tenant_s_host_slows_down_nobody_else(
    ada: Person, grace: Person, connect: Connect, echo: EchoService, header: str
) -> None:
    victim = await connect(grace, "shop_hosts", config={"shop": header.replace("-", "")})
    # `written` is the path of a handler of the echo service that answers as the query says.
    hostile = await connect(ada, "shop_hosts", config={"shop": "written"})
    blocked = {"call_count": 100, "estimated_time_to_regain_access": 60}
    usage = {victim.row["id"]: [blocked]} if header == "x-business-use-case-usage" else blocked
    assert (await hostile.get("/x", params={header: json.dumps(usage)})).status_code != 429
    assert (await victim.get("/x")).status_code == 200
