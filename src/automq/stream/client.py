"""What the storage engine asks of the active controller.

On one node it is the controller's own object; in a cluster the same calls travel. Every answer is
given only after all that it rests on is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from automq._native import Columns

IDS_GOOD_FOR_MS = 600_000
"""For how long a reserved object id may wait for its upload to begin."""


class Verdict(IntEnum):
    """What became of one range of a commit (HAZARDS 16)."""

    TAKEN = 0
    ALREADY = 1
    GONE = 2
    FENCED = 3


@dataclass(frozen=True, slots=True)
class ObjectCommit:
    """One uploaded object, to be made part of its streams; whole, by one record.

    `wal_start`: where the WAL's needed part begins once this is stored. `epochs` are those at
    which the streams of `ranges` were written, in the order of the ranges.
    """

    object_id: int
    size_bytes: int
    index_position: int
    index_bytes: int
    wal_id: int
    wal_start: int
    ranges: Sequence[tuple[int, int, int, int, int]]
    epochs: Sequence[int]


@dataclass(frozen=True, slots=True)
class FoundRange:
    """Offsets `[start_offset, end_offset)` of a stream lie in `object_id`."""

    object_id: int
    object_bytes: int
    index_position: int
    index_bytes: int
    start_offset: int
    end_offset: int
    size_bytes: int
    max_timestamp: int


@dataclass(frozen=True, slots=True)
class MergeLimits:
    """When to merge objects, and how much at once.

    `objects_max`: a node's uploads that small ranges are read from; so many are merged. `fan_in`:
    so many small ranges in a row are merged again. `object_bytes`: of one new object. `dead_bytes`:
    fewer dead bytes than these are left.
    """

    objects_max: int
    fan_in: int
    object_bytes: int
    ranges_max: int
    dead_bytes: int


class MergeReason(IntEnum):
    UPLOADS = 0
    RUNS = 1
    SPARSE = 2


class ReplaceVerdict(IntEnum):
    """What became of one stream of a replace."""

    TAKEN = 0
    GONE = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class MergeSource:
    """An object that a merge reads from."""

    object_id: int
    index_position: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Merge:
    """What to read and put into one new object, `object_id`.

    `parts` are rows of stream, object, start, end, bytes, max timestamp, by stream and offset;
    those of a stream follow each other without a gap.
    """

    object_id: int
    reason: MergeReason
    level: int
    sources: Sequence[MergeSource]
    parts: Columns


@dataclass(frozen=True, slots=True)
class ObjectReplacement:
    """A new object, and what is read from it in place of what.

    `removed`: stream, object, start, end. `added`: the same, bytes, max timestamp.
    """

    object_id: int
    size_bytes: int
    level: int
    index_position: int
    index_bytes: int
    removed: Columns
    added: Columns


class ObjectDoomed(Exception):
    """The object's id was given up (it took too long): upload the same data under another one."""


class StorageClient(Protocol):
    """The controller, as the storage engine sees it."""

    async def prepare_objects(self, count: int) -> int:
        """Reserve `count` object ids that follow each other; returns the first.

        They stay good for at least `IDS_GOOD_FOR_MS`.
        """
        ...

    async def commit_object(self, commit: ObjectCommit, *, urgent: bool) -> Sequence[Verdict]:
        """Make an object part of its streams; a verdict for each range, in order.

        Without ranges it moves the WAL's start alone, and there need be no object. Safe to repeat.
        `urgent` starts an entry of the metadata log at once. Raises ObjectDoomed.
        """
        ...

    async def commit_objects(self, commits: Sequence[ObjectCommit]) -> None:
        """`commit_object` for each, in this order and at once.

        If one is refused, those before it stand. Raises ObjectDoomed.
        """
        ...

    async def locate(self, stream_id: int, offset: int, limit: int) -> Sequence[FoundRange]:
        """Where the offsets from `offset` on lie, at most `limit` ranges in order."""
        ...

    async def confirm(self) -> None:
        """Returns once it is certain that the answers given before this were the cluster's.

        A controller that stood still while another one took its place goes on with what it knows
        until it asks. Raises NotLeaderOrFollower.
        """
        ...

    async def locate_timestamp(
        self, stream_id: int, timestamp: int, offset: int
    ) -> FoundRange | None:
        """The first range that ends above `offset` and may hold a record at or after the time."""
        ...

    async def next_merge(
        self, limits: MergeLimits, objects_left_out: Sequence[int]
    ) -> Merge | None:
        """What this node should merge next, under a new id; None if nothing is worth it.

        No other merge of the same streams is given out until this one is replaced or given up.
        """
        ...

    async def replace_extents(self, replacement: ObjectReplacement) -> Sequence[ReplaceVerdict]:
        """Read streams from a new object; a verdict for each stream, in the order of their ids.

        Safe to repeat. Raises ObjectDoomed.
        """
        ...

    async def give_up_object(self, object_id: int) -> None:
        """The id of a merge is not used: it can never be committed any more."""
        ...
