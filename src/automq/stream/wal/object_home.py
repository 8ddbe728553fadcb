"""WALs in an object store: opening, fencing and reading, removing."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator

from automq._native import (
    Buf,
    WalDamaged,
    WalEnd,
    WalMissing,
    WalObject,
    WalRecord,
    WalUnsupported,
    WalUsed,
    wal_object_read,
)
from automq.objectstore import Retrying
from automq.stream.wal.object_keys import (
    marks_prefix,
    number_at,
    number_of,
    position_at,
    spread_prefix,
)
from automq.stream.wal.object_marks import Broken, WalObjects
from automq.stream.wal.object_wal import CREATES_MAX, ObjectWal
from automq.stream.wal.wal import WalOptions, WalOwner, WalTaker
from automq.world import World
from automq.world.background import Tasks

NOBODY = WalTaker(-1, -1)
FENCES_MAX = 2 * CREATES_MAX
READS_MAX = 4
"""Objects that are read ahead of the one being handed out."""

log = logging.getLogger(__name__)


class ObjectRecovery:
    """Fences a WAL, then reads it."""

    def __init__(
        self, store: Retrying, tasks: Tasks, objects: WalObjects, start: int, taker: WalTaker
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._objects = objects
        self._start = start
        self._taker = taker
        self._end: WalEnd | None = None

    @property
    def end(self) -> WalEnd:
        assert self._end is not None, "the end is known once everything was read"
        return self._end

    async def __aiter__(self) -> AsyncIterator[list[WalRecord]]:
        fence, is_clean = await self.fence()
        async for number, data in self._read(number_at(self._start), fence):
            records = self._records(number, data)
            if self._start > position_at(number):
                records = [it for it in records if it.position >= self._start]
            if records:
                yield records
        await self._check_end(fence)
        self._end = WalEnd(position_at(fence), is_clean, False)

    async def fence(self) -> tuple[int, bool]:
        """The number that ends the WAL for its owner for ever, and whether the owner ended it.

        Invariants (HAZARDS 1, 2): the caller has stored that the owner is fenced, so the start
        cannot move any more; the object that it is in is never deleted, so a WAL whose start is not
        found is not this one. What we create, or find, under the first number without a batch is
        never deleted. The owner acknowledges a batch only when all below are stored: so nothing
        from the fence on was acknowledged, and nothing below it can be added or change.
        """
        objects, number = self._objects, number_at(self._start)
        if await objects.begin() is None:
            raise WalMissing(
                f"{objects.name} is not there: is this the store that it was written to?"
            )
        if self._start > 0 and await objects.header(objects.key(number)) is None:
            # Its patience is for a store without a quorum.
            await objects.must_get(number)
        width = 1
        while True:
            number, mark = await self._first_free(number)
            if mark is not None:
                return number, mark.kind == "end"
            some = range(number, number + width)
            lost = await asyncio.gather(*(self._mark(it) for it in some))
            if lost == [None]:
                return number, False
            # The owner lives, and was first. It has at most CREATES_MAX numbers on their way, so
            # it does not get past twice as many fences while they are created: the lowest counts.
            width = FENCES_MAX

    async def _check_end(self, fence: int) -> None:
        """Raise WalDamaged if objects behind the fence prove that it stands where a batch stood.

        Invariant: a batch names a number up to which its owner had acknowledged, and the owner
        acknowledges only what is stored. So what has a number below that one and at the fence or
        above was stored once and is lost: somebody deleted it, or the fence took its place in a
        store that ignores conditions. It is told of, and the WAL stays open; what was
        never acknowledged and lies behind a true fence names no number above it (HAZARDS 2). Only
        after what is below the fence was read, for whoever gives the WAL up brings that to safety.
        """
        objects = self._objects
        # Numbers are sent in order, so the last ones name the most.
        last = (await objects.stored(above=fence))[-CREATES_MAX:]
        for number, found in zip(last, await objects.headers(last), strict=True):
            upto = found.acknowledged if isinstance(found, WalObject) else None
            if upto is not None and upto > fence:
                raise WalDamaged(
                    f"{self._store.name}: {objects.key(fence)} held a batch that was acknowledged, "
                    f"and does not any more: {objects.key(number)} came after everything below "
                    f"number {upto}"
                )

    async def _mark(self, number: int) -> WalObject | Broken | None:
        return await self._objects.mark("fence", number, *self._taker)

    async def _first_free(self, number: int) -> tuple[int, WalObject | None]:
        """The first number from this one on that has no batch, and the mark that it has."""
        objects = self._objects
        while True:
            some = range(number, number + CREATES_MAX)
            for at, found in zip(some, await objects.headers(some), strict=True):
                if found is None:
                    return at, None
                if isinstance(found, WalObject) and found.kind in ("fence", "end"):
                    return at, found
            number += CREATES_MAX

    async def _read(self, first: int, fence: int) -> AsyncIterator[tuple[int, Buf]]:
        """The objects below the fence, in order, some of them read ahead."""
        reading: dict[int, asyncio.Task[Buf]] = {}
        try:
            for number in range(first, fence):
                for ahead in range(number, min(fence, number + READS_MAX)):
                    if ahead not in reading:
                        get = self._objects.must_get(ahead)
                        reading[ahead] = self._tasks.create_task(get, name=f"WAL {ahead}")
                yield number, await reading[number]
                del reading[number]
        finally:
            for task in reading.values():
                task.cancel()
            await asyncio.gather(*reading.values(), return_exceptions=True)

    def _records(self, number: int, data: Buf) -> list[WalRecord]:
        objects, key = self._objects, self._objects.key(number)
        try:
            header, records = wal_object_read(data)
        except (WalDamaged, WalUnsupported) as error:
            raise type(error)(f"{self._store.name}: {key}: {error}") from None
        objects.check(key, header)
        if (header.kind, header.number) != ("batch", number):
            raise WalDamaged(f"{self._store.name}: {key} is {header!r}")
        return records


class ObjectWals:
    """The WALs of one cluster in an object store.

    `store` repeats what may be repeated, for as long as it takes; what runs beside belongs to
    `tasks`.
    """

    is_shared = True

    def __init__(self, store: Retrying, world: World, cluster_id: bytes, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._world = world
        self._cluster_id = cluster_id
        self._looked_at: dict[int, WalObjects] = {}

    async def open(
        self, *, wal_id: int, node_id: int, cluster_id: bytes, options: WalOptions
    ) -> ObjectWal:
        assert cluster_id == self._cluster_id, cluster_id
        objects = self._objects(wal_id)
        if await objects.mark("begin", 0, node_id, 0) is not None:
            raise WalUsed(f"{objects.name} was used before: a WAL id serves one start of a node")
        return ObjectWal(objects, self._store, self._tasks, node_id=node_id, options=options)

    def recover(
        self,
        *,
        wal_id: int,
        start: int,
        cluster_id: bytes | None = None,
        taker: WalTaker | None = None,
    ) -> ObjectRecovery:
        assert cluster_id in (None, self._cluster_id), cluster_id
        return self._recovery(self._objects(wal_id), start, taker or NOBODY)

    async def holds(self, wal_id: int) -> bool:
        return await self._objects(wal_id).begin() is not None

    async def owner_of(self, wal_id: int) -> WalOwner | None:
        found = await self._objects(wal_id).begin()
        return None if found is None else WalOwner(found.cluster_id, found.node_id)

    async def remove(self, wal_id: int) -> bool:
        """As `WalHome`'s. What ended it stays for ever, a few bytes: an owner that was stopped in
        the middle of a create must find it whenever it goes on (HAZARDS 1).
        """
        objects = self._objects(wal_id)
        stored = await objects.stored()
        marks = await self._marks(objects, stored)
        if await objects.begin() is None:
            return False
        if not marks:
            # Closed by a stored record, and never fenced: it was believed not to be there.
            first = position_at(stored[0] if stored else 0)
            fence, _ = await self._recovery(objects, first, NOBODY).fence()
            marks = {fence}
        # Of several fences the lowest is the one that keeps the owner from acknowledging.
        garbage = [objects.key(number) for number in stored if number != min(marks)]
        if garbage:
            await self._store.delete_many(garbage)
        # The begin mark last: a removal that dies is found and repeated by it.
        await self._store.delete(objects.mark_key)
        self._looked_at.pop(wal_id, None)
        return True

    async def crowded(self, spread: int) -> list[int]:
        """The WALs, among those of one of the 256 prefixes, that have more than one object: what is
        kept of one that was removed is one."""
        found: Counter[int] = Counter()
        async for known in self._store.list(spread_prefix(self._cluster_id, spread)):
            wal_id = number_of(known.key.rpartition("/")[0])
            if wal_id is not None:
                found[wal_id] += 1
        return [wal_id for wal_id, objects in found.items() if objects > 1]

    async def tidy(self, wal_id: int) -> int:
        """Delete what came to a WAL after it had been removed: a create that was on its way all the
        time, of an owner that slept or behind a proxy. How many it were.

        Invariant: the caller knows by a stored record that the WAL is closed. The lowest mark stays
        (HAZARDS 1), and where there is none, or the begin mark still is, nothing is deleted: then
        `remove` has the word.
        """
        objects = WalObjects(self._store, self._world, self._cluster_id, wal_id)
        if await objects.begin() is not None:
            return 0
        stored = await objects.stored()
        marks = await self._marks(objects, stored)
        garbage = (
            [objects.key(number) for number in stored if number != min(marks)] if marks else []
        )
        if garbage:
            await self._store.delete_many(garbage)
        return len(garbage)

    async def _marks(self, objects: WalObjects, stored: list[int]) -> set[int]:
        """Those of `stored` that are fences or ends: among the last, where nothing follows them but
        what was on its way."""
        last = stored[-2 * FENCES_MAX :]
        return {
            number
            for number, it in zip(last, await objects.headers(last), strict=True)
            if isinstance(it, WalObject) and it.kind in ("fence", "end")
        }

    async def wal_ids(self) -> list[int]:
        listing = self._store.list(marks_prefix(self._cluster_id))
        found = [number_of(known.key) async for known in listing]
        return sorted(wal_id for wal_id in found if wal_id is not None)

    def _recovery(self, objects: WalObjects, start: int, taker: WalTaker) -> ObjectRecovery:
        return ObjectRecovery(self._store, self._tasks, objects, start, taker)

    def _objects(self, wal_id: int) -> WalObjects:
        """Those of a WAL; what was learnt of one that is there is kept until it is removed."""
        objects = self._looked_at.get(wal_id)
        if objects is None:
            objects = WalObjects(self._store, self._world, self._cluster_id, wal_id)
            self._looked_at[wal_id] = objects
        return objects
