"""What a WAL still holds of its owner, made into objects: after a crash, or for a dead node.

There is one way back for everything acknowledged: the tail of the WAL is read once, built into
objects and committed like any other upload. Opening a partition then never needs a WAL.

Order (HAZARDS 2): the takeover is stored first, so the start that the log names cannot move; then
the WAL is fenced by its kind's means; then it is read; then what was read is committed, whole
objects in WAL order, the last of them in the entry that closes the WAL. A death anywhere in between
is answered by doing it all again: what is committed already is told `ALREADY`, and nothing is
deleted before the WAL is closed.
"""

import logging
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass

from automq._native import LogCache, WalRecord, batches, build_object
from automq.objectstore import ObjectStore
from automq.stream.client import ObjectCommit, StorageClient
from automq.stream.keys import data_key
from automq.world.probe import probe

log = logging.getLogger(__name__)

UNLIMITED_BYTES = 2**62


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery did. `records` are Kafka's, as their batches count them. `last` is uploaded
    and not committed: it closes the WAL with it.
    """

    records: int
    size_bytes: int
    objects: int
    end_position: int
    last: ObjectCommit | None


class WalRecovery:
    """Uploads and commits the tail of one WAL."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        client: StorageClient,
        cluster_id: bytes,
        wal_id: int,
        object_bytes: int,
    ) -> None:
        self._store = store
        self._client = client
        self._cluster_id = cluster_id
        self._wal_id = wal_id
        self._object_bytes = object_bytes
        self._cache = LogCache(bytes_max=UNLIMITED_BYTES)
        self._epochs: dict[int, int] = {}
        self._end_position = 0
        self._records = 0
        self._size_bytes = 0
        self._objects = 0

    async def run(self, chunks: AsyncIterable[Sequence[WalRecord]]) -> Recovered:
        """Upload everything that `chunks` give, in their order, and commit all but the last object,
        whose commit is the caller's."""
        async for chunk in chunks:
            for record in chunk:
                if len(record.payload) == 0:
                    continue
                if not self._continues(record):
                    probe("storage: a stream goes on elsewhere in one write-ahead log")
                    await self._commit()
                self._add(record)
            if self._cache.active_bytes >= self._object_bytes:
                await self._commit()
        last = await self._upload()
        return Recovered(self._records, self._size_bytes, self._objects, self._end_position, last)

    def _continues(self, record: WalRecord) -> bool:
        """Whether the record goes on where its stream is, at the same epoch.

        A stream that left this node and came back begins again elsewhere: in an object of its own.
        """
        end_offset = self._cache.end_offset(record.stream_id)
        epoch = self._epochs.get(record.stream_id, record.epoch)
        return end_offset in (None, record.base_offset) and epoch == record.epoch

    def _add(self, record: WalRecord) -> None:
        found = batches(record.payload)
        newest = max(batch.max_timestamp for batch in found)
        self._cache.append(
            record.stream_id, record.base_offset, record.last_offset, newest, record.payload
        )
        self._epochs[record.stream_id] = record.epoch
        self._end_position = record.end_position
        self._records += sum(batch.record_count for batch in found)
        self._size_bytes += len(record.payload)

    async def _commit(self) -> None:
        commit = await self._upload()
        if commit is not None:
            await self._client.commit_object(commit, urgent=True)

    async def _upload(self) -> ObjectCommit | None:
        """Put what was read so far into the store, as an object; None if nothing was."""
        generation = self._cache.seal()
        if generation is None:
            return None
        object_id = await self._client.prepare_objects(1)
        built = build_object(
            self._cache, generation, object_id=object_id, cluster_id=self._cluster_id
        )
        assert built is not None, generation
        await self._store.put(data_key(self._cluster_id, object_id), built.parts)
        commit = ObjectCommit(
            object_id=object_id,
            size_bytes=built.size_bytes,
            index_position=built.index_position,
            index_bytes=built.index_bytes,
            wal_id=self._wal_id,
            wal_start=self._end_position,
            ranges=[row[:5] for row in built.ranges],
            epochs=[self._epochs[row[0]] for row in built.ranges],
        )
        self._objects += 1
        self._cache = LogCache(bytes_max=UNLIMITED_BYTES)
        self._epochs = {}
        return commit
