"""How fast old data is sent while new data is appended: as fast as there is room for both.

Whoever reads a backlog takes all that it is given, of the processor as of the disk, and whoever
appends waits behind it: for its turn of the event loop, or in the queue of the disk. So while
something is appended the rate at which old data is answered falls when turns of the loop are long,
or syncs of the log take longer than they usually do, and rises while neither is so (additive
increase, multiplicative decrease: it finds what the machine has to spare, whichever part of it is
scarce). While nothing is appended there is no limit.
"""

import asyncio
from math import inf
from typing import NamedTuple, Protocol

from automq.stream.wal import WalStats
from automq.world import Clock
from automq.world.background import Background

LOOK_MS = 100.0
"""The rate changes so often."""
SAMPLE_MS = 5.0
"""So often it is looked how long a turn of the loop takes."""
LATE_MS = 0.5
"""A turn that takes longer is too long: whatever comes meanwhile waits for its end."""
LATE_SHARE = 0.1
"""So many of the turns, and the rate falls by all of `DECREASE`."""
DECREASE = 0.3
INCREASE_BYTES_PER_S = 4 << 20
BYTES_PER_S_MIN = 64 << 20
CATCH_UP = 2.0
"""Old data goes at least so much faster than new data comes: a reader behind gets to the end."""
WAIT_MS_MAX = 1000.0
SLOWER = 1.25
"""Syncs that take so many times as long as usual, and a little, wait behind what is read."""
SLOWER_BY_US = 50.0
SLOW_SHARE = 0.05
"""They count as much as so many turns that are too long."""
RECENT = 0.3
"""How much of what syncs take now is the last look's: a few syncs say little."""
SYNCS_MIN = 20
"""Fewer do not say what is usual."""


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


class Syncs(NamedTuple):
    """How many there were, and how long all of them took together."""

    made: int
    took_us: int

    def since(self, before: "Syncs") -> "Syncs":
        return Syncs(self.made - before.made, self.took_us - before.took_us)


class UsualSyncs:
    """What a sync takes while no old data is sent, and whether it takes longer now. Pure.

    Invariant: it never holds what is sent at the lowest rate for the cause. What syncs take then is
    what they usually take, whatever else has made them slower.
    """

    __slots__ = ("_recent_us", "usual_us")

    def __init__(self) -> None:
        self.usual_us: float | None = None
        self._recent_us: float | None = None

    def undisturbed(self, syncs: Syncs) -> None:
        """These were while no old data was sent."""
        if syncs.made >= SYNCS_MIN:
            self.usual_us = syncs.took_us / syncs.made
        self._recent_us = None

    def are_slower(self, syncs: Syncs, *, at_lowest_rate: bool) -> bool:
        """Whether these, and those of the looks before, are slower than usual."""
        if syncs.made > 0:
            now_us = syncs.took_us / syncs.made
            before_us = now_us if self._recent_us is None else self._recent_us
            self._recent_us = before_us + RECENT * (now_us - before_us)
        if self.usual_us is None or self._recent_us is None:
            return False
        if at_lowest_rate:
            self.usual_us = max(self.usual_us, self._recent_us)
        return self._recent_us > self.usual_us * SLOWER + SLOWER_BY_US


class Appends(Protocol):
    """What is looked at of a write-ahead log."""

    @property
    def end(self) -> int: ...
    def stats(self) -> WalStats: ...


class ColdPacing:
    """Looks at loop and log while old data is sent, and tells each answer how long to wait."""

    def __init__(self, background: Background, clock: Clock, wal: Appends) -> None:
        self.pace = ColdPace()
        self._background = background
        self._clock = clock
        self._wal = wal
        self._usual = UsualSyncs()
        self._syncs = Syncs(0, 0)
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
            self._usual.undisturbed(self._next_syncs())
            position, appended_bytes = self._wal.end, 0
            while self._is_used:
                self._is_used = False
                started_ms = self._clock.monotonic_ms()
                late_share = await self._late_share() if appended_bytes else await no_look()
                elapsed_ms = self._clock.monotonic_ms() - started_ms
                if self._usual.are_slower(
                    self._next_syncs(), at_lowest_rate=self.pace.bytes_per_s <= BYTES_PER_S_MIN
                ):
                    late_share = max(late_share, SLOW_SHARE)
                before, position = position, self._wal.end
                appended_bytes = position - before
                self.pace.look(elapsed_ms, late_share=late_share, appended_bytes=appended_bytes)
        finally:
            self._is_looking = False

    def _next_syncs(self) -> Syncs:
        """Those since the last call."""
        stats, before = self._wal.stats(), self._syncs
        self._syncs = Syncs(stats.commits, stats.sync_us_sum)
        return self._syncs.since(before)

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
