"""An event loop whose time passes only when nothing else is to be done."""

import asyncio
import selectors


class _Instant(selectors.DefaultSelector):
    """Does not wait: it says how long one would have waited."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: a deadlock")
        self.now_s += max(timeout, 0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.instant = _Instant()
        super().__init__(self.instant)

    def time(self) -> float:
        return self.instant.now_s


class VirtualClock:
    """The same time, as a world's clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return 1_700_000_000_000 + int(self._loop.time() * 1000)

    def monotonic_ms(self) -> float:
        return self._loop.time() * 1000
