"""Reading what lies in objects: find the range, the index, the blocks; check; cache; cut."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

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
from automq.objectstore import NotFound, ObjectStore
from automq.stream.client import FoundRange, StorageClient
from automq.stream.keys import data_key

log = logging.getLogger(__name__)

T = TypeVar("T")

LOCATE_ATTEMPTS = 3
RANGES_AT_ONCE = 1_000
BLOCKS_AT_ONCE = 64


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
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        client: StorageClient,
        cache: BlockCache,
        cluster_id: bytes,
        read_ahead_bytes: int,
        concurrency_max: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._store = store
        self._client = client
        self._cache = cache
        self._cluster_id = cluster_id
        self._read_ahead_bytes = read_ahead_bytes
        self._slots = asyncio.Semaphore(concurrency_max)
        self._tasks = tasks
        self._flights: dict[tuple[int, int], asyncio.Future[object]] = {}
        self.read_bytes = 0

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
        refs = self._wanted(index, stream_id, start_offset, end_offset, bytes_max)
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
        return Read(pieces, size_bytes, next_offset)

    def _wanted(
        self, index: ObjectIndex, stream_id: int, start_offset: int, end_offset: int, bytes_max: int
    ) -> list[BlockRef]:
        """The blocks to read: what was asked for, and as much ahead as is worth one request."""
        wanted_bytes = max(bytes_max, self._read_ahead_bytes)
        refs: list[BlockRef] = []
        total_bytes = 0
        for ref in index.find(stream_id, start_offset, limit=BLOCKS_AT_ONCE):
            if ref.start >= end_offset or (refs and total_bytes + ref.size_bytes > wanted_bytes):
                break
            refs.append(ref)
            total_bytes += ref.size_bytes
        return refs

    async def _blocks(self, refs: Sequence[BlockRef]) -> list[Buf]:
        """The contents of `refs`, which lie side by side; those that are missing by one read."""
        kept = [self._cache.get(ref.object_id, ref.position) for ref in refs]
        missing = [ref for ref, block in zip(refs, kept, strict=True) if block is None]
        if not missing:
            return [block for block in kept if block is not None]
        key = (missing[0].object_id, missing[0].position)
        fetched = await self._shared(key, lambda: self._get_blocks(missing))
        blocks: list[Buf] = []
        for ref, block in zip(refs, kept, strict=True):
            got = block or fetched.get(ref.position) or self._cache.get(ref.object_id, ref.position)
            if got is None:
                # Another reader shared its read with us, and wanted less.
                got = (await self._get_blocks([ref]))[ref.position]
            blocks.append(got)
        return blocks

    async def _get_blocks(self, refs: Sequence[BlockRef]) -> dict[int, Buf]:
        """Read neighbouring blocks at once; check and keep each."""
        start, end = refs[0].position, refs[-1].position + refs[-1].size_bytes
        data = await self._get_range(refs[0].object_id, start, end)
        blocks: dict[int, Buf] = {}
        for ref in refs:
            at = ref.position - start
            block = open_block(data.slice(at, at + ref.size_bytes), ref)
            self._cache.put(ref.object_id, ref.position, block, copy=len(refs) > 1)
            blocks[ref.position] = block
        return blocks

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
        return await self._shared(key, lambda: self._get_index(found))

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
        async with self._slots:
            data = await self._store.get_range(data_key(self._cluster_id, object_id), start, end)
        self.read_bytes += len(data)
        return data

    async def _shared(self, key: tuple[int, int], get: Callable[[], Awaitable[T]]) -> T:
        """Several readers of one cold place share one read; a cancelled one harms no other."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.get_running_loop().create_future()
            self._flights[key] = flight
            flying = self._fly(key, flight, get)
            try:
                self._tasks.create_task(flying, name=f"read object {key[0]}")
            except RuntimeError:
                # The node is ending: nobody reads any more, and who waits is cancelled with it.
                flying.close()
        return cast("T", await asyncio.shield(flight))

    async def _fly(
        self, key: tuple[int, int], flight: asyncio.Future[object], get: Callable[[], Awaitable[T]]
    ) -> None:
        """Read for all who wait; what goes wrong is theirs to hear, and ends no other task."""
        try:
            flight.set_result(await get())
        except Exception as error:
            flight.set_exception(error)
            flight.exception()
        except BaseException:
            flight.cancel()
            raise
        finally:
            del self._flights[key]
