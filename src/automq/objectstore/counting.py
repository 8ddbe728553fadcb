"""Counting what every call of a store does."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from automq._native import Buf
from automq.objectstore.errors import StoreError
from automq.objectstore.metrics import OperationMetrics, StoreMetrics
from automq.objectstore.settings import BucketSettings
from automq.objectstore.store import (
    COALESCE_BYTES,
    DELETE_KEYS_MAX,
    LIST_KEYS_MAX,
    MULTIPART_BYTES,
    PART_BYTES,
    ObjectInfo,
    ObjectStore,
    Pieces,
)
from automq.world import Clock

T = TypeVar("T")

SETTINGS_REQUESTS = 3
"""Versioning, lifecycle, lock."""


class Counted:
    """An `ObjectStore` that counts the calls of another; belongs right above it."""

    def __init__(self, store: ObjectStore, clock: Clock, metrics: StoreMetrics) -> None:
        self.metrics = metrics
        self._store = store
        self._clock = clock

    @property
    def name(self) -> str:
        return self._store.name

    async def put(self, key: str, data: Pieces) -> None:
        size = _size(data)
        await self._call("put", lambda: self._store.put(key, data), put_requests(size))
        self.metrics.of("put").sent_bytes += size

    async def put_if_absent(self, key: str, data: Pieces) -> None:
        await self._call("create", lambda: self._store.put_if_absent(key, data))
        self.metrics.of("create").sent_bytes += _size(data)

    async def get(self, key: str) -> Buf:
        return self._received(await self._call("get", lambda: self._store.get(key)))

    async def get_range(self, key: str, start: int, end: int) -> Buf:
        read = await self._call("get", lambda: self._store.get_range(key, start, end))
        return self._received(read)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buf]:
        requests = range_requests(ranges)
        read = await self._call("get", lambda: self._store.get_ranges(key, ranges), requests)
        return [self._received(piece) for piece in read]

    async def head(self, key: str) -> ObjectInfo:
        return await self._call("head", lambda: self._store.head(key))

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[ObjectInfo]:
        """As the store's. A page is a request, the wait for its first object what it takes."""
        listing = aiter(self._store.list(prefix, after=after))
        given = 0
        while True:
            if given % LIST_KEYS_MAX:
                known = await anext(listing, None)
            else:
                known = await self._call("list", lambda: anext(listing, None))
            if known is None:
                return
            given += 1
            yield known

    async def delete(self, key: str) -> None:
        await self._call("delete", lambda: self._store.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> None:
        some = tuple(keys)
        requests = -(-len(some) // DELETE_KEYS_MAX)
        await self._call("delete", lambda: self._store.delete_many(some), requests)

    async def copy(self, source: str, target: str) -> None:
        await self._call("copy", lambda: self._store.copy(source, target))

    async def settings(self) -> BucketSettings:
        return await self._call("settings", self._store.settings, SETTINGS_REQUESTS)

    async def close(self) -> None:
        await self._store.close()

    def _received(self, data: Buf) -> Buf:
        self.metrics.of("get").received_bytes += len(data)
        return data

    async def _call(
        self, operation: str, attempt: Callable[[], Awaitable[T]], requests: int = 1
    ) -> T:
        counted: OperationMetrics = self.metrics.of(operation)
        counted.calls += 1
        counted.requests += requests
        started_ms = self._clock.monotonic_ms()
        try:
            return await attempt()
        except StoreError as error:
            self.metrics.failed(operation, type(error).__name__)
            raise
        finally:
            counted.latency_ms.observe(self._clock.monotonic_ms() - started_ms)


def put_requests(size_bytes: int) -> int:
    """How many requests a network store takes for a body: one, or begin, parts and end."""
    return 1 if size_bytes <= MULTIPART_BYTES else 2 + -(-size_bytes // PART_BYTES)


def range_requests(ranges: Sequence[tuple[int, int]]) -> int:
    """How many requests a network store takes for ranges of one object."""
    requests, read_to = 0, -1
    for start, end in sorted(ranges):
        if requests == 0 or start - read_to > COALESCE_BYTES:
            requests += 1
        read_to = max(read_to, end)
    return requests


def _size(data: Pieces) -> int:
    return sum(map(len, data))
