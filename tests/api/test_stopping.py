"""A process that is told to stop in the middle of a renewal: what the service sends by then is stored."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest

from supabase_integrations.configuration import Configuration
from supabase_integrations.integrations import open_integrations
from tests.api.serve import serving, settings_for, wait_for
from tests.api.test_refresh import connect_scripted, version_of
from tests.people import Person
from tests.scripted_service import Answer, Asked, Script, ScriptedService

TOKENS = {"access_token": "canary-new", "refresh_token": "canary-newer", "expires_in": 3600}


def late(_: Asked) -> Answer:
    """A good answer, after a while."""
    return Answer.json(TOKENS, delay=1.5)


@asynccontextmanager
async def asked_slowly(scripted: ScriptedService, script: Script = late) -> AsyncIterator[None]:
    """Have the service answer late; the block is over when it has been asked."""
    scripted.scripts["/token"] = script
    yield
    async with asyncio.timeout(60):
        while not scripted.asked_for("/token"):  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_server_finishes_what_it_has_begun(
    ada: Person, scripted: ScriptedService, local_environment: Mapping[str, str], hangs_up: bool
) -> None:
    row = await connect_scripted(ada, scripted)
    async with httpx.AsyncClient(headers=ada.http.headers, timeout=30, trust_env=False) as http:
        with serving(ada.system, f"stopping-{hangs_up}", settings_for(ada.system, local_environment)) as url:
            await asyncio.to_thread(wait_for, url)
            async with asked_slowly(scripted):
                asking = asyncio.create_task(http.post(f"{url}/api/integrations/{row['id']}/refresh-token"))
            if hangs_up:
                asking.cancel()
                await asyncio.wait([asking])
            # The end of the block tells it to stop, and waits for its end.
        if not hangs_up:
            assert (await asking).status_code == 200
    assert await version_of(ada, row) == 2


@pytest.mark.parametrize("cancellations", [1, 20])
async def test_an_app_that_is_cancelled_finishes_what_it_has_begun(
    ada: Person, scripted: ScriptedService, local_environment: Mapping[str, str], cancellations: int
) -> None:
    """Also where it is cancelled again and again, as within a scope of anyio."""
    row = await connect_scripted(ada, scripted)
    configuration = Configuration.from_environment(settings_for(ada.system, local_environment))

    async def app() -> None:
        async with open_integrations(configuration) as integrations:
            user = await integrations.for_token(ada.access_token)
            await user.refresh_token(UUID(row["id"]))

    may_answer = threading.Event()
    async with asked_slowly(scripted, lambda _: Answer.json(TOKENS) if may_answer.wait(20) else Answer(500)):
        running = asyncio.create_task(app())
    for _ in range(cancellations):
        running.cancel()
        await asyncio.sleep(0.01)
    may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await version_of(ada, row) == 2
