"""What an object of a store is, by its key and by what the metadata say. Pure.

No clock takes part (HAZARDS 4). A data object whose id was given out and is not known any more can
never be committed: ids are not used twice, and a commit of an unknown one is refused for ever. That
holds in every later state of the log, so an old reading of it says nothing that a newer one takes
back: whoever was deposed and does not know may still delete what this calls leaked. The same goes
for a part of a snapshot that is older than the newest that the log names, and that neither the log
nor a closed chunk names: snapshots are named in the order of their positions.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from automq.metadata.image import Image
from automq.metadata.log import Pointer
from automq.metadata.records.cluster import SnapshotTaken
from automq.metadata.storage import DOOMED, PREPARED
from automq.stream.keys import data_key

DATA = re.compile(r"data/[0-9a-f]{2}/([0-9a-f]{32})/([0-9a-f]{16})")
WAL = re.compile(
    r"(?:wals|wal/[0-9a-f]{2})/([0-9a-f]{32})/[0-9a-f]{16}(?:/[0-9a-f]{16}(?:-[0-9a-f]{32})?)?"
)
ENTRY = re.compile(r"meta/(\d{10})/(\d{14})")
CLOSED = re.compile(r"meta/(\d{10})/closed")
_HINT = re.compile(r"meta/(\d{10})/snapshot-\d+")
_PART = re.compile(r"meta/snapshots/(\d{14})-[0-9a-f]{32}/\d+-\d+")


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


def object_of(key: str, cluster_id: bytes) -> int | None:
    """The id of the cluster's data object that lies under `key`; None if it is none."""
    data = DATA.fullmatch(key)
    if data is None or data[1] != cluster_id.hex():
        return None
    object_id = int(data[2], 16)
    return object_id if key == data_key(cluster_id, object_id) else None


def judge_object(object_id: int, before: Image, after: Image) -> Is:
    """What a data object is that was in the store after the metadata were as `before`, and before
    they were as `after`. The same image twice if only one is at hand.
    """
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


@dataclass(frozen=True, slots=True)
class LogKeys:
    """What the metadata log needs of its own objects."""

    parts: frozenset[str]
    """Those of snapshots that the log or a closed chunk names."""
    newest_snapshot: int
    closed_chunk: int
    """The newest that is closed, -1 for none."""

    @classmethod
    def of(cls, named: Iterable[SnapshotTaken], closed: Iterable[Pointer]) -> "LogKeys":
        """From the snapshots that the stored log names, and the newest pointers to closed chunks
        that were seen: of one reading or of several."""
        snapshots, pointers = list(named), list(closed)
        every = [*snapshots, *(it.snapshot for it in pointers)]
        return cls(
            parts=frozenset(part.key for snapshot in every for part in snapshot.parts),
            newest_snapshot=max((it.position for it in snapshots), default=-1),
            closed_chunk=max((it.chunk for it in pointers), default=-1),
        )

    def judge(self, key: str) -> Is:
        """What an object under `meta/` is."""
        if key in self.parts or CLOSED.fullmatch(key):
            return Is.METADATA
        if of_chunk := ENTRY.fullmatch(key) or _HINT.fullmatch(key):
            # The chunk that was closed last is emptied while a controller runs.
            return Is.METADATA if int(of_chunk[1]) >= self.closed_chunk else Is.LEAKED
        if part := _PART.fullmatch(key):
            # One that is newer than all may be named in a moment.
            return Is.YOUNG if int(part[1]) > self.newest_snapshot else Is.LEAKED
        return Is.UNEXPECTED
