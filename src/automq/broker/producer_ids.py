"""Producer ids for idempotent producers, from blocks that the controller reserves (KIP-730)."""

import asyncio
from collections.abc import Awaitable, Callable

BLOCK = 1_000


class ProducerIds:
    """Ids that no other producer of the cluster gets, ever."""

    def __init__(self, reserve: Callable[[], Awaitable[range]]) -> None:
        """`reserve` stores a new block and returns it."""
        self._reserve = reserve
        self._block = iter(range(0))
        self._lock = asyncio.Lock()

    async def take(self) -> int:
        """The next id; waits for the controller once in a block."""
        async with self._lock:
            producer_id = next(self._block, None)
            if producer_id is None:
                self._block = iter(await self._reserve())
                producer_id = next(self._block)
            return producer_id
