"""Records about objects and the ranges that they hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq._native import Columns
from automq.metadata.fields import Int8, Int32, Int64, OneOf, Rows
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.storage import StorageImage


class Purpose(IntEnum):
    """What an object id was asked for."""

    UPLOAD = 0
    MERGE = 1
    CLEAN = 2


class DoomReason(IntEnum):
    NO_EXTENTS = 0
    ORPHAN = 1
    REFUSED = 2


@record(key=1020)
@dataclass(frozen=True, slots=True)
class ObjectsPrepared:
    """Ids that a node may upload under. `deadline_ms` only says when to doom what is not used."""

    first_object: Int64
    count: Int32
    node_id: Int32
    node_epoch: Int64
    purpose: Annotated[Purpose, OneOf(Purpose)]
    deadline_ms: Int64

    def apply(self, image: StorageImage) -> None:
        image.tables.prepare_objects(
            self.first_object,
            self.count,
            self.node_id,
            self.node_epoch,
            self.purpose,
            self.deadline_ms,
        )


@record(key=1021)
@dataclass(frozen=True, slots=True)
class ObjectCommitted:
    """One object, whole: the ranges that were taken (each began at its stream's end), and how far
    the WAL that they came from is not needed any more."""

    object: Int64
    bytes: Int64
    level: Int8
    index_position: Int64
    index_bytes: Int32
    node_id: Int32
    wal: Int64
    wal_start: Int64
    ranges: Annotated[Columns, Rows("stream", "start", "end", "bytes", "max_timestamp")]

    def apply(self, image: StorageImage) -> None:
        wal = image.wals[self.wal]
        assert not wal.closed, self
        assert self.wal_start >= wal.start, self
        image.tables.commit(
            self.object,
            self.bytes,
            self.level,
            self.index_position,
            self.index_bytes,
            self.ranges,
        )
        image.wals[self.wal] = replace(wal, start=self.wal_start)


@record(key=1022)
@dataclass(frozen=True, slots=True)
class ExtentsReplaced:
    """Streams read from other objects now: the same offsets, fewer objects or fewer records.

    `cleaned` tells of log compaction: no superseded record is left below `cleaned_to`, and what
    marks a deletion there may go after `delete_horizon_ms` (-1: none).
    """

    removed: Annotated[Columns, Rows("stream", "object", "start", "end")]
    added: Annotated[Columns, Rows("stream", "object", "start", "end", "bytes", "max_timestamp")]
    objects: Annotated[Columns, Rows("object", "bytes", "level", "index_position", "index_bytes")]
    cleaned: Annotated[Columns, Rows("stream", "cleaned_to", "delete_horizon_ms")]

    def apply(self, image: StorageImage) -> None:
        image.tables.replace(self.removed, self.added, self.objects, self.cleaned)


@record(key=1023)
@dataclass(frozen=True, slots=True)
class ObjectsDoomed:
    """Invariant: stored before any of them is deleted; no commit of them is accepted after it."""

    objects: Annotated[Columns, Rows("object")]
    reason: Annotated[DoomReason, OneOf(DoomReason)]

    def apply(self, image: StorageImage) -> None:
        image.tables.doom(self.objects)


@record(key=1024)
@dataclass(frozen=True, slots=True)
class ObjectsForgotten:
    """They are deleted. Their ids are never used again."""

    objects: Annotated[Columns, Rows("object")]

    def apply(self, image: StorageImage) -> None:
        image.tables.forget(self.objects)
