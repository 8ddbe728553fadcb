"""Time, as a node sees it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time for timestamps, monotonic time for durations."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch. May jump in both directions."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds since some fixed moment. Never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1e6
