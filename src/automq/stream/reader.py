"""Reading what lies in objects: find the range, the index, the blocks; check; cache; cut."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from automq._native import (
    BlockCache,
    BlockRef,
    Buf,
    DamagedObject,
    ObjectIndex,
    cut,
    find_timestamp,
    open_block,
    open_digest,
)
from automq.objectstore import NotFound, ObjectStore, StoreError
from automq.stream.client import FoundRange, StorageClient
from automq.stream.keys import data_key
from automq.stream.read_ahead import Cursor, ReadAhead
from automq.world.probe import probe

log = logging.getLogger(__name__)

T = TypeVar("T")

Opened: TypeAlias = dict[int, Buf | DamagedObject]
"""Blocks of one object by position; of a damaged one, how. Nobody pays for a neighbour's damage."""

LOCATE_ATTEMPTS = 3
RANGES_AT_ONCE = 1_000
BLOCKS_AT_ONCE = 64
AHEAD_PIECE_BYTES = 2 << 20
"""One read ahead of a reader; several are on their way at a time."""


@dataclass(frozen=True, slots=True)
class Read:
    """Whole batches of one stream, in order; the next read begins at `next_offset`."""

    bufs: list[Buf]
    size_bytes: int
    next_offset: int


class ObjectReader:
    """Reads batches and digests out of objects, through the block cache.

    Invariant: what is returned passed its checksum, and came from the object that the extents name.
    A missing object is never an answer: the extents are asked for again, and if they still name it,
    it is damage (HAZARDS 9).

    A reader that goes on where it ended is read ahead for, across objects. Reads ahead take at most
    half of the slots, so what is waited for never stands behind all of them.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        client: StorageClient,
        cache: BlockCache,
        cluster_id: bytes,
        read_ahead_bytes: int,
        read_ahead_total_bytes: int,
        concurrency_max: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._store = store
        self._client = client
        self._cache = cache
        self._cluster_id = cluster_id
        self._ahead = ReadAhead(
            window_bytes_max=read_ahead_bytes, total_bytes=read_ahead_total_bytes
        )
        self._slots = asyncio.Semaphore(concurrency_max)
        self._ahead_slots = asyncio.Semaphore(max(1, concurrency_max // 2))
        self._tasks = tasks
        # By object and position: an index and a block never lie at the same place.
        self._flights: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self.read_bytes = 0

    @property
    def cache(self) -> BlockCache:
        return self._cache

    @property
    def is_waited_for(self) -> bool:
        """Whether readers wait for others: every slot is taken."""
        return self._slots.locked()

    # -- batches

    async def read(
        self, stream_id: int, start_offset: int, end_offset: int, bytes_max: int, at_least_one: bool
    ) -> Read | None:
        """Whole batches from `start_offset` on, out of one object; None if no extent has it.

        Raises DamagedObject.
        """
        missing = 0
        while True:
            ranges = await self._client.locate(stream_id, start_offset, 1)
            if not ranges or ranges[0].start_offset > start_offset:
                return None
            found = ranges[0]
            try:
                return await self._read_range(
                    found, stream_id, start_offset, end_offset, bytes_max, at_least_one
                )
            except NotFound:
                missing += 1
                self._must_look_again(found, missing)

    def _must_look_again(self, found: FoundRange, missing: int) -> None:
        """An object is missing: compaction may have replaced it, and only the extents can tell.

        Raises DamagedObject when they have named a missing one `LOCATE_ATTEMPTS` times.
        """
        probe("storage: an object is missing")
        self._cache.drop_object(found.object_id)
        if missing >= LOCATE_ATTEMPTS:
            raise DamagedObject(
                f"object {found.object_id} is named, and missing in {self._store.name}", 0
            )

    async def _read_range(
        self,
        found: FoundRange,
        stream_id: int,
        start_offset: int,
        end_offset: int,
        bytes_max: int,
        at_least_one: bool,
    ) -> Read:
        index = await self.index(found)
        end_offset = min(end_offset, found.end_offset)
        refs = wanted(index, stream_id, start_offset, end_offset, bytes_max)
        cursor = self._ahead.take(stream_id, start_offset)
        if cursor is not None and self._was_lost(cursor, refs):
            cursor.lost()
        pieces: list[Buf] = []
        size_bytes, next_offset = 0, start_offset
        for ref, data in zip(refs, await self._blocks(refs), strict=True):
            first = at_least_one and size_bytes == 0
            part = cut(data, next_offset, end_offset, max(bytes_max - size_bytes, 0), first)
            pieces += part.bufs
            size_bytes += part.size_bytes
            next_offset = part.next_offset
            if cut(data, next_offset, ref.end, 0, True).size_bytes > 0:
                break
            # Nothing of this block is left; log compaction may have taken its last offsets.
            next_offset = ref.end
        cursor = self._ahead.put(stream_id, cursor, next_offset, start_offset)
        self._go_ahead(stream_id, cursor)
        return Read(pieces, size_bytes, next_offset)

    async def _blocks(self, refs: Sequence[BlockRef]) -> list[Buf]:
        """The contents of `refs`, all of one object; those that nobody reads yet by one read."""
        blocks: Opened = {}
        missing: list[BlockRef] = []
        flights: dict[int, asyncio.Future[Opened]] = {}
        for ref in refs:
            kept = self._cache.get(ref.object_id, ref.position)
            flight = self._flights.get((ref.object_id, ref.position))
            if kept is not None:
                blocks[ref.position] = kept
            elif flight is not None:
                probe("storage: readers share the read of a block")
                flights[id(flight)] = flight
            else:
                missing.append(ref)
        if missing:
            flight = self._begin_blocks(missing, self._get_blocks)
            flights[id(flight)] = flight
        for flight in flights.values():
            # A reader that leaves does not take the shared read along.
            blocks |= await asyncio.shield(flight)
        opened: list[Buf] = []
        for ref in refs:
            block = blocks[ref.position]
            if isinstance(block, DamagedObject):
                raise block
            opened.append(block)
        return opened

    def _begin_blocks(
        self, refs: Sequence[BlockRef], get: Callable[[Sequence[BlockRef]], Awaitable[Opened]]
    ) -> "asyncio.Future[Opened]":
        """Start to read blocks of one object."""
        return self._begin([(ref.object_id, ref.position) for ref in refs], lambda: get(refs))

    async def _get_ahead(self, refs: Sequence[BlockRef]) -> Opened:
        async with self._ahead_slots:
            return await self._get_blocks(refs)

    async def _get_blocks(self, refs: Sequence[BlockRef]) -> Opened:
        """Read blocks of one object at once; check and keep each."""
        object_id = refs[0].object_id
        spans = [(ref.position, ref.position + ref.size_bytes) for ref in refs]
        blocks: Opened = {}
        for ref, data in zip(refs, await self._get_ranges(object_id, spans), strict=True):
            try:
                block = open_block(data, ref)
            except DamagedObject as damage:
                blocks[ref.position] = damage
                continue
            self._cache.put(object_id, ref.position, block)
            blocks[ref.position] = block
        return blocks

    # -- ahead of readers

    def _was_lost(self, cursor: Cursor, refs: Sequence[BlockRef]) -> bool:
        """Whether a block that was read ahead is gone before its reader came."""
        return any(
            ref.start >= cursor.next_offset
            and ref.end <= cursor.ahead_offset
            and not self._is_near(ref)
            for ref in refs
        )

    def _go_ahead(self, stream_id: int, cursor: Cursor) -> None:
        if cursor.room_bytes > 0 and not cursor.is_running:
            cursor.is_running = True
            self._start(f"read ahead of stream {stream_id}", self._run_ahead(stream_id, cursor))

    async def _run_ahead(self, stream_id: int, cursor: Cursor) -> None:
        """Ask for the blocks in front of a reader, until its window is full or nothing is left.

        What goes wrong is not reported here: the reader meets it itself when it comes there.
        """
        try:
            while cursor.room_bytes > 0:
                offset = cursor.ahead_offset
                ranges = await self._client.locate(stream_id, offset, 1)
                if not ranges or ranges[0].start_offset > offset:
                    return
                index = await self.index(ranges[0])
                piece_bytes = min(cursor.room_bytes, AHEAD_PIECE_BYTES)
                end_offset = ranges[0].end_offset
                refs = wanted(index, stream_id, offset, end_offset, piece_bytes)
                if cursor.ahead_offset != offset:
                    continue
                cursor.asked(refs[-1].end if refs else end_offset, sum_bytes(refs))
                missing = [ref for ref in refs if not self._is_near(ref)]
                if missing:
                    self._begin_blocks(missing, self._get_ahead)
        except (StoreError, DamagedObject) as error:
            log.debug("reading ahead of stream %d ended: %s", stream_id, error)
        finally:
            cursor.is_running = False

    def _is_near(self, ref: BlockRef) -> bool:
        """Whether a block is in memory or on its way there."""
        key = (ref.object_id, ref.position)
        return key in self._flights or self._cache.has(*key)

    # -- timestamps

    async def find_timestamp(
        self, stream_id: int, timestamp: int, start_offset: int
    ) -> tuple[int, int] | None:
        """(timestamp, offset) of the first record at or after `timestamp`, from an offset on."""
        offset, missing = start_offset, 0
        while True:
            found = await self._client.locate_timestamp(stream_id, timestamp, offset)
            if found is None:
                return None
            try:
                record = await self._find_in(found, stream_id, timestamp, start_offset)
            except NotFound:
                missing += 1
                self._must_look_again(found, missing)
                continue
            if record is not None:
                return record
            missing, offset = 0, max(offset, found.end_offset)

    async def _find_in(
        self, found: FoundRange, stream_id: int, timestamp: int, start_offset: int
    ) -> tuple[int, int] | None:
        """The same within one range."""
        index = await self.index(found)
        offset = max(start_offset, found.start_offset)
        while True:
            ref = index.find_timestamp(stream_id, timestamp, start_offset=offset)
            if ref is None or ref.start >= found.end_offset:
                return None
            [block] = await self._blocks([ref])
            record = find_timestamp(block, timestamp, start_offset=start_offset)
            if record is not None:
                return record[1], record[0]
            offset = ref.end

    async def largest_timestamp(self, stream_id: int, start_offset: int) -> int:
        """The largest timestamp of all ranges from `start_offset` on, -1 if there is none."""
        best, offset = -1, start_offset
        while True:
            ranges = await self._client.locate(stream_id, offset, RANGES_AT_ONCE)
            if not ranges:
                return best
            best = max(best, *(found.max_timestamp for found in ranges))
            offset = ranges[-1].end_offset

    # -- what opening a partition needs

    async def locate(self, stream_id: int, offset: int, limit: int) -> Sequence[FoundRange]:
        return await self._client.locate(stream_id, offset, limit)

    async def digest(self, found: FoundRange, stream_id: int) -> Buf | None:
        """What a range does to the producer state of its stream (HAZARDS 13); None for nothing."""
        index = await self.index(found)
        ref = index.digest_ref(stream_id)
        if ref is None:
            return None
        data = await self._get_range(found.object_id, ref.position, ref.position + ref.size_bytes)
        return open_digest(data, ref)

    async def index(self, found: FoundRange) -> ObjectIndex:
        """The index of an object, from the cache or the store."""
        kept = self._cache.get_index(found.object_id)
        if kept is not None:
            return kept
        key = (found.object_id, found.index_position)
        flight = self._flights.get(key) or self._begin([key], lambda: self._get_index(found))
        return cast("ObjectIndex", await asyncio.shield(flight))

    async def _get_index(self, found: FoundRange) -> ObjectIndex:
        start = found.index_position
        data = await self._get_range(found.object_id, start, start + found.index_bytes)
        index = ObjectIndex(
            data, position=start, object_id=found.object_id, cluster_id=self._cluster_id
        )
        self._cache.put_index(index)
        return index

    # -- the store

    async def _get_range(self, object_id: int, start: int, end: int) -> Buf:
        return (await self._get_ranges(object_id, [(start, end)]))[0]

    async def _get_ranges(self, object_id: int, spans: Sequence[tuple[int, int]]) -> list[Buf]:
        async with self._slots:
            data = await self._store.get_ranges(data_key(self._cluster_id, object_id), spans)
        self.read_bytes += sum(map(len, data))
        return data

    def _begin(
        self, keys: Sequence[tuple[int, int]], get: Callable[[], Awaitable[T]]
    ) -> "asyncio.Future[T]":
        """Start to read places of one object; whoever wants one of them meanwhile joins.

        Who waits does so behind a shield: a reader that leaves harms no other.
        """
        flight: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._flights.update(dict.fromkeys(keys, flight))

        def forget(_: "asyncio.Future[T]") -> None:
            for key in keys:
                del self._flights[key]

        flight.add_done_callback(forget)
        self._start(f"read object {keys[0][0]}", fly(flight, get))
        return flight

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            self._tasks.create_task(work, name=name)
        except RuntimeError:
            # The node is ending: nobody reads any more, and who waits is cancelled with it.
            work.close()


async def fly(flight: "asyncio.Future[Any]", get: Callable[[], Awaitable[object]]) -> None:
    """Read for all who wait; what goes wrong is theirs to hear, and ends no other task."""
    try:
        flight.set_result(await get())
    except Exception as error:
        flight.set_exception(error)
        flight.exception()
    except BaseException:
        flight.cancel()
        raise


def wanted(
    index: ObjectIndex, stream_id: int, start_offset: int, end_offset: int, bytes_max: int
) -> list[BlockRef]:
    """The blocks to read for `bytes_max` bytes from `start_offset` on, at least one if there is."""
    refs: list[BlockRef] = []
    total_bytes = 0
    for ref in index.find(stream_id, start_offset, limit=BLOCKS_AT_ONCE):
        if ref.start >= end_offset or (refs and total_bytes + ref.size_bytes > bytes_max):
            break
        refs.append(ref)
        total_bytes += ref.size_bytes
    return refs


def sum_bytes(refs: Sequence[BlockRef]) -> int:
    return sum(ref.size_bytes for ref in refs)
