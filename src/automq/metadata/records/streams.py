"""Records about streams."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq._native import Columns
from automq.metadata.fields import Int32, Int64, OneOf, Rows, Uuid
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.storage import StorageImage


class StreamKind(IntEnum):
    DATA = 0
    STATE = 1


@dataclass(frozen=True, slots=True)
class NewStream:
    topic_id: Uuid
    partition: Int32
    kind: Annotated[StreamKind, OneOf(StreamKind)]


@record(key=1000)
@dataclass(frozen=True, slots=True)
class StreamsCreated:
    """Streams with ids from `first_stream` on: empty, closed, never opened."""

    first_stream: Int64
    streams: tuple[NewStream, ...]

    def apply(self, image: StorageImage) -> None:
        rows = [(new.topic_id, new.partition, int(new.kind)) for new in self.streams]
        image.tables.create_streams(self.first_stream, rows)


@record(key=1001)
@dataclass(frozen=True, slots=True)
class StreamsOpened:
    """One node appends to these from here on. These records are the leader-epoch history.

    Invariant: a stream is opened at its committed end, so no tail of an older epoch is left.
    """

    node_id: Int32
    node_epoch: Int64
    streams: Annotated[Columns, Rows("stream", "epoch", "start_of_epoch")]

    def apply(self, image: StorageImage) -> None:
        image.tables.open_streams(self.node_id, self.node_epoch, self.streams)


@record(key=1002)
@dataclass(frozen=True, slots=True)
class StreamsClosed:
    """Nothing was left to commit: `end` is the committed end."""

    streams: Annotated[Columns, Rows("stream", "epoch", "end")]

    def apply(self, image: StorageImage) -> None:
        image.tables.close_streams(self.streams)


@record(key=1003)
@dataclass(frozen=True, slots=True)
class StreamsTrimmed:
    """Streams start later now; ranges that lie below are gone. Never above a committed end."""

    streams: Annotated[Columns, Rows("stream", "start")]

    def apply(self, image: StorageImage) -> None:
        image.tables.trim_streams(self.streams)


@record(key=1004)
@dataclass(frozen=True, slots=True)
class StreamsRemoved:
    """Streams and all their ranges are gone; what still arrives for them is dropped."""

    streams: Annotated[Columns, Rows("stream")]

    def apply(self, image: StorageImage) -> None:
        image.tables.remove_streams(self.streams)
