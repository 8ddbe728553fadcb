"""Reading every object that is read from: down to each block's checksum, and whether it holds what
the metadata say that it does.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from automq._native import BlockRef, DamagedObject, ObjectIndex, open_block, open_digest
from automq.controller.audit import SLICE, Audit, is_read
from automq.controller.judging import Is
from automq.controller.report import Finding, Report
from automq.metadata.image import Image
from automq.metadata.storage import Object
from automq.objectstore import Corrupt, ObjectStore
from automq.objectstore.looking import SecondLook, StaysAway
from automq.stream.keys import data_key

OBJECTS_AT_ONCE = 8
READ_BYTES = 4 << 20
"""Blocks that follow each other are read together up to this; at once this times the objects."""

Progress: TypeAlias = Callable[[int, int, int], None]
"""Objects done, objects in all, bytes read."""


class HeldRange(NamedTuple):
    """What the metadata say that an object holds of a stream."""

    stream: int
    start: int
    end: int
    bytes: int
    max_timestamp: int


class WrongIndex(Exception):
    """An object does not hold what the metadata say."""


async def verify(audit: Audit, store: ObjectStore, progress: Progress | None = None) -> Report:
    """Read every object, a few at a time, and add what is wrong to the audit's report.

    What the audit has named as missing is not looked for again.
    """
    verifier = _Verifier(audit, store)
    missing = {it.key for it in audit.report.findings if it.what is Is.MISSING}
    total = audit.image.storage.tables.object_count
    done = 0
    objects = held_ranges(audit.image)

    async def work() -> None:
        nonlocal done
        # One iterator for all of them: each takes the next object.
        for object_id, known, ranges in objects:
            if is_read(known) and data_key(audit.cluster_id, object_id) not in missing:
                await verifier.check(object_id, known, ranges)
            done += 1
            if progress is not None:
                progress(done, total, audit.report.verified_bytes)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(OBJECTS_AT_ONCE):
            tasks.create_task(work())
    return audit.report


def held_ranges(image: Image) -> Iterator[tuple[int, Object, list[HeldRange]]]:
    """Every object of the image as it is now, with what it holds."""
    tables, at_stream, at_object = image.storage.tables, -1, -1
    large: defaultdict[int, list[HeldRange]] = defaultdict(list)
    while (streams := tables.dump_streams(at_stream, SLICE)) is not None:
        *_, rows, at_stream = streams
        for object_id, *row in zip(*rows.columns(), strict=True):
            large[object_id].append(HeldRange(*row))
    while (objects := tables.dump_objects(at_object, SLICE)) is not None:
        described, rows, at_object = objects
        small: defaultdict[int, list[HeldRange]] = defaultdict(list)
        for object_id, *row in zip(*rows.columns(), strict=True):
            small[object_id].append(HeldRange(*row))
        for object_id in described.columns()[0]:
            known = image.storage.object(object_id)
            if known is not None:
                yield object_id, known, small[object_id] + large[object_id]


class _Verifier:
    """Reads objects of one store for one audit."""

    def __init__(self, audit: Audit, store: ObjectStore) -> None:
        self._audit = audit
        self._store = store

    async def check(self, object_id: int, known: Object, ranges: Sequence[HeldRange]) -> None:
        report, key = self._audit.report, data_key(self._audit.cluster_id, object_id)
        is_needed = partial(self._audit.is_still_read, object_id)
        try:
            found = await SecondLook().find(
                partial(self._read, key, object_id, known, ranges), is_needed
            )
        except (DamagedObject, Corrupt, WrongIndex) as error:
            report.find(Finding(Is.DAMAGED, key, known.bytes, str(error)))
        except StaysAway:
            report.find(Finding(Is.MISSING, key, known.bytes, "gone while it was read"))
        else:
            if found:
                report.verified_objects += 1
                report.verified_bytes += known.bytes

    async def _read(
        self, key: str, object_id: int, known: Object, ranges: Sequence[HeldRange]
    ) -> bool:
        """All of an object; True. Raises DamagedObject, Corrupt, WrongIndex, NotFound."""
        index = await self._index(key, object_id, known)
        compare(index, ranges)
        await self._blocks(key, index)
        await self._digests(key, index)
        return True

    async def _index(self, key: str, object_id: int, known: Object) -> ObjectIndex:
        start = known.index_position
        data = await self._store.get_range(key, start, start + known.index_bytes)
        cluster_id = self._audit.cluster_id
        return ObjectIndex(data, position=start, object_id=object_id, cluster_id=cluster_id)

    async def _blocks(self, key: str, index: ObjectIndex) -> None:
        for some in together(index.blocks()):
            start = some[0].position
            data = await self._store.get_range(key, start, some[-1].position + some[-1].size_bytes)
            for block in some:
                at = block.position - start
                open_block(data.slice(at, at + block.size_bytes), block)

    async def _digests(self, key: str, index: ObjectIndex) -> None:
        digests = [it for it in map(index.digest_ref, index.streams()) if it is not None]
        if not digests:
            return
        start, end = index.digest_position, index.index_position
        data = await self._store.get_range(key, start, end)
        for digest in digests:
            at = digest.position - start
            open_digest(data.slice(at, at + digest.size_bytes), digest)


def together(blocks: Sequence[BlockRef]) -> Iterator[list[BlockRef]]:
    """Blocks that lie side by side, as many as are read at once."""
    some: list[BlockRef] = []
    for block in blocks:
        if some:
            end = some[-1].position + some[-1].size_bytes
            if block.position != end or end + block.size_bytes - some[0].position > READ_BYTES:
                yield some
                some = []
        some.append(block)
    if some:
        yield some


def compare(index: ObjectIndex, ranges: Sequence[HeldRange]) -> None:
    """Every range must be among what the index has; a whole one with the same bytes and time.

    Raises WrongIndex.
    """
    has = {row[0]: HeldRange(*row[:5]) for row in index.ranges()}
    for wanted in ranges:
        found = has.get(wanted.stream)
        of = f"the metadata read [{wanted.start}, {wanted.end}) of stream {wanted.stream} from it"
        if found is None:
            raise WrongIndex(f"{of}, its index has nothing of that stream")
        if not (found.start <= wanted.start and wanted.end <= found.end):
            raise WrongIndex(f"{of}, its index has [{found.start}, {found.end})")
        if (found.start, found.end) == (wanted.start, wanted.end) and found != wanted:
            raise WrongIndex(
                f"{of}: {wanted.bytes} bytes up to time {wanted.max_timestamp}; its index has "
                f"{found.bytes} bytes up to time {found.max_timestamp}"
            )
