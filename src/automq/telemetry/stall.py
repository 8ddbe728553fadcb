"""How long the event loop was busy with one thing, when it should have looked after all of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from automq.telemetry.log import Log
from automq.telemetry.metrics import (
    UP_TO_A_MINUTE_MS,
    Histogram,
    counter,
    gauge,
    histogram,
    metric_set,
)
from automq.world import Clock

TICK_MS: Final = 50
UNWATCHED_TICK_MS: Final = 500
ALARM_MS: Final = 100

log = Log("telemetry.stall")


@metric_set("automq_loop")
@dataclass(slots=True)
class LoopMetrics:
    """What the probe saw."""

    stalls: int = counter(f"How often the event loop was late by {ALARM_MS} ms or more.")
    longest_stall_ms: float = gauge("The longest time the event loop was late by.")
    late_ms: Histogram = histogram("How late the event loop was.", UP_TO_A_MINUTE_MS)


class StallProbe:
    """Wakes up every 50 ms and sees how late it is: by so much was everything else late.

    While nobody is connected (`is_watched`) nobody feels a stall, and waking up is most of what an
    idle broker costs: then twice a second is enough.

    A controller that stalled adds its stall to every deadline it set for others, so `late_ms` is
    also what that asks.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        alarm_ms: float = ALARM_MS,
        is_watched: Callable[[], bool] = lambda: True,
    ) -> None:
        self.metrics = LoopMetrics()
        self._clock = clock
        self._alarm_ms = alarm_ms
        self._is_watched = is_watched
        self._due_ms = 0.0
        self._plan()

    def late_ms(self) -> float:
        """How late the next wake-up is already; 0 if it is not."""
        return max(0.0, self._clock.monotonic_ms() - self._due_ms)

    async def run(self) -> None:
        """Until cancelled."""
        wait_ms = self._plan()
        while True:
            await asyncio.sleep(wait_ms / 1000)
            wait_ms = self.tick()

    def tick(self) -> int:
        """The probe is awake: see how late it is. In how many ms to wake up again."""
        late_ms = self.late_ms()
        wait_ms = self._plan()
        self.metrics.late_ms.observe(late_ms)
        self.metrics.longest_stall_ms = max(self.metrics.longest_stall_ms, late_ms)
        if late_ms >= self._alarm_ms:
            self.metrics.stalls += 1
            log.warning("event loop stalled", stall_ms=round(late_ms))
        return wait_ms

    def _plan(self) -> int:
        """Say when it is due again; in how many ms that is."""
        wait_ms = TICK_MS if self._is_watched() else UNWATCHED_TICK_MS
        self._due_ms = self._clock.monotonic_ms() + wait_ms
        return wait_ms
