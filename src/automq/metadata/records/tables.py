"""Records that occur in snapshots only: the storage part's tables as columns.

Streams come first, then objects, then the ranges that tie them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from automq._native import Columns
from automq.metadata.fields import Int64, Rows, Uuid
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.storage import StorageImage


@record(key=1900)
@dataclass(frozen=True, slots=True)
class StreamTable:
    topics: tuple[Uuid, ...]
    streams: Annotated[
        Columns,
        Rows(
            *("stream", "topic", "partition", "kind", "state", "start", "end", "epoch"),
            *("node_id", "node_epoch", "cleaned_to", "delete_horizon_ms"),
        ),
    ]
    opens: Annotated[Columns, Rows("stream", "epoch", "start_of_epoch")]

    def apply(self, image: StorageImage) -> None:
        image.tables.load_streams(list(self.topics), self.streams, self.opens)


@record(key=1901)
@dataclass(frozen=True, slots=True)
class ObjectTable:
    objects: Annotated[
        Columns,
        Rows(
            *("object", "state", "bytes", "level", "index_position", "index_bytes"),
            *("node_id", "node_epoch", "purpose", "deadline_ms"),
        ),
    ]

    def apply(self, image: StorageImage) -> None:
        image.tables.load_objects(self.objects)


@record(key=1902)
@dataclass(frozen=True, slots=True)
class RangeTable:
    ranges: Annotated[Columns, Rows("object", "stream", "start", "end", "bytes", "max_timestamp")]

    def apply(self, image: StorageImage) -> None:
        image.tables.load_ranges(self.ranges)


@record(key=1903)
@dataclass(frozen=True, slots=True)
class StorageBounds:
    """Ids below these were given out once. The last record of a storage part."""

    next_stream: Int64
    next_object: Int64
    next_wal: Int64

    def apply(self, image: StorageImage) -> None:
        image.tables.set_bounds(self.next_stream, self.next_object)
        image.next_wal = self.next_wal
