"""Blocks and indexes of objects: from the cache, from a read on its way, or from the store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from automq._native import BlockCache, BlockRef, Buf, DamagedObject, ObjectIndex, open_block
from automq.objectstore import ObjectStore
from automq.stream.client import FoundRange
from automq.stream.fair_share import FairShare, Grant, Taker
from automq.stream.keys import data_key
from automq.world.background import begin
from automq.world.probe import probe

T = TypeVar("T")

Opened: TypeAlias = dict[int, Buf | DamagedObject]
"""Blocks of one object by position; of a damaged one, how. Nobody pays for a neighbour's damage."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What reading from objects may use.

    `memory_bytes`: of data between the store and those who asked: on its way, and not yet sent.
    `inflight_max`: requests to the store at a time; reads ahead take at most half of them.
    `ahead_bytes`: in front of one reader, `ahead_total_bytes` in front of all.
    """

    memory_bytes: int
    inflight_max: int
    ahead_bytes: int
    ahead_total_bytes: int


class BlockReader:
    """Reads parts of objects; those who want the same part share one read.

    Invariant: memory is granted before a block is asked for, and held until it is neither on its
    way nor with whoever asked, so reads never hold more than their budget (but for one block that
    is larger than all of it, alone). Nothing but the store is waited for with memory in hand, so
    takers never wait for each other in a circle.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        cache: BlockCache,
        cluster_id: bytes,
        limits: ReadLimits,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._store = store
        self._cache = cache
        self._cluster_id = cluster_id
        self.memory = FairShare(limits.memory_bytes, is_capped=True)
        self._slots = FairShare(limits.inflight_max)
        self._ahead_slots = FairShare(max(1, limits.inflight_max // 2))
        self._tasks = tasks
        # By object and position: an index and a block never lie at the same place.
        self._flights: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self.read_bytes = 0

    @property
    def store_name(self) -> str:
        return self._store.name

    @property
    def cache(self) -> BlockCache:
        return self._cache

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for memory or for the turn of a request."""
        return self.memory.has_waiting or self._slots.has_waiting

    @property
    def lost_bytes(self) -> int:
        """What was read ahead and evicted before anybody wanted it, since the start."""
        return self._cache.unread_bytes

    # -- blocks

    def is_kept(self, ref: BlockRef) -> bool:
        return self._cache.has(ref.object_id, ref.position)

    def is_near(self, ref: BlockRef) -> bool:
        """Whether a block is in memory or on its way there."""
        return (ref.object_id, ref.position) in self._flights or self.is_kept(ref)

    async def get(self, refs: Sequence[BlockRef], start_offset: int, memory: Grant) -> list[Buf]:
        """The contents of `refs`, all of one object; those that nobody reads yet by one read.

        A reader at `start_offset` within a block has had that before: it is no new asking.

        `memory` is enough for them, and the caller's; a read that is begun here holds it as well.
        Raises DamagedObject, NotFound.
        """
        blocks: Opened = {}
        missing: list[BlockRef] = []
        joined: list[BlockRef] = []
        flights: dict[int, asyncio.Future[Opened]] = {}
        for ref in refs:
            kept = self._kept(ref, start_offset)
            flight = self._flights.get((ref.object_id, ref.position))
            if kept is not None:
                blocks[ref.position] = kept
            elif flight is not None:
                probe("storage: readers share the read of a block")
                flights[id(flight)] = flight
                joined.append(ref)
            else:
                missing.append(ref)
        if missing:
            flight = self._begin_blocks(missing, memory.hold(), is_ahead=False)
            flights[id(flight)] = flight
        for flight in flights.values():
            # A reader that leaves does not take the shared read along.
            blocks |= await asyncio.shield(flight)
        for ref in joined:
            # The cache has to know that its reader came: it counts what is evicted unread.
            self._cache.get(ref.object_id, ref.position)
        return [whole(blocks[ref.position]) for ref in refs]

    def _kept(self, ref: BlockRef, start_offset: int) -> Buf | None:
        is_again = ref.start < start_offset
        return self._cache.get(ref.object_id, ref.position, is_again=is_again)

    def begin_ahead(self, refs: Sequence[BlockRef], taker: Taker) -> bool:
        """Start to read blocks of one object before anybody wants them, if there is memory for it
        that nobody waits for.
        """
        memory = self.memory.take_now(taker, sum_bytes(refs))
        if memory is None:
            return False
        self._begin_blocks(refs, memory, is_ahead=True)
        return True

    def _begin_blocks(
        self, refs: Sequence[BlockRef], memory: Grant, *, is_ahead: bool
    ) -> "asyncio.Future[Opened]":
        """Start to read blocks of one object; `memory` is let go when they are kept."""

        async def get() -> Opened:
            taker, turn = memory.taker, None
            try:
                if is_ahead:
                    turn = await self._ahead_slots.take(taker)
                return await self._get_blocks(refs, taker, is_ahead=is_ahead)
            finally:
                if turn is not None:
                    turn.release()
                memory.release()

        return self._begin([(ref.object_id, ref.position) for ref in refs], get)

    async def _get_blocks(
        self, refs: Sequence[BlockRef], taker: Taker, *, is_ahead: bool
    ) -> Opened:
        """Read blocks of one object at once; check and keep each."""
        object_id = refs[0].object_id
        spans = [(ref.position, ref.position + ref.size_bytes) for ref in refs]
        blocks: Opened = {}
        for ref, data in zip(refs, await self.get_ranges(object_id, spans, taker), strict=True):
            try:
                block = open_block(data, ref)
            except DamagedObject as damage:
                blocks[ref.position] = damage
                continue
            self._cache.put(object_id, ref.position, block, is_ahead=is_ahead)
            blocks[ref.position] = block
        return blocks

    # -- indexes

    def kept_index(self, object_id: int) -> ObjectIndex | None:
        return self._cache.get_index(object_id)

    async def index(self, found: FoundRange, taker: Taker) -> ObjectIndex:
        """The index of an object, from the cache or the store."""
        kept = self._cache.get_index(found.object_id)
        if kept is not None:
            return kept
        key = (found.object_id, found.index_position)
        flight = self._flights.get(key) or self._begin([key], lambda: self._get_index(found, taker))
        return cast("ObjectIndex", await asyncio.shield(flight))

    async def _get_index(self, found: FoundRange, taker: Taker) -> ObjectIndex:
        start = found.index_position
        span = (start, start + found.index_bytes)
        async with held(self.memory, taker, found.index_bytes):
            [data] = await self.get_ranges(found.object_id, [span], taker)
        index = ObjectIndex(
            data, position=start, object_id=found.object_id, cluster_id=self._cluster_id
        )
        self._cache.put_index(index)
        return index

    # -- the store

    def forget(self, object_id: int) -> None:
        """Keep nothing of an object that is gone."""
        self._cache.drop_object(object_id)

    async def get_ranges(
        self, object_id: int, spans: Sequence[tuple[int, int]], taker: Taker
    ) -> list[Buf]:
        """Bytes of an object, when it is the taker's turn. Whoever calls it has the memory."""
        turn = await self._slots.take(taker)
        try:
            data = await self._store.get_ranges(data_key(self._cluster_id, object_id), spans)
        finally:
            turn.release()
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
        self.start(f"read object {keys[0][0]}", fly(flight, get))
        return flight

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the reads, until the node ends: then nobody reads any more, and who
        waits is cancelled with it.
        """
        begin(self._tasks, name, work)


@asynccontextmanager
async def held(share: FairShare, taker: Taker, amount: int = 1) -> AsyncIterator[Grant]:
    """A grant for the time of a `with` block."""
    grant = await share.take(taker, amount)
    try:
        yield grant
    finally:
        grant.release()


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


def whole(block: Buf | DamagedObject) -> Buf:
    if isinstance(block, DamagedObject):
        raise block
    return block


def sum_bytes(refs: Sequence[BlockRef]) -> int:
    return sum(ref.size_bytes for ref in refs)
