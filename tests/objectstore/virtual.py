"""An event loop whose time passes only by waiting, and a world that lives by it."""

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from automq.world import World

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waiting for ten minutes takes no time: the clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits for something that never comes"
        self._loop.now_s += max(timeout, 0.0)
        return super().select(0)


class LoopClock:
    """The running loop's time, as a node sees it."""

    def now_ms(self) -> int:
        return int(self.monotonic_ms()) + 1_700_000_000_000

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1000


def virtual_world(seed: int = 0) -> World:
    return World(clock=LoopClock(), chance=random.Random(seed))


def run(story: Coroutine[Any, Any, T]) -> T:
    """The result of `story`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
