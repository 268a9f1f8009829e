"""Requests to services: one that hangs keeps nobody from another."""

import asyncio
import threading
from datetime import timedelta

import pytest

from supabase_integrations.adapters.provider_http import CONNECTIONS_PER_HOST, open_provider_http
from supabase_integrations.core.errors import RateLimitedError
from supabase_integrations.core.http_messages import HttpReply, HttpRequest
from tests.scripted_service import Answer, Asked, ScriptedService


async def test_a_slow_service_keeps_nobody_from_another(scripted: ScriptedService) -> None:
    answered = threading.Event()

    def when_the_other_has(_: Asked) -> Answer:
        answered.wait(30)
        return Answer()

    scripted.scripts["/slow"] = when_the_other_has
    scripted.scripts["/quick"] = lambda _: Answer()
    slow = HttpRequest("GET", f"{scripted.url}/slow")
    quick = HttpRequest("GET", f"{scripted.url.replace('127.0.0.1', 'localhost')}/quick")
    async with open_provider_http(allow_loopback=True) as http:
        waiting = [asyncio.create_task(http.send(slow)) for _ in range(30)]
        try:
            async with asyncio.timeout(30):
                while len(scripted.asked_for("/slow")) < CONNECTIONS_PER_HOST:  # noqa: ASYNC110 - it listens in threads
                    await asyncio.sleep(0.01)
            assert (await http.send(quick)).status == 200
            assert len(scripted.asked_for("/slow")) == CONNECTIONS_PER_HOST
        finally:
            answered.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    # On a slow machine five seconds may be over before those behind them have a connection.
    assert {type(outcome) for outcome in outcomes} <= {HttpReply, RateLimitedError}
    assert sum(isinstance(outcome, HttpReply) for outcome in outcomes) >= CONNECTIONS_PER_HOST


async def test_who_finds_no_connection_free_is_told_to_come_again(scripted: ScriptedService) -> None:
    """That a service was not asked is no failure of the service's."""
    is_asked, may_answer = threading.Event(), threading.Event()

    def when_it_may(_: Asked) -> Answer:
        is_asked.set()
        may_answer.wait(30)
        return Answer()

    scripted.scripts["/slow"] = when_it_may
    slow = HttpRequest("GET", f"{scripted.url}/slow")
    async with open_provider_http(allow_loopback=True, max_connections_per_host=1) as http:
        holder = asyncio.create_task(http.send(slow))
        try:
            assert await asyncio.to_thread(is_asked.wait, 30)
            with pytest.raises(RateLimitedError) as refused:
                await http.send(slow)
        finally:
            may_answer.set()
        await holder
    assert refused.value.retry_after == timedelta(seconds=5)
    assert len(scripted.asked_for("/slow")) == 1


async def test_a_worker_has_a_connection_for_each_of_its_slots(scripted: ScriptedService) -> None:
    """Who waits for one longer than five seconds is told to come again."""
    slots = 230
    all_are_here = threading.Barrier(slots)

    def when_all_are_here(_: Asked) -> Answer:
        all_are_here.wait(20)
        return Answer()

    scripted.scripts["/slow"] = when_all_are_here
    slow = HttpRequest("GET", f"{scripted.url}/slow")
    async with open_provider_http(allow_loopback=True, max_connections_per_host=slots) as http:
        replies = await asyncio.gather(*(http.send(slow) for _ in range(slots)))
    assert {reply.status for reply in replies} == {200}
