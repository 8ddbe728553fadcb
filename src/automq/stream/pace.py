"""A share of a bandwidth."""

import asyncio

from automq.world import Clock


class Pace:
    """At most `bytes_per_s` on the average: who spends waits until what was spent before is over.

    One spending may be of any size; it goes at once, and the pause follows.
    """

    def __init__(self, clock: Clock, bytes_per_s: int) -> None:
        self._clock = clock
        self._bytes_per_ms = bytes_per_s / 1000
        self._free_at_ms = 0.0

    async def spend(self, size_bytes: int) -> None:
        """Wait for one's turn, then take `size_bytes` of it."""
        now_ms = self._clock.monotonic_ms()
        turn_ms = max(now_ms, self._free_at_ms)
        self._free_at_ms = turn_ms + size_bytes / self._bytes_per_ms
        if turn_ms > now_ms:
            await asyncio.sleep((turn_ms - now_ms) / 1000)
