"""Comparing what a store holds with what the metadata say: nothing leaked, nothing missing.

Works beside a running cluster. The log is read before and after the store is listed, and only what
holds by both readings is said:

* **Leaked**: an object whose id was given out before the first reading and is known to neither. Ids
  are never used again and no commit of an unknown one is accepted, so no clock is needed: nobody
  can come to need it, and it may be deleted at any time (HAZARDS 4).
* **Missing**: an object from which both readings read, and that is not there when asked for again
  after both. That is damage.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from automq._native import DamagedObject, ObjectIndex, open_block, open_digest
from automq.metadata.image import Image
from automq.metadata.reader import MetadataReader
from automq.metadata.register import Listed
from automq.metadata.storage import COMMITTED, DOOMED, PREPARED, Object
from automq.objectstore import Corrupt, NotFound, ObjectInfo, ObjectStore
from automq.stream.keys import data_key

SLICE = 1_000

_DATA = re.compile(r"data/[0-9a-f]{2}/([0-9a-f]{32})/([0-9a-f]{16})")
_ENTRY = re.compile(r"meta/(\d{10})/(\d{14})")
_POINTER = re.compile(r"meta/(\d{10})/(closed|snapshot-\d+)")
_PART = re.compile(r"meta/snapshots/(\d{14})-[0-9a-f]{32}/.+")


class Is(StrEnum):
    """What an object of the store, or a thing that should be there, turned out to be."""

    READ = "read from"
    UPLOADING = "being uploaded"
    UNREFERENCED = "nothing is read from it; to be given up"
    DOOMED = "given up; to be deleted"
    METADATA = "metadata"
    WAL = "write-ahead logs"
    ANOTHER = "another cluster's"
    YOUNG = "came while the audit ran"
    LEAKED = "leaked"
    UNEXPECTED = "of no known kind"
    MISSING = "missing"
    DAMAGED = "damaged"
    BROKEN = "a stream with a hole"

    @property
    def is_damage(self) -> bool:
        """Whether data that somebody needs are not there as they should be."""
        return self in (Is.MISSING, Is.DAMAGED, Is.BROKEN)

    @property
    def is_waste(self) -> bool:
        """Whether it lies there for nothing, and for ever."""
        return self in (Is.LEAKED, Is.UNEXPECTED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    what: Is
    key: str
    size_bytes: int
    why: str
    modified_ms: int = 0


@dataclass(slots=True)
class Report:
    """What an audit found: how many objects of each kind with their bytes, and what is wrong."""

    counts: dict[Is, tuple[int, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    streams: int = 0
    verified_objects: int = 0
    verified_bytes: int = 0

    def count(self, what: Is, size_bytes: int) -> None:
        objects, total = self.counts.get(what, (0, 0))
        self.counts[what] = (objects + 1, total + size_bytes)

    def find(self, finding: Finding) -> None:
        self.count(finding.what, finding.size_bytes)
        self.findings.append(finding)

    @property
    def is_damaged(self) -> bool:
        return any(finding.what.is_damage for finding in self.findings)

    @property
    def is_clean(self) -> bool:
        return not self.findings


def known_objects(image: Image) -> Iterator[tuple[int, Object]]:
    """Every object that the metadata know, by ascending id."""
    after = -1
    while (rows := image.storage.tables.dump_objects(after, SLICE)) is not None:
        described, _, after = rows
        for object_id in described.columns()[0]:
            known = image.storage.object(object_id)
            if known is not None:
                yield object_id, known


def is_read(known: Object) -> bool:
    """Whether some stream reads from it."""
    return known.state == COMMITTED and known.live > 0


def judge_object(object_id: int, before: Image, after: Image) -> Is:
    """What an object in the store is, by the metadata before and after it was listed."""
    known = after.storage.object(object_id)
    if known is None:
        if before.storage.object(object_id) is not None:
            return Is.YOUNG
        if object_id < before.storage.tables.next_object:
            return Is.LEAKED
        is_given_out = object_id < after.storage.tables.next_object
        return Is.YOUNG if is_given_out else Is.UNEXPECTED
    if known.state == PREPARED:
        return Is.UPLOADING
    if known.state == DOOMED:
        return Is.DOOMED
    return Is.READ if known.live else Is.UNREFERENCED


def judge_metadata(key: str, before: Image, after: Image, closed_chunk: int) -> Is:
    """What an object under `meta/` is; `closed_chunk` is the newest that is closed, or -1."""
    if _POINTER.fullmatch(key):
        return Is.METADATA
    if entry := _ENTRY.fullmatch(key):
        return Is.METADATA if int(entry[1]) > closed_chunk else Is.LEAKED
    if part := _PART.fullmatch(key):
        named = [it for image in (before, after) for it in image.cluster.snapshots]
        if any(key == it.key for snapshot in named for it in snapshot.parts):
            return Is.METADATA
        newest = max((snapshot.position for snapshot in named), default=-1)
        # One that is newer than all may be named in a moment.
        return Is.YOUNG if int(part[1]) > newest else Is.LEAKED
    return Is.UNEXPECTED


def holes(image: Image) -> Iterator[Finding]:
    """Streams whose ranges do not follow each other from the start to the end."""
    for stream_id in stream_ids(image):
        stream = image.storage.stream(stream_id)
        if stream is None:
            continue
        offset = stream.start
        while offset < stream.end:
            ranges = image.storage.locate(stream_id, offset, SLICE)
            for row in ranges:
                if row.start > offset or row.end <= offset:
                    break
                offset = row.end
            else:
                if ranges:
                    continue
            why = f"no object holds offset {offset} of [{stream.start}, {stream.end})"
            yield Finding(Is.BROKEN, f"stream {stream_id}", 0, why)
            break


def stream_ids(image: Image) -> Iterator[int]:
    """The ids of all streams, ascending."""
    after = -1
    while (rows := image.storage.tables.dump_streams(after, SLICE)) is not None:
        _, streams, _, _, after = rows
        yield from streams.columns()[0]


class Audit:
    """One comparison of a store with the log. Only reads."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        metadata_store: Listed,
        before: MetadataReader,
        after: MetadataReader,
    ) -> None:
        self._store = store
        self._metadata_store = metadata_store
        self._before, self._after = before, after
        self.report = Report()

    @property
    def is_empty(self) -> bool:
        """Whether there is no metadata log, once `run` has looked."""
        return self._before.image.cluster.created is None

    async def run(self) -> Report:
        """List, compare, and ask again for what seems to be missing."""
        await self._before.load()
        if self.is_empty:
            return self.report
        listed: dict[int, ObjectInfo] = {}
        cluster_id = self._before.image.cluster.cluster_id
        keys = [info async for info in self._listing()]
        await self._after.load()
        for info in keys:
            data = _DATA.fullmatch(info.key)
            if data is not None and data[1] == cluster_id.hex():
                object_id = int(data[2], 16)
                if info.key == data_key(cluster_id, object_id):
                    listed[object_id] = info
                    self._judge(info, object_id)
                    continue
            self._judge_other(info, is_data=data is not None)
        for object_id, known in known_objects(self._after.image):
            await self._must_be_there(object_id, known, listed.get(object_id))
        for finding in holes(self._after.image):
            self.report.find(finding)
        self.report.streams = self._after.image.storage.tables.stream_count
        return self.report

    async def _listing(self) -> AsyncIterator[ObjectInfo]:
        """Everything in the store, and the metadata where they are in another one."""
        async for info in self._store.list(""):
            yield info
        if self._metadata_store is not self._store:
            async for info in self._metadata_store.list("meta/"):
                yield info

    def _judge(self, info: ObjectInfo, object_id: int) -> None:
        what = judge_object(object_id, self._before.image, self._after.image)
        if what.is_waste:
            self._find(what, info, f"object {object_id} is not known and never will be again")
        else:
            self.report.count(what, info.size_bytes)

    def _judge_other(self, info: ObjectInfo, *, is_data: bool) -> None:
        if is_data:
            self.report.count(Is.ANOTHER, info.size_bytes)
        elif info.key.startswith("meta/"):
            what = self._metadata_is(info.key)
            if what.is_waste:
                self._find(what, info, "the metadata log does not need it any more")
            else:
                self.report.count(what, info.size_bytes)
        elif "wal/" in info.key:
            self.report.count(Is.WAL, info.size_bytes)
        else:
            self._find(Is.UNEXPECTED, info, "no cluster writes such a key")

    def _metadata_is(self, key: str) -> Is:
        before, after = self._before, self._after
        closed = [it.closed for it in (before, after) if it.closed is not None]
        if any(key == part.key for it in closed for part in it.snapshot.parts):
            return Is.METADATA
        chunk = max((it.chunk for it in closed), default=-1)
        # Entries of the chunk that was closed last are deleted while a controller runs.
        return judge_metadata(key, before.image, after.image, chunk - 1)

    def _find(self, what: Is, info: ObjectInfo, why: str) -> None:
        self.report.find(Finding(what, info.key, info.size_bytes, why, info.modified_ms))

    async def _must_be_there(self, object_id: int, known: Object, info: ObjectInfo | None) -> None:
        """An object that is read from must be in the store, whole."""
        earlier = self._before.image.storage.object(object_id)
        if not is_read(known) or earlier is None or not earlier.live:
            return
        key = data_key(self._after.image.cluster.cluster_id, object_id)
        if info is None:
            try:
                info = await self._store.head(key)
            except NotFound:
                if await self._still_read(object_id):
                    why = f"{known.live} streams have data in it"
                    self.report.find(Finding(Is.MISSING, key, known.bytes, why))
                return
            self.report.count(Is.READ, info.size_bytes)
        if info.size_bytes != known.bytes:
            self._find(Is.DAMAGED, info, f"{info.size_bytes} bytes instead of {known.bytes}")

    async def _still_read(self, object_id: int) -> bool:
        """Whether it is named now: what has gone meanwhile is not missing."""
        if await self._after.poll() is None:
            await self._after.load()
        known = self._after.image.storage.object(object_id)
        return known is not None and is_read(known)

    # -- down to the bytes

    async def verify(self) -> Report:
        """Read every object that is read from, and check each block against its checksum."""
        for object_id, known in known_objects(self._after.image):
            if is_read(known):
                await self._verify_object(object_id, known)
        return self.report

    async def _verify_object(self, object_id: int, known: Object) -> None:
        cluster_id = self._after.image.cluster.cluster_id
        key = data_key(cluster_id, object_id)
        try:
            start = known.index_position
            data = await self._store.get_range(key, start, start + known.index_bytes)
            index = ObjectIndex(data, position=start, object_id=object_id, cluster_id=cluster_id)
            for ref in index.blocks():
                end = ref.position + ref.size_bytes
                open_block(await self._store.get_range(key, ref.position, end), ref)
            for stream_id in index.streams():
                digest = index.digest_ref(stream_id)
                if digest is not None:
                    end = digest.position + digest.size_bytes
                    open_digest(await self._store.get_range(key, digest.position, end), digest)
        except (DamagedObject, Corrupt) as error:
            self.report.find(Finding(Is.DAMAGED, key, known.bytes, str(error)))
        except NotFound:
            if await self._still_read(object_id):
                self.report.find(Finding(Is.MISSING, key, known.bytes, "gone while it was read"))
        else:
            self.report.verified_objects += 1
            self.report.verified_bytes += known.bytes

    # -- putting in order

    async def repair(self) -> int:
        """Delete what is leaked; how many. What is damaged or of no known kind is left alone.

        Invariant: only keys that both readings of the log have shown to be needed by nobody, ever.
        """
        leaked = [it.key for it in self.report.findings if it.what is Is.LEAKED]
        meta = [key for key in leaked if key.startswith("meta/")]
        data = [key for key in leaked if not key.startswith("meta/")]
        for store, keys in ((self._store, data), (self._metadata_store, meta)):
            for at in range(0, len(keys), SLICE):
                await store.delete_many(keys[at : at + SLICE])
        return len(leaked)
