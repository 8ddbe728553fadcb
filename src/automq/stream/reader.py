"""Reading what lies in objects: find the range, the index, the blocks; check; cache; cut."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from automq._native import (
    BlockCache,
    BlockRef,
    Buf,
    CacheRead,
    DamagedObject,
    Wish,
    find_timestamp,
    open_digest,
)
from automq.objectstore import NotFound, ObjectStore, StoreError
from automq.stream.blocks import BlockReader, ReadLimits, held, sum_bytes
from automq.stream.client import FoundRange, StorageClient
from automq.stream.fair_share import Grant, Taker
from automq.stream.read_ahead import Cursor, ReadAhead
from automq.world.probe import probe

log = logging.getLogger(__name__)

LOCATE_ATTEMPTS = 3
RANGES_AT_ONCE = 1_000
AHEAD_PIECE_BYTES = 4 << 20
"""One read ahead of a reader; several are on their way at a time."""


@dataclass(frozen=True, slots=True)
class Read:
    """Whole batches of one stream, in order; the next read begins at `next_offset`."""

    bufs: list[Buf]
    size_bytes: int
    next_offset: int
    memory: Grant | None = field(default=None, compare=False)
    """What it holds of the memory for reads: who asked for it in a name of its own lets go."""

    def release(self) -> None:
        """The bytes are not needed any more; said once."""
        if self.memory is not None:
            self.memory.release()


class ObjectReader:
    """Reads batches and digests out of objects, through the block cache.

    Invariant: what is returned passed its checksum, and came from the object that the extents name.
    A missing object is never an answer: the extents are asked for again, and if they still name it,
    and are still the cluster's, it is damage (HAZARDS 9).

    A reader that goes on where it ended is read ahead for, across objects. Reads ahead take at most
    half of the requests, and only memory that nobody waits for.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        client: StorageClient,
        cache: BlockCache,
        cluster_id: bytes,
        limits: ReadLimits,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._client = client
        self._ahead = ReadAhead(
            window_bytes_max=limits.ahead_bytes, total_bytes=limits.ahead_total_bytes
        )
        self.blocks = BlockReader(
            store=store, cache=cache, cluster_id=cluster_id, limits=limits, tasks=tasks
        )

    @property
    def cache(self) -> BlockCache:
        return self.blocks.cache

    @property
    def is_waited_for(self) -> bool:
        """Whether readers wait for each other: for memory, or for their requests' turn."""
        return self.blocks.is_waited_for

    # -- batches

    async def read(self, wish: Wish, taker: Taker | None = None) -> Read | None:
        """Whole batches from `start_offset` on, out of one object; None if no extent has it.

        A `taker` takes turns with the others and releases what it is given; without one the memory
        is the caller's own affair once this has returned. Raises DamagedObject.
        """
        missing = 0
        while True:
            ranges = await self._client.locate(wish.stream_id, wish.start_offset, 1)
            if not ranges or ranges[0].start_offset > wish.start_offset:
                return None
            found = ranges[0]
            try:
                read = await self._read_range(found, wish, taker or ("stream", wish.stream_id))
            except NotFound:
                missing += 1
                await self._must_look_again(found, missing)
                continue
            if taker is None:
                read.release()
            return read

    def read_kept(self, wish: Wish, taker: Taker) -> Read | None:
        """The same at once, if it is in memory and a reader has come this way; else None.

        Objects never change, so what was found before is still what these offsets hold.
        """
        cursor = self._ahead.at(wish.stream_id, wish.start_offset)
        found = None if cursor is None else cursor.range_at(wish.start_offset)
        index = None if found is None else self.blocks.kept_index(found.object_id)
        if found is None or index is None:
            return None
        wish = wish.below(found.end_offset)
        kept = wish.kept(index, self.blocks.cache)
        if kept is None:
            return None
        read, blocks_bytes = kept
        memory = self.blocks.memory.take_now(taker, blocks_bytes)
        if memory is None:
            return None
        cursor = self._ahead.take(wish.stream_id, wish.start_offset)
        return self._finish(wish, cursor, found, held_read(read, memory))

    async def _read_range(self, found: FoundRange, wish: Wish, taker: Taker) -> Read:
        index = await self.blocks.index(found, taker)
        wish = wish.below(found.end_offset)
        refs = wish.blocks(index)
        cursor = self._ahead.take(wish.stream_id, wish.start_offset)
        if cursor is not None and self._was_lost(cursor, refs):
            cursor.lost()
        memory = await self.blocks.memory.take(taker, sum_bytes(refs))
        try:
            blocks = await self.blocks.get(refs, wish.start_offset, memory)
            read = held_read(wish.gather(refs, blocks), memory)
        except BaseException:
            memory.release()
            raise
        return self._finish(wish, cursor, found, read)

    def _finish(self, wish: Wish, cursor: Cursor | None, found: FoundRange, read: Read) -> Read:
        """The reader is at the end of `read` now: keep on reading ahead of it."""
        self._ahead.look_at_waste(self.blocks.lost_bytes)
        cursor = self._ahead.put(wish.stream_id, cursor, read.next_offset, wish.start_offset)
        cursor.found(found)
        if cursor.room_bytes >= min(cursor.window_bytes, AHEAD_PIECE_BYTES) > 0 and (
            not cursor.is_running
        ):
            cursor.is_running = True
            name = f"read ahead of stream {wish.stream_id}"
            self.blocks.start(name, self._run_ahead(wish.stream_id, cursor))
        return read

    async def is_damage(self, found: FoundRange, missing: int) -> bool:
        """An object is missing, for the `missing`th time: whether that is damage.

        Compaction may have replaced it, and only the extents can tell: it is damage when they have
        named a missing one `LOCATE_ATTEMPTS` times and are still the cluster's. Who was replaced
        may read what its successor has deleted: raises NotLeaderOrFollower. Nothing is deleted by a
        successor before it is in the log as one.
        """
        probe("storage: an object is missing")
        self.blocks.forget(found.object_id)
        if missing < LOCATE_ATTEMPTS:
            return False
        await self._client.confirm()
        return True

    async def _must_look_again(self, found: FoundRange, missing: int) -> None:
        """Raises DamagedObject, and as `is_damage`."""
        if await self.is_damage(found, missing):
            raise DamagedObject(
                f"object {found.object_id} is named, and missing in {self.blocks.store_name}", 0
            )

    # -- ahead of readers

    def _was_lost(self, cursor: Cursor, refs: Sequence[BlockRef]) -> bool:
        """Whether a block that was read ahead is gone before its reader came."""
        return any(
            ref.start >= cursor.next_offset
            and ref.end <= cursor.ahead_offset
            and not self.blocks.is_near(ref)
            for ref in refs
        )

    async def _run_ahead(self, stream_id: int, cursor: Cursor) -> None:
        """Ask for the blocks in front of a reader, until its window is full or nothing is left.

        What goes wrong is not reported here: the reader meets it itself when it comes there.
        """
        taker = ("ahead", stream_id)
        try:
            # In whole pieces: a request for each block that a reader has passed costs too much.
            while cursor.room_bytes >= min(cursor.window_bytes, AHEAD_PIECE_BYTES) > 0:
                offset = cursor.ahead_offset
                ranges = await self._client.locate(stream_id, offset, 1)
                if not ranges or ranges[0].start_offset > offset:
                    return
                found = ranges[0]
                index = await self.blocks.index(found, taker)
                piece_bytes = min(cursor.room_bytes, AHEAD_PIECE_BYTES)
                refs = Wish(stream_id, offset, found.end_offset, piece_bytes).blocks(index)
                if cursor.ahead_offset != offset:
                    continue
                missing = [ref for ref in refs if not self.blocks.is_near(ref)]
                if missing and not self.blocks.begin_ahead(missing, taker):
                    # Whoever waits for memory comes first; the next read goes on from here.
                    return
                cursor.found(found)
                cursor.asked(refs[-1].end if refs else found.end_offset, sum_bytes(refs))
        except (StoreError, DamagedObject) as error:
            log.debug("reading ahead of stream %d ended: %s", stream_id, error)
        finally:
            cursor.is_running = False

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
                await self._must_look_again(found, missing)
                continue
            if record is not None:
                return record
            missing, offset = 0, max(offset, found.end_offset)

    async def _find_in(
        self, found: FoundRange, stream_id: int, timestamp: int, start_offset: int
    ) -> tuple[int, int] | None:
        """The same within one range."""
        taker = ("search", stream_id)
        index = await self.blocks.index(found, taker)
        offset = max(start_offset, found.start_offset)
        while True:
            ref = index.find_timestamp(stream_id, timestamp, start_offset=offset)
            if ref is None or ref.start >= found.end_offset:
                return None
            async with held(self.blocks.memory, taker, ref.size_bytes) as memory:
                [block] = await self.blocks.get([ref], ref.start, memory)
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
        taker = ("digest", stream_id)
        index = await self.blocks.index(found, taker)
        ref = index.digest_ref(stream_id)
        if ref is None:
            return None
        span = (ref.position, ref.position + ref.size_bytes)
        async with held(self.blocks.memory, taker, ref.size_bytes):
            [data] = await self.blocks.get_ranges(found.object_id, [span], taker)
        return open_digest(data, ref)


def held_read(read: CacheRead, memory: Grant) -> Read:
    return Read(read.bufs, read.size_bytes, read.next_offset, memory)
