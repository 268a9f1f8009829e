"""Requests in flight and their latencies. Candidates take turns, so that a busy moment falls on all of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

Request = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Sample:
    """The latencies of one candidate's requests, and how long they took all together; in seconds."""

    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies) / self.elapsed

    def milliseconds(self, share: float) -> float:
        """The latency that this share of the requests stayed within: 0.5 is the median."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


async def keep_in_flight(request: Request, in_flight: int, seconds: float) -> Sample:
    """Send the next request as soon as one is answered, for some seconds."""
    sample = Sample()
    start = time.perf_counter()

    async def one_after_another() -> None:
        while (sent := time.perf_counter()) < start + seconds:
            await request()
            sample.latencies.append(time.perf_counter() - sent)

    async with asyncio.TaskGroup() as together:
        for _ in range(in_flight):
            together.create_task(one_after_another())
    sample.elapsed = time.perf_counter() - start
    return sample


async def take_turns(
    candidates: Mapping[str, Request], *, in_flight: int, turns: int, seconds: float
) -> dict[str, list[Sample]]:
    """Each candidate's requests, in turns of some seconds; a first short turn is not counted."""
    samples: dict[str, list[Sample]] = {name: [] for name in candidates}
    for request in candidates.values():
        await keep_in_flight(request, in_flight, seconds / 2)
    for _ in range(turns):
        for name, request in candidates.items():
            samples[name].append(await keep_in_flight(request, in_flight, seconds))
    return samples


def together(samples: Iterable[Sample]) -> Sample:
    """All turns of a candidate as one sample."""
    whole = Sample()
    for sample in samples:
        whole.latencies += sample.latencies
        whole.elapsed += sample.elapsed
    return whole


def ratio_by_turns(ours: Sequence[Sample], baseline: Sequence[Sample], figure: Callable[[Sample], float]) -> float:
    """How many times the baseline a figure is: the median over pairs of turns that followed each other.

    On a machine that does something else now and then, this moves less than the ratio of the totals.
    """
    return median(figure(mine) / figure(theirs) for mine, theirs in zip(ours, baseline, strict=True))
