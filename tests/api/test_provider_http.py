"""Requests to services: one that hangs keeps nobody from another."""

import asyncio

from supabase_integrations.adapters.provider_http import open_provider_http
from supabase_integrations.core.http_messages import HttpRequest
from tests.scripted_service import Answer, ScriptedService


async def test_a_slow_service_keeps_nobody_from_another(scripted: ScriptedService) -> None:
    scripted.scripts["/slow"] = lambda _: Answer(delay=1.5)
    scripted.scripts["/quick"] = lambda _: Answer()
    slow = HttpRequest("GET", f"{scripted.url}/slow")
    quick = HttpRequest("GET", f"{scripted.url.replace('127.0.0.1', 'localhost')}/quick")
    async with open_provider_http(allow_loopback=True) as http:
        waiting = [asyncio.create_task(http.send(slow)) for _ in range(30)]
        await asyncio.sleep(0.2)
        assert (await http.send(quick)).status == 200
        assert not any(task.done() for task in waiting)
        replies = await asyncio.gather(*waiting)
    assert {reply.status for reply in replies} == {200}
