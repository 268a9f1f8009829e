"""One process of a storm: opens the system through one door, waits for the word, and then has many callers ask at once.

Run as `python -m tests.storms.callers`. Reads one JSON object that says what to do and then a line for each round from
its input, and writes a JSON line when it is ready and one for each round. Tokens leave it as digests.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import orjson

from supabase_integrations.configuration import Configuration
from supabase_integrations.core.credentials import Credentials, OAuthCredentials
from supabase_integrations.core.errors import IntegrationError
from supabase_integrations.integrations import open_integrations
from tests.storms.token_proxy import digest

Ask = Callable[[dict[str, str]], Awaitable[Credentials]]


async def main() -> None:
    """Open, say so, and do as told until the input ends."""
    job = orjson.loads(sys.stdin.readline())
    open_door = worker_door if job["door"] == "worker" else user_door
    say = _output_alone()
    async with open_door() as ask:
        say({"ready": True})
        while await asyncio.to_thread(sys.stdin.readline):
            callers = (_call(ask, target, job["patience"]) for _ in range(job["callers"]) for target in job["targets"])
            say(await asyncio.gather(*callers))


@asynccontextmanager
async def user_door() -> AsyncIterator[Ask]:
    """As an app's backend with its user's own token."""
    async with open_integrations(Configuration.from_environment(os.environ)) as integrations:

        async def ask(target: dict[str, str]) -> Credentials:
            user = await integrations.for_token(target["access_token"])
            return await user.get_integration_credentials(UUID(target["integration_id"]))

        yield ask


@asynccontextmanager
async def worker_door() -> AsyncIterator[Ask]:
    """As a job without a user's session, under a declared user."""
    from supabase_integrations.worker_integrations import WorkerConfiguration, open_worker_integrations

    async with open_worker_integrations(WorkerConfiguration.from_environment(os.environ)) as worker:

        async def ask(target: dict[str, str]) -> Credentials:
            return await worker.get_integration_credentials(UUID(target["integration_id"]), UUID(target["user_id"]))

        yield ask


async def _call(ask: Ask, target: dict[str, str], patience: float) -> dict[str, object]:
    """What one caller got within its patience, and when."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            credentials = await ask(target)
    except IntegrationError as error:
        outcome: dict[str, object] = {"error": error.code}
    except TimeoutError:
        outcome = {"error": "caller_gave_up"}
    else:
        assert isinstance(credentials, OAuthCredentials)
        outcome = {"token": digest(credentials.access_token.get_secret_value())}
    return {**outcome, "integration_id": target["integration_id"], "began": began, "ended": time.monotonic()}


def _output_alone() -> Callable[[object], None]:
    """Keep the output for answers; whatever else writes there writes to the error output from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(what: object) -> None:
        print(orjson.dumps(what).decode(), file=answers, flush=True)

    return say


if __name__ == "__main__":
    asyncio.run(main())
