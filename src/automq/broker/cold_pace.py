"""How fast old data is sent while new data is appended: as fast as there is room for both.

Whoever reads a backlog takes all that it is given, of the processor as of the disk, and whoever
appends waits behind it. That shows in how late the event loop is. So while something is appended
the rate at which old data is answered falls when the loop is late, and rises while it is not
(additive increase, multiplicative decrease: it finds what the machine has to spare, whichever part
of it is scarce). While nothing is appended there is no limit.
"""

import asyncio
from collections.abc import Callable
from math import inf

from automq.world import Clock
from automq.world.background import Background

LOOK_MS = 100.0
"""The rate changes so often."""
SAMPLE_MS = 5.0
"""So often it is looked how long a turn of the loop takes."""
LATE_MS = 1.0
"""A turn that takes longer is too long: whatever comes meanwhile waits for its end."""
LATE_SHARE = 0.1
"""So many of the turns, and the rate falls by all of `DECREASE`."""
DECREASE = 0.3
INCREASE_BYTES_PER_S = 4 << 20
BYTES_PER_S_MIN = 64 << 20
CATCH_UP = 2.0
"""Old data goes at least so much faster than new data comes: a reader behind gets to the end."""
WAIT_MS_MAX = 1000.0


class ColdPace:
    """The rate. Pure: no I/O and no clock.

    Invariant (nobody starves): the rate is never below `BYTES_PER_S_MIN`, nor below `CATCH_UP`
    times that of the appends, and no answer waits longer than `WAIT_MS_MAX`.
    """

    __slots__ = ("_free_at_ms", "_sent_bytes", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s = inf
        self._sent_bytes = 0
        self._free_at_ms = 0.0

    def wait_ms(self, size_bytes: int, now_ms: float) -> float:
        """How long an answer of so many bytes of old data has to wait; it counts as sent."""
        self._sent_bytes += size_bytes
        starts_ms = min(max(self._free_at_ms, now_ms), now_ms + WAIT_MS_MAX)
        self._free_at_ms = starts_ms + size_bytes / self.bytes_per_s * 1000
        return starts_ms - now_ms

    def look(self, elapsed_ms: float, *, late_share: float, appended_bytes: int) -> None:
        """Change the rate by what the last `elapsed_ms` were like."""
        sent_bytes_per_s = self._sent_bytes / elapsed_ms * 1000
        self._sent_bytes = 0
        if appended_bytes == 0:
            self.bytes_per_s = inf
            return
        if late_share > 0:
            # From what was sent: a rate that nobody reaches says nothing about what is too much.
            self.bytes_per_s = min(self.bytes_per_s, sent_bytes_per_s)
            self.bytes_per_s *= 1 - DECREASE * min(1.0, late_share / LATE_SHARE)
        else:
            self.bytes_per_s += INCREASE_BYTES_PER_S * elapsed_ms / LOOK_MS
        appended_bytes_per_s = appended_bytes / elapsed_ms * 1000
        self.bytes_per_s = max(self.bytes_per_s, BYTES_PER_S_MIN, CATCH_UP * appended_bytes_per_s)


class ColdPacing:
    """Looks at the loop while old data is sent, and tells each answer how long to wait."""

    def __init__(
        self, background: Background, clock: Clock, appended_position: Callable[[], int]
    ) -> None:
        self.pace = ColdPace()
        self._background = background
        self._clock = clock
        self._appended_position = appended_position
        self._is_looking = False
        self._is_used = False

    def wait_ms(self, size_bytes: int) -> float:
        """As `ColdPace.wait_ms`, now."""
        self._is_used = True
        if not self._is_looking:
            self._is_looking = True
            self._background.spawn("look how late the loop is", self._look())
        return self.pace.wait_ms(size_bytes, self._clock.monotonic_ms())

    async def _look(self) -> None:
        """Look until nothing has been sent for the time of a look."""
        try:
            position, appended_bytes = self._appended_position(), 0
            while self._is_used:
                self._is_used = False
                started_ms = self._clock.monotonic_ms()
                late_share = await self._late_share() if appended_bytes else await no_look()
                elapsed_ms = self._clock.monotonic_ms() - started_ms
                before, position = position, self._appended_position()
                appended_bytes = position - before
                self.pace.look(elapsed_ms, late_share=late_share, appended_bytes=appended_bytes)
        finally:
            self._is_looking = False

    async def _late_share(self) -> float:
        """How many turns of those looked at in the next `LOOK_MS` are too long, as a share."""
        count = round(LOOK_MS / SAMPLE_MS)
        late = 0
        for _ in range(count):
            await asyncio.sleep(SAMPLE_MS / 1000)
            began_ms = self._clock.monotonic_ms()
            await asyncio.sleep(0)
            late += self._clock.monotonic_ms() - began_ms > LATE_MS
        return late / count


async def no_look() -> float:
    """The same time without looking, for as long as nothing is appended."""
    await asyncio.sleep(LOOK_MS / 1000)
    return 0.0
