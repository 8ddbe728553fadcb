"""What the storage engine asks of the active controller.

On one node it is the controller's own object; in a cluster the same calls travel. Every answer is
given only after all that it rests on is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

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

    async def locate(self, stream_id: int, offset: int, limit: int) -> Sequence[FoundRange]:
        """Where the offsets from `offset` on lie, at most `limit` ranges in order."""
        ...

    async def locate_timestamp(
        self, stream_id: int, timestamp: int, offset: int
    ) -> FoundRange | None:
        """The first range that ends above `offset` and may hold a record at or after the time."""
        ...
