"""A partition as a coordinator's log: its only memory (see `coordinator.ShardLog`)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from functools import partial

from automq._native import Buf, CacheRead, DamagedObject, build_batch
from automq.objectstore import StoreError
from automq.partition import Partition
from automq.protocol import errors
from automq.stream.engine import MissingData
from automq.stream.reader import Read
from automq.stream.wal import WalBusy
from automq.world.waiting import called, settle

KeyValue = tuple[bytes, bytes | None]

READ_BYTES = 1 << 20


class PartitionLog:
    """Appends take their places in the order in which they are asked for.

    Without room in the WAL they wait here, in that order, and nothing overtakes them; their
    number is bounded by the shard's `inflight_appends_max`.
    """

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._parked: deque[tuple[Buf, asyncio.Future[None]]] = deque()

    def append(self, records: Sequence[KeyValue], timestamp_ms: int) -> asyncio.Future[None]:
        """See `ShardLog.append`."""
        batch = build_batch([(timestamp_ms, key, value, []) for key, value in records])
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parked.append((batch, stored))
        if len(self._parked) == 1:
            self._append_parked()
        return stored

    async def read(self) -> AsyncIterator[Buf]:
        """See `ShardLog.read`."""
        partition = self._partition
        await partition.until_ready()
        offset, end_offset = partition.log_start_offset, partition.log_end_offset
        await called(partition.engine.when_all_is_durable)
        while offset < end_offset:
            found = await self._read_some(offset, end_offset)
            for buf in found.bufs:
                yield buf
            assert found.next_offset > offset, (partition, offset)
            offset = found.next_offset

    async def _read_some(self, offset: int, end_offset: int) -> CacheRead | Read:
        """Raises KafkaStorageError where the store does not have what it should: ask again."""
        try:
            return await self._partition.read(
                offset, end_offset=end_offset, bytes_max=READ_BYTES, at_least_one=True
            )
        except (MissingData, DamagedObject, StoreError) as error:
            raise errors.KafkaStorageError(f"{self._partition}: {error}") from error

    def _append_parked(self) -> None:
        engine = self._partition.engine
        while self._parked:
            batch, stored = self._parked[0]
            if not self._partition.data.is_open:
                self._refuse_all()
                return
            if not engine.has_room(len(batch)):
                engine.when_there_is_room(self._append_parked)
                return
            try:
                self._partition.append_built(batch, partial(settle, stored))
            except WalBusy:
                engine.when_there_is_room(self._append_parked)
                return
            self._parked.popleft()

    def _refuse_all(self) -> None:
        """The partition has left this node: what was not appended is certainly not stored."""
        while self._parked:
            _, stored = self._parked.popleft()
            if not stored.done():
                stored.set_exception(errors.NotLeaderOrFollower(f"{self._partition} has moved"))
