"""What a WAL still holds of its owner, made into objects: after a crash, or for a dead node.

There is one way back for everything acknowledged: the tail of the WAL is read once, built into
objects and committed like any other upload. Opening a partition then never needs a WAL.

Order (HAZARDS 2): the takeover is stored first, so the start that the log names cannot move; then
the WAL is fenced by its kind's means; then it is read; then what was read is committed, whole
objects in WAL order, the last of them in the entry that closes the WAL. A death anywhere in between
is answered by doing it all again: what is committed already is told `ALREADY`, and nothing is
deleted before the WAL is closed.

What takes long is the store, and a dead node's partitions wait for it: objects are put side by
side, while more is read, and those that are stored share entries of the metadata log.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from itertools import islice

from automq._native import LogCache, WalRecord, batches, build_object
from automq.objectstore import ObjectStore
from automq.stream.client import ObjectCommit, StorageClient
from automq.stream.keys import data_key
from automq.stream.uploader import ObjectIds
from automq.world import Clock
from automq.world.background import beside
from automq.world.probe import probe

log = logging.getLogger(__name__)

UNLIMITED_BYTES = 2**62
RANGES_TOGETHER = 10_000
"""So many ranges, or one object, are committed in one entry, which holds 8 MiB."""


@dataclass(frozen=True, slots=True)
class RecoveryLimits:
    """How large objects are, and how many are on their way: as in an upload, and no more than fit
    into `memory_bytes` beside the one that is being filled.
    """

    object_bytes: int
    inflight_max: int
    memory_bytes: int

    @property
    def puts_max(self) -> int:
        room = self.memory_bytes // self.object_bytes - 1
        return max(1, min(self.inflight_max, room))


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


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes one object. `end_position`: of the WAL, behind its last record."""

    cache: LogCache
    generation: int
    epochs: dict[int, int]
    end_position: int


class WalRecovery:
    """Uploads and commits the tail of one WAL.

    Invariant: a commit lets the WAL start behind its object, so an object is committed only after
    all before it, or with them, in one call and in their order. A death leaves the WAL's start in
    front of the first that is not committed, and objects that nobody knows, which are swept.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        client: StorageClient,
        clock: Clock,
        cluster_id: bytes,
        wal_id: int,
        limits: RecoveryLimits,
    ) -> None:
        self._store = store
        self._client = client
        self._cluster_id = cluster_id
        self._wal_id = wal_id
        self._limits = limits
        # Most logs are one object: ids that nobody uses have to be swept.
        self._ids = ObjectIds(client, clock, first=1)
        self._slots = asyncio.Semaphore(limits.puts_max)
        self._sent: deque[asyncio.Task[ObjectCommit]] = deque()
        self._changed = asyncio.Event()
        self._is_read = False
        self._cache = LogCache(bytes_max=UNLIMITED_BYTES)
        self._epochs: dict[int, int] = {}
        self._end_position = 0
        self._records = 0
        self._size_bytes = 0
        self._objects = 0

    async def run(self, chunks: AsyncIterable[Sequence[WalRecord]]) -> Recovered:
        """Upload everything that `chunks` give, in their order, and commit all but the last object,
        whose commit is the caller's. Raises what `chunks`, the store and the controller do."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commit_in_order(), name="recovery commits")
                await self._read(chunks, tasks)
        except BaseExceptionGroup as failures:
            stopped = asyncio.current_task()
            if stopped is not None and stopped.cancelling():
                # Its parts fail because all that they need stops as well: that is no failure.
                raise asyncio.CancelledError from None
            raise failures.exceptions[0] from None
        last = self._sent[0].result() if self._sent else None
        return Recovered(self._records, self._size_bytes, self._objects, self._end_position, last)

    async def _read(
        self, chunks: AsyncIterable[Sequence[WalRecord]], tasks: asyncio.TaskGroup
    ) -> None:
        async for chunk in chunks:
            for record in chunk:
                if len(record.payload) == 0:
                    continue
                if not self._continues(record):
                    probe("storage: a stream goes on elsewhere in one write-ahead log")
                    await self._send(tasks)
                self._add(record)
            if self._cache.active_bytes >= self._limits.object_bytes:
                await self._send(tasks)
        await self._send(tasks)
        self._is_read = True
        self._changed.set()

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

    async def _send(self, tasks: asyncio.TaskGroup) -> None:
        """Let what was read so far go, as an object, as soon as there is room for one."""
        generation = self._cache.seal()
        if generation is None:
            return
        await self._slots.acquire()
        piece = Piece(self._cache, generation, self._epochs, self._end_position)
        self._cache, self._epochs = LogCache(bytes_max=UNLIMITED_BYTES), {}
        putting = tasks.create_task(self._put(piece), name=f"recovery to {piece.end_position}")
        putting.add_done_callback(self._note_put)
        self._sent.append(putting)
        self._changed.set()

    def _note_put(self, _: "asyncio.Task[ObjectCommit]") -> None:
        self._slots.release()
        self._changed.set()

    async def _put(self, piece: Piece) -> ObjectCommit:
        """Store one object; the commit that makes it count."""
        object_id = await self._ids.take()
        built = await beside(
            lambda: build_object(
                piece.cache, piece.generation, object_id=object_id, cluster_id=self._cluster_id
            )
        )
        assert built is not None, piece
        await self._store.put(data_key(self._cluster_id, object_id), built.parts)
        self._objects += 1
        return ObjectCommit(
            object_id=object_id,
            size_bytes=built.size_bytes,
            index_position=built.index_position,
            index_bytes=built.index_bytes,
            wal_id=self._wal_id,
            wal_start=piece.end_position,
            ranges=[row[:5] for row in built.ranges],
            epochs=[piece.epochs[row[0]] for row in built.ranges],
        )

    async def _commit_in_order(self) -> None:
        """Commit what is stored, until all is read and only the last is left."""
        while not self._is_read or len(self._sent) > 1:
            stored = self._stored()
            if not stored:
                await self._changed.wait()
                self._changed.clear()
                continue
            await self._client.commit_objects(stored)
            for _ in stored:
                self._sent.popleft()

    def _stored(self) -> list[ObjectCommit]:
        """Those that are stored from the first on, without a gap, and are not the last: what is
        committed next.
        """
        found: list[ObjectCommit] = []
        ranges = 0
        for putting in islice(self._sent, max(len(self._sent) - 1, 0)):
            if not putting.done():
                break
            commit = putting.result()
            ranges += len(commit.ranges)
            if found and ranges > RANGES_TOGETHER:
                break
            found.append(commit)
        return found
