"""Counting what every call of a register does, as for any store of the node."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from automq.metadata.register import Register, Unsettled
from automq.objectstore import StoreMetrics
from automq.world import Clock

T = TypeVar("T")


class CountedRegister:
    """A `Register` that counts the attempts of another; belongs right above it.

    A key that exists, or is not there, counts as the failure that it is for an object store.
    """

    def __init__(self, register: Register, clock: Clock, metrics: StoreMetrics) -> None:
        self._register = register
        self._clock = clock
        self._metrics = metrics

    async def create(self, key: str, data: bytes) -> bool:
        won = await self._call("create", lambda: self._register.create(key, data))
        if won:
            self._metrics.of("create").sent_bytes += len(data)
        else:
            self._metrics.failed("create", "AlreadyExists")
        return won

    async def read(self, key: str) -> bytes | None:
        data = await self._call("get", lambda: self._register.read(key))
        if data is None:
            self._metrics.failed("get", "NotFound")
        else:
            self._metrics.of("get").received_bytes += len(data)
        return data

    async def delete(self, key: str) -> None:
        await self._call("delete", lambda: self._register.delete(key))

    async def close(self) -> None:
        await self._register.close()

    async def _call(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        counted = self._metrics.of(operation)
        counted.calls += 1
        counted.requests += 1
        started_ms = self._clock.monotonic_ms()
        try:
            return await attempt()
        except Unsettled as why:
            self._metrics.failed(operation, type(why.__cause__ or why).__name__)
            raise
        finally:
            counted.latency_ms.observe(self._clock.monotonic_ms() - started_ms)
