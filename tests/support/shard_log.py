"""A log in memory whose verdicts a test gives."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from automq._native import Buf, build_batch
from automq.protocol import errors

KeyValue = tuple[bytes, bytes | None]


class MemoryLog:
    """A `ShardLog`. `automatic` stores at once; otherwise the test calls `store` and `refuse`."""

    def __init__(self, *, automatic: bool = True) -> None:
        self.automatic = automatic
        self.stored: list[KeyValue] = []
        self.pending: list[tuple[list[KeyValue], asyncio.Future[None]]] = []
        self.appends = 0
        self.reads = 0
        self.read_errors: list[errors.KafkaError] = []
        self.read_gate: asyncio.Event | None = None

    def append(self, records: Sequence[KeyValue], timestamp_ms: int) -> asyncio.Future[None]:
        self.appends += 1
        future = asyncio.get_running_loop().create_future()
        self.pending.append((list(records), future))
        if self.automatic:
            self.store()
        return future

    def store(self, count: int | None = None) -> None:
        """The oldest appends are stored."""
        for records, future in self.pending[:count]:
            self.stored += records
            future.set_result(None)
        del self.pending[:count]

    def refuse(self, error: Exception) -> None:
        """All appends under way are certainly not stored."""
        for _, future in self.pending:
            future.set_exception(error)
        self.pending.clear()

    async def read(self) -> AsyncIterator[Buf]:
        self.reads += 1
        if self.read_gate is not None:
            await self.read_gate.wait()
        if self.read_errors:
            raise self.read_errors.pop(0)
        for offset, (key, value) in enumerate(self.stored):
            yield build_batch([(0, key, value, [])], base_offset=offset)
