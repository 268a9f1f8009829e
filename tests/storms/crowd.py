"""Many callers in several processes, let go at the same moment."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

_START_SECONDS = 120
_STOP_SECONDS = 30
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    """What one caller heard: the digest of a token or the code of an error; `seconds` since the first one asked."""

    integration_id: UUID
    token: str | None
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class CallerProcess:
    """One process of callers, ready for the word."""

    process: Process

    async def go(self) -> list[dict[str, Any]]:
        """Have all of its callers ask."""
        assert self.process.stdin
        self.process.stdin.write(b"go\n")
        await self.process.stdin.drain()
        answers: list[dict[str, Any]] = await self.hear()
        return answers

    async def hear(self) -> Any:
        """The next thing it says."""
        assert self.process.stdout
        line = await self.process.stdout.readline()
        assert line, f"callers ended with status {await self.process.wait()}; why is in the captured output"
        return json.loads(line)


async def all_at_once(processes: Sequence[CallerProcess]) -> list[Heard]:
    """Let all callers of all processes go; what each of them heard."""
    answers = [answer for heard in await asyncio.gather(*(process.go() for process in processes)) for answer in heard]
    first = min(answer["began"] for answer in answers)
    return [
        Heard(UUID(answer["integration_id"]), answer.get("token"), answer.get("error"), answer["ended"] - first)
        for answer in answers
    ]


@asynccontextmanager
async def callers(
    jobs: Sequence[tuple[Mapping[str, object], Mapping[str, str]]],
) -> AsyncIterator[list[CallerProcess]]:
    """A process for each job with its environment, all of them ready."""
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(_caller(environment)) for _, environment in jobs]
        for process, (job, _) in zip(processes, jobs, strict=True):
            assert process.process.stdin
            process.process.stdin.write(json.dumps(job).encode() + b"\n")
        async with asyncio.timeout(_START_SECONDS):
            await asyncio.gather(*(process.hear() for process in processes))
        yield processes


@asynccontextmanager
async def _caller(environment: Mapping[str, str]) -> AsyncIterator[CallerProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.storms.callers", stdin=PIPE, stdout=PIPE, env=environment, limit=_LONGEST_LINE
    )
    try:
        yield CallerProcess(process)
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
