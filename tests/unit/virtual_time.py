"""An event loop whose clock jumps to the next timer: hours of waiting take no time, and each run is the same."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_START: Final = datetime(2026, 11, 23, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Waits by moving the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left that could wake this loop: something waits for good")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual; everything else is asyncio's own."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self.unhandled: list[Mapping[str, Any]] = []
        super().__init__(self._virtual)
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))

    def time(self) -> float:
        return self._virtual.now


def clock() -> float:
    """The running loop's time, to give to what is tested."""
    return asyncio.get_running_loop().time()


class LoopClock:
    """Implements `port.Clock`: the running loop's time."""

    def now(self) -> datetime:
        return _START + timedelta(seconds=clock())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a virtual loop; an exception that nobody retrieved fails it."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(main)
        loop = runner.get_loop()
    assert isinstance(loop, VirtualLoop)
    assert loop.unhandled == []
    return result


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine: it runs on a virtual loop of its own."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_it
