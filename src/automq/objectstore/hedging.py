"""Reads that are slower than nearly all others are asked for a second time."""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from automq._native import Buf
from automq.objectstore.errors import StoreError
from automq.objectstore.metrics import StoreMetrics
from automq.objectstore.settings import BucketSettings
from automq.objectstore.store import ObjectInfo, ObjectStore, Pieces
from automq.world import Clock

T = TypeVar("T")

SIZE_CLASSES_BYTES = (1 << 14, 1 << 17, 1 << 20, 1 << 23)
"""Latencies are compared among reads of about the same size: up to each of these, and larger."""
LATENCIES_KEPT = 200
LATENCIES_NEEDED = 50
PERCENTILE = 0.95
WAIT_MIN_MS = 20.0
"""Under this a second request costs more than it can win."""
HEDGES_PER_READ = 0.05
HEDGES_SAVED_MAX = 10.0


class Latencies:
    """How long the last reads of one size took."""

    def __init__(self) -> None:
        self._recent_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._until_sorted = LATENCIES_NEEDED
        self._slow_ms: float | None = None

    def add(self, latency_ms: float) -> None:
        self._recent_ms.append(latency_ms)
        self._until_sorted -= 1
        if self._until_sorted == 0:
            # Not each time: sorting costs, and a percentile moves slowly.
            in_order = sorted(self._recent_ms)
            self._slow_ms = in_order[int(len(in_order) * PERCENTILE)]
            self._until_sorted = LATENCIES_NEEDED // 2

    @property
    def slow_ms(self) -> float | None:
        """A read that takes longer is slow; None while too few are known."""
        return self._slow_ms


class Hedged:
    """An `ObjectStore` that reads a second time what is slow, and takes the first answer.

    At most one read in twenty is sent twice, so a store that becomes slow as a whole is not asked
    for twice as much. Only reads: a write is never sent twice at once. What loses is cancelled.
    """

    def __init__(self, store: ObjectStore, clock: Clock, metrics: StoreMetrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._latencies = [Latencies() for _ in range(len(SIZE_CLASSES_BYTES) + 1)]
        self._saved = 0.0

    @property
    def name(self) -> str:
        return self._store.name

    async def put(self, key: str, data: Pieces) -> None:
        await self._store.put(key, data)

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._store.put_if_absent(key, data)

    async def get(self, key: str) -> Buf:
        """Not hedged: its size is not known before."""
        return await self._store.get(key)

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        return await self._read(end - start, lambda: self._store.get_range(key, start, end))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        size = sum(end - start for start, end in ranges)
        return await self._read(size, lambda: self._store.get_ranges(key, ranges))

    async def head(self, key: str) -> ObjectInfo:
        return await self._store.head(key)

    def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        return self._store.list(prefix, after=after)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    async def delete_many(self, keys: Iterable[str]) -> None:
        await self._store.delete_many(keys)

    async def copy(self, source: str, target: str) -> None:
        await self._store.copy(source, target)

    async def settings(self) -> BucketSettings:
        return await self._store.settings()

    async def close(self) -> None:
        await self._store.close()

    async def _read(self, size_bytes: int, attempt: Callable[[], Awaitable[T]]) -> T:
        latencies = self._latencies[bisect_left(SIZE_CLASSES_BYTES, size_bytes)]
        started_ms = self._clock.monotonic_ms()
        slow_ms = latencies.slow_ms
        if slow_ms is None:
            answer = await attempt()
        else:
            answer = await self._first_of_two(attempt, max(slow_ms, WAIT_MIN_MS))
        # A read that a second one overtook took at least as long as this.
        latencies.add(self._clock.monotonic_ms() - started_ms)
        self._saved = min(HEDGES_SAVED_MAX, self._saved + HEDGES_PER_READ)
        return answer

    async def _first_of_two(self, attempt: Callable[[], Awaitable[T]], wait_ms: float) -> T:
        async with asyncio.TaskGroup() as reads:
            first = reads.create_task(_outcome(attempt))
            done, _ = await asyncio.wait([first], timeout=wait_ms / 1000)
            if not done and self._saved >= 1:
                self._saved -= 1
                self._metrics.of("get").hedges += 1
                second = reads.create_task(_outcome(attempt))
                done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
                if first not in done and not isinstance(second.result(), StoreError):
                    self._metrics.of("get").hedge_wins += 1
                    first.cancel()
                    first = second
                # A second read that fails says nothing: the first may still be answered.
                await asyncio.wait([first])
                second.cancel()
            answer = await first
        if isinstance(answer, StoreError):
            raise answer
        return answer


async def _outcome(attempt: Callable[[], Awaitable[T]]) -> T | StoreError:
    """The answer or the error, so that one read's failure does not end the other."""
    try:
        return await attempt()
    except StoreError as error:
        return error
