"""When calls started that a limiter let go, on a machine that may stand still at any moment."""

import time


class Watch:
    """The machine's clock, to give to limiters; remembers when it was last read."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self) -> float:
        self.last = time.monotonic()
        return self.last


class Starts:
    """Each start lies between two moments: the limiter's last look at the clock, and the call's own.

    They are microseconds apart, unless the machine turns to something else between them. `watch` has to be the clock
    of every limiter whose calls these are.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.spans: list[tuple[float, float]] = []

    async def call(self) -> None:
        """What a limiter lets go."""
        self.note()

    def note(self) -> None:
        """Something starts at this moment."""
        self.spans.append((self._watch.last, time.monotonic()))

    def __len__(self) -> int:
        return len(self.spans)

    def holds(self, requests: int, window: float) -> bool:
        """Whether no window has more than so many starts."""
        return hold(self.spans, requests, window)

    @property
    def duration(self) -> float:
        """Seconds from the first to the last."""
        return max(self.spans)[1] - min(self.spans)[1]


def hold(spans: list[tuple[float, float]], requests: int, window: float) -> bool:
    """Whether no window has more than so many starts, by what is certain of them."""
    ordered = sorted(spans)
    return all(later[1] - first[0] >= window for first, later in zip(ordered, ordered[requests:], strict=False))
