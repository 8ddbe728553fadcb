"""Records about the cluster as a whole: its controller, its snapshots, its features, its ids."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq.metadata.fields import (
    Bytes16,
    Int16,
    Int32,
    Int64,
    OneOf,
    String,
    UInt16,
    Uuid,
)
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.cluster import ClusterImage

SNAPSHOTS_KEPT = 4
"""How many the image remembers: more than stay in the store, so that leftovers are found."""


class IdKind(IntEnum):
    """What ids are counted in the cluster part; those of the storage part count themselves."""

    NODE = 0
    NODE_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    listener: String
    host: String
    port: UInt16


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """One object of a snapshot: where it is, and what proves it whole."""

    key: String
    size_bytes: Int64
    checksum: Bytes16


@record(key=1)
@dataclass(frozen=True, slots=True)
class ClusterCreated:
    """The first record of a log. `chunk_entries` is the log's own measure, for ever."""

    cluster_id: Uuid
    created_ms: Int64
    chunk_entries: Int32

    def apply(self, image: ClusterImage) -> None:
        assert image.created is None or image.created == self, self
        image.created = self


@record(key=2)
@dataclass(frozen=True, slots=True)
class ControllerElected:
    """A new active controller: entries of lower epochs after it are stale."""

    epoch: Int32
    node_id: Int32
    incarnation: Uuid
    endpoints: tuple[Endpoint, ...]
    highest_known_version: Int16

    def apply(self, image: ClusterImage) -> None:
        assert self.epoch > image.controller_epoch, self
        image.controller = self
        image.changes.controller = True


@record(key=3)
@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """A verified snapshot of everything up to and including the entry at `position`."""

    position: Int64
    checksum: Bytes16
    parts: tuple[SnapshotPart, ...]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def apply(self, image: ClusterImage) -> None:
        assert not image.snapshots or self.position > image.snapshots[-1].position, self
        image.snapshots = (*image.snapshots, self)[-SNAPSHOTS_KEPT:]


@record(key=4)
@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A feature's finalized level; 0 removes it."""

    name: String
    level: Int16

    def apply(self, image: ClusterImage) -> None:
        if self.level == 0:
            image.features.pop(self.name, None)
        else:
            image.features[self.name] = self.level
        image.changes.features = True


@record(key=5)
@dataclass(frozen=True, slots=True)
class IdsReserved:
    """Ids below `next_id` were given out and never will be again."""

    kind: Annotated[IdKind, OneOf(IdKind)]
    next_id: Int64

    def apply(self, image: ClusterImage) -> None:
        assert self.next_id >= image.next_ids[self.kind], self
        image.next_ids[self.kind] = self.next_id


@record(key=6)
@dataclass(frozen=True, slots=True)
class ProducerIdsReserved:
    """A block of producer ids, up to `next_producer_id`, is that node's (KIP-730)."""

    node_id: Int32
    node_epoch: Int64
    next_producer_id: Int64

    def apply(self, image: ClusterImage) -> None:
        assert self.next_producer_id >= image.next_producer_id, self
        image.next_producer_id = self.next_producer_id
