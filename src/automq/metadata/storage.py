"""The storage part of the image: streams, WALs, objects and ranges. Only controllers have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from automq._native import Columns, StorageTables
from automq.metadata.records.objects import Purpose
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import StreamKind
from automq.metadata.records.tables import ObjectTable, RangeTable, StorageBounds, StreamTable
from automq.metadata.records.wals import WalClosed, WalKind, WalRegistered, WalTakeover

TABLE_STREAMS = 20_000
TABLE_OBJECTS = 500
"""How many streams and objects one table record of a snapshot holds."""


@dataclass(frozen=True, slots=True)
class Wal:
    """A write-ahead log. `start` is the first position that is not committed."""

    wal: int
    node_id: int
    node_epoch: int
    uri: str
    kind: WalKind
    start: int
    taker: int = -1
    taker_epoch: int = -1
    attempt: int = 0
    closed: bool = False
    fence: int = -1
    clean: bool = False

    @property
    def committer(self) -> tuple[int, int]:
        """Whose commits are accepted: the taker's once there is one, else the owner's."""
        if self.attempt > 0:
            return self.taker, self.taker_epoch
        return self.node_id, self.node_epoch


class Stream(NamedTuple):
    """A stream. `end` is the committed end; what is only in a WAL lies behind it."""

    topic_id: bytes
    partition: int
    kind: StreamKind
    open: bool
    start: int
    end: int
    epoch: int
    node_id: int
    node_epoch: int
    bytes: int
    cleaned_to: int
    delete_horizon_ms: int


class Range(NamedTuple):
    """Where a stream's batches of `[start, end)` are, and where their object keeps its index."""

    object: int
    start: int
    end: int
    bytes: int
    max_timestamp: int
    object_bytes: int
    index_position: int
    index_bytes: int


class Object(NamedTuple):
    """An object. `state` is 0 prepared, 1 committed, 2 doomed; `live` counts its ranges."""

    state: int
    bytes: int
    level: int
    index_position: int
    index_bytes: int
    node_id: int
    node_epoch: int
    purpose: Purpose
    deadline_ms: int
    live: int


PREPARED, COMMITTED, DOOMED = range(3)


@dataclass(slots=True)
class StorageImage:
    """The large tables are columns in the native core; the few WALs are values here."""

    tables: StorageTables = field(default_factory=StorageTables)
    wals: dict[int, Wal] = field(default_factory=dict)
    next_wal: int = 0

    def apply(self, entry: Record) -> None:
        """Puts a record of the storage part into effect."""
        entry.apply(self)

    def stream(self, stream: int) -> Stream | None:
        """A stream, or None if it was removed or never created."""
        row = self.tables.stream(stream)
        return None if row is None else Stream(row[0], row[1], StreamKind(row[2]), *row[3:])

    def opens(self, stream: int) -> list[tuple[int, int]]:
        """The leader-epoch history: (epoch, first offset), ascending; no two at one offset."""
        return self.tables.opens(stream)

    def object(self, object_id: int) -> Object | None:
        """An object, or None if it is forgotten or was never prepared."""
        row = self.tables.object(object_id)
        return None if row is None else Object(*row[:7], Purpose(row[7]), *row[8:])

    def locate(self, stream: int, offset: int, limit: int) -> list[Range]:
        """Up to `limit` ranges of a stream in order, from the one that holds `offset`."""
        return [Range(*row) for row in self.tables.locate(stream, offset, limit)]

    def locate_timestamp(self, stream: int, timestamp: int) -> Range | None:
        """The first range that has a record of this time or later: times need not ascend."""
        row = self.tables.locate_timestamp(stream, timestamp)
        return None if row is None else Range(*row)

    def is_wal_closed(self, wal_id: int) -> bool:
        """Whether a stored record says that a WAL is closed (or it was forgotten since)."""
        wal = self.wals.get(wal_id)
        return wal.closed if wal is not None else 0 <= wal_id < self.next_wal

    @staticmethod
    def wal_of(registered: WalRegistered) -> Wal:
        """A WAL that begins."""
        return Wal(
            registered.wal,
            registered.node_id,
            registered.node_epoch,
            registered.uri,
            registered.kind,
            registered.start,
        )

    def snapshot_records(self) -> Iterator[Record]:
        """Records that, applied to an empty image, give this one."""
        yield from self._table_records()
        for _, wal in sorted(self.wals.items()):
            yield from _wal_records(wal)
        bounds = self.tables
        yield StorageBounds(bounds.next_stream, bounds.next_object, self.next_wal)

    def _table_records(self) -> Iterator[Record]:
        large: list[Columns] = []
        after = -1
        while (streams := self.tables.dump_streams(after, TABLE_STREAMS)) is not None:
            topics, rows, opens, ranges, after = streams
            yield StreamTable(tuple(topics), rows, opens)
            if len(ranges):
                large.append(ranges)
        small: list[Columns] = []
        after = -1
        while (objects := self.tables.dump_objects(after, TABLE_OBJECTS)) is not None:
            described, ranges, after = objects
            yield ObjectTable(described)
            if len(ranges):
                small.append(ranges)
        yield from map(RangeTable, [*large, *small])


def _wal_records(wal: Wal) -> Iterator[Record]:
    yield WalRegistered(wal.wal, wal.node_id, wal.node_epoch, wal.uri, wal.kind, wal.start)
    if wal.attempt > 0:
        yield WalTakeover(wal.wal, wal.start, wal.taker, wal.taker_epoch, wal.attempt)
    if wal.closed:
        yield WalClosed(wal.wal, wal.fence, wal.clean)
