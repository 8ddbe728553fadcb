"""Merging objects: small ranges of a stream, from many objects, become large ones in few."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from automq._native import Buf, BuiltObject, Columns, DamagedObject, ObjectIndex, ObjectMerge
from automq.objectstore import Corrupt, ObjectStore
from automq.objectstore.looking import SecondLook, StaysAway
from automq.protocol.errors import KafkaError
from automq.stream.client import (
    Merge,
    MergeLimits,
    MergeSource,
    ObjectDoomed,
    ObjectReplacement,
    ReplaceVerdict,
    StorageClient,
)
from automq.stream.keys import data_key
from automq.stream.pace import Pace
from automq.telemetry.metrics import counter, gauge, metric_set
from automq.world import Clock
from automq.world.background import beside

log = logging.getLogger(__name__)

ASK_EVERY_MS = 10_000
"""After commits, what to merge is asked for so often..."""
ASK_IDLE_MS = 600_000
"""...and without any so often: trims leave objects half dead."""
LEFT_OUT_MS = 3_600_000
LEFT_OUT_MAX = 1_000
BEHIND_MS = 600_000
GIVE_WAY_MS = 20
GIVE_WAY_TIMES = 10
"""Before every step, whoever is more urgent goes first; but not for ever."""
INDEXES_BYTES_MAX = 8 << 20


@metric_set("automq_object_compaction")
@dataclass(slots=True)
class CompactionMetrics:
    """What merging objects did, and what it cost."""

    merges: int = counter("Objects that were made of others and put in their place.")
    read_bytes: int = counter("Bytes read from the objects that were merged.")
    written_bytes: int = counter("Bytes of the objects that were made.")
    requests: int = counter("Reads and writes that were asked of the object store.")
    removed_ranges: int = counter("Ranges that were read from merged objects before.")
    added_ranges: int = counter("Ranges that are read from new objects in place of them.")
    refused_streams: int = counter("Streams whose ranges had changed before they were replaced.")
    abandoned_merges: int = counter("Merges that were given up: too late, or something failed.")
    damaged_objects: int = counter("Objects that could not be merged because they are damaged.")
    behind_ms: float = gauge("For how long there was always something to merge; 0 when done.")


@dataclass(frozen=True, slots=True)
class CompactionLimits:
    """What to merge, and how much of the store's bandwidth (reads and writes together) to take."""

    merge: MergeLimits
    bytes_per_s: int


class DamagedSource(Exception):
    """An object that the metadata names, and that does not hold what it has to."""

    def __init__(self, object_id: int, why: str) -> None:
        super().__init__(object_id, why)
        self.object_id = object_id
        self.why = why


class Compactor:
    """Merges what the controller plans, one object at a time, until there is nothing to merge.

    Invariants: the sources are only read; what a stream reads changes with the one record that the
    controller stores for `replace_extents`, which names exactly what it takes out, so a death at
    any await, an answer that is lost, or anything that happened to the streams meanwhile leaves
    either the old ranges or the new one. Sources are doomed by the controller, after that record.

    It holds at most one new object, and as much again of what one source was read for nothing.
    Uploads and readers go first (`is_pressed` says that some wait).
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        client: StorageClient,
        cluster_id: bytes,
        clock: Clock,
        limits: CompactionLimits,
        is_pressed: Callable[[], bool],
    ) -> None:
        self.metrics = CompactionMetrics()
        self._store = store
        self._client = client
        self._cluster_id = cluster_id
        self._clock = clock
        self._limits = limits
        self._is_pressed = is_pressed
        self._pace = Pace(clock, limits.bytes_per_s)
        self._due = asyncio.Event()
        self._left_out: OrderedDict[int, float] = OrderedDict()
        self._indexes: OrderedDict[int, ObjectIndex] = OrderedDict()
        self._busy_since_ms: float | None = None
        self._was_told_behind = False

    def wake(self) -> None:
        """Something was committed: there may be something to merge."""
        self._due.set()

    async def run(self) -> None:
        """Merge whenever there is something to merge, until cancelled; not in the first seconds."""
        while True:
            await asyncio.sleep(ASK_EVERY_MS / 1000)
            try:
                while await self.merge_next():
                    self._note_busy()
                self._note_done()
            except KafkaError as error:
                # Another controller, or another life of this node: what ends the node says so.
                log.warning("objects are not merged for now: %s", error)
            await self._until_due()

    async def merge_next(self) -> bool:
        """Do one merge; False if there is none to do. Raises the controller's KafkaErrors."""
        merge = await self._client.next_merge(self._limits.merge, self._to_leave_out())
        if merge is None:
            return False
        try:
            await self._merge(merge)
        except ObjectDoomed as doomed:
            # No commit of this id is accepted ever again, so nobody can come to need it.
            log.warning("a merge took too long, its object is deleted: %s", doomed)
            self.metrics.abandoned_merges += 1
            await self._store.delete(data_key(self._cluster_id, merge.object_id))
        except (DamagedSource, KafkaError) as refusal:
            await self._abandon(merge)
            if isinstance(refusal, KafkaError):
                raise
            await self._tell_damage(merge, refusal)
        except Exception:
            log.exception("merging into object %d failed", merge.object_id)
            self._leave_out(source.object_id for source in merge.sources)
            await self._abandon(merge)
        return True

    # -- one merge

    async def _merge(self, merge: Merge) -> None:
        """Read, build, put, replace. Raises DamagedSource, ObjectDoomed."""
        building = ObjectMerge(merge.parts, object_id=merge.object_id, cluster_id=self._cluster_id)
        for source in merge.sources:
            try:
                await self._read(merge, source, building)
            except DamagedObject as damage:
                raise DamagedSource(source.object_id, str(damage.why)) from None
            except StaysAway:
                raise DamagedSource(source.object_id, "it is missing") from None
            except Corrupt as error:
                raise DamagedSource(source.object_id, str(error)) from None
        built = await beside(building.finish)
        await self._put(built)
        verdicts = await self._client.replace_extents(replacement_of(merge, built))
        self._note_merged(merge, built, verdicts.count(ReplaceVerdict.TAKEN), len(verdicts))

    async def _read(self, merge: Merge, source: MergeSource, building: ObjectMerge) -> None:
        """Read what one source holds of the merge, a few MiB at a time."""
        index = await self._index(merge, source)
        spans = await beside(lambda: building.spans(index))
        data = [await self._get(merge, source.object_id, start, end) for start, end in spans]
        await beside(lambda: building.take(index, data))

    async def _index(self, merge: Merge, source: MergeSource) -> ObjectIndex:
        kept = self._indexes.get(source.object_id)
        if kept is not None:
            self._indexes.move_to_end(source.object_id)
            return kept
        start = source.index_position
        data = await self._get(merge, source.object_id, start, start + source.index_bytes)
        index = await beside(
            lambda: ObjectIndex(
                data, position=start, object_id=source.object_id, cluster_id=self._cluster_id
            )
        )
        self._indexes[source.object_id] = index
        while sum(it.memory_bytes for it in self._indexes.values()) > INDEXES_BYTES_MAX:
            self._indexes.popitem(last=False)
        return index

    async def _get(self, merge: Merge, object_id: int, start: int, end: int) -> Buf:
        """A range of a source, for which one "not found" is no finding (HAZARDS 6).

        Raises StaysAway, and DamagedSource if nothing names it any more.
        """
        await self._turn(end - start)
        self.metrics.read_bytes += end - start
        key = data_key(self._cluster_id, object_id)
        found: Buf | None = await SecondLook().find(
            partial(self._store.get_range, key, start, end),
            partial(self._is_still_named, merge, object_id),
        )
        if found is None:
            raise DamagedSource(object_id, "nothing names it any more")
        return found

    async def _put(self, built: BuiltObject) -> None:
        await self._turn(built.size_bytes)
        self.metrics.written_bytes += built.size_bytes
        await self._store.put(data_key(self._cluster_id, built.object_id), built.parts)

    async def _turn(self, size_bytes: int) -> None:
        """Let others go first, and keep within the bandwidth."""
        for _ in range(GIVE_WAY_TIMES):
            if not self._is_pressed():
                break
            await asyncio.sleep(GIVE_WAY_MS / 1000)
        await self._pace.spend(size_bytes)
        self.metrics.requests += 1

    async def _abandon(self, merge: Merge) -> None:
        """Give the id up, which lets the streams into other plans; what was put is deleted.

        Safe after a replace whose answer was lost: what is committed is not given up.
        """
        self.metrics.abandoned_merges += 1
        await self._client.give_up_object(merge.object_id)

    # -- sources that cannot be used

    async def _tell_damage(self, merge: Merge, damage: DamagedSource) -> None:
        """An alarm, unless the ranges do not name the object any more (HAZARDS 9)."""
        self._indexes.pop(damage.object_id, None)
        if not await self._is_still_named(merge, damage.object_id):
            log.info("object %d went away while it was merged", damage.object_id)
            return
        self.metrics.damaged_objects += 1
        self._leave_out([damage.object_id])
        log.error(
            "object %s in %s is damaged, and left as it is: %s; reads of it fail as well",
            data_key(self._cluster_id, damage.object_id),
            self._store.name,
            damage.why,
        )

    async def _is_still_named(self, merge: Merge, object_id: int) -> bool:
        streams, objects, starts, *_ = merge.parts.columns()
        row = objects.index(object_id)
        found = await self._client.locate(streams[row], starts[row], 1)
        return bool(found) and found[0].object_id == object_id

    def _leave_out(self, object_ids: Iterable[int]) -> None:
        for object_id in object_ids:
            self._left_out[object_id] = self._clock.monotonic_ms() + LEFT_OUT_MS
            self._left_out.move_to_end(object_id)
        while len(self._left_out) > LEFT_OUT_MAX:
            self._left_out.popitem(last=False)

    def _to_leave_out(self) -> list[int]:
        now_ms = self._clock.monotonic_ms()
        while self._left_out and next(iter(self._left_out.values())) <= now_ms:
            self._left_out.popitem(last=False)
        return list(self._left_out)

    # -- when, and what it came to

    async def _until_due(self) -> None:
        try:
            async with asyncio.timeout(ASK_IDLE_MS / 1000):
                await self._due.wait()
        except TimeoutError:
            pass
        self._due.clear()

    def _note_merged(self, merge: Merge, built: BuiltObject, taken: int, streams: int) -> None:
        metrics = self.metrics
        metrics.merges += 1
        metrics.removed_ranges += len(merge.parts)
        metrics.added_ranges += taken
        metrics.refused_streams += streams - taken
        log.info(
            "merged %d ranges of %d objects into object %d: %d bytes of %d streams",
            len(merge.parts),
            len(merge.sources),
            merge.object_id,
            built.size_bytes,
            taken,
        )

    def _note_busy(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if self._busy_since_ms is None:
            self._busy_since_ms = now_ms
        self.metrics.behind_ms = now_ms - self._busy_since_ms
        if self.metrics.behind_ms >= BEHIND_MS and not self._was_told_behind:
            self._was_told_behind = True
            log.warning(
                "merging objects does not keep up with what is written since %d s: old data takes "
                "more and more requests to read; raise automq.object.compaction.bytes.per.second",
                self.metrics.behind_ms // 1000,
            )

    def _note_done(self) -> None:
        self._busy_since_ms, self._was_told_behind = None, False
        self.metrics.behind_ms = 0


def replacement_of(merge: Merge, built: BuiltObject) -> ObjectReplacement:
    """What the new object takes the place of: exactly what was read."""
    streams, starts, ends, sizes, newest, _ = built.range_columns()
    return ObjectReplacement(
        object_id=merge.object_id,
        size_bytes=built.size_bytes,
        level=merge.level,
        index_position=built.index_position,
        index_bytes=built.index_bytes,
        removed=Columns(*merge.parts.columns()[:4]),
        added=Columns(streams, [merge.object_id] * len(streams), starts, ends, sizes, newest),
    )
