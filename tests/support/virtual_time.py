"""An event loop in which waiting takes no time: with nothing to do it jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

WALL_START_MS = 1_700_000_000_000


class JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting, it moves the time by as much as it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everyone waits and no timer is set"
        self.now_s += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time moves only by waiting for timers."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> "asyncio.Future[Any]":
        """Work beside the loop is done at once: virtual time has no threads to race with."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class LoopClock:
    """The world's clocks, as the running loop sees time."""

    def now_ms(self) -> int:
        return WALL_START_MS + int(self.monotonic_ms())

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1000


def run_virtual(story: Coroutine[Any, Any, R]) -> R:
    """Run a story in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


def virtual(story: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test in virtual time, under the name of its story."""

    def test() -> None:
        run_virtual(story())

    test.__name__ = story.__name__
    test.__doc__ = story.__doc__
    return test
