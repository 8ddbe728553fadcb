"""Records about topics and partitions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq._native import Columns
from automq.metadata.fields import Bool, Int32, Int64, OneOf, Rows, String, Uuid
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.cluster import ClusterImage


class PartitionState(IntEnum):
    OPENING = 0
    OPEN = 1
    MOVING = 2
    CLOSED = 3


class PartitionReason(IntEnum):
    """Why a partition was changed; for people."""

    CREATED = 0
    OPENED = 1
    NODE_FAILED = 2
    NODE_DRAINED = 3
    REASSIGNED = 4
    BALANCED = 5
    ELECTED = 6


@dataclass(frozen=True, slots=True)
class NewPartition:
    replicas: tuple[Int32, ...]
    leader: Int32
    leader_epoch: Int32
    data_stream: Int64


@record(key=20)
@dataclass(frozen=True, slots=True)
class TopicCreated:
    topic_id: Uuid
    name: String
    internal: Bool

    def apply(self, image: ClusterImage) -> None:
        assert self.topic_id not in image.topics, self
        assert self.name not in image.topic_ids, self
        image.topics[self.topic_id] = self
        image.topic_ids[self.name] = self.topic_id
        image.changes.topics[self.topic_id] = None


@record(key=21)
@dataclass(frozen=True, slots=True)
class TopicRemoved:
    """With its partitions and configs; its streams are removed by records of their own."""

    topic_id: Uuid

    def apply(self, image: ClusterImage) -> None:
        topic = image.topics.pop(self.topic_id)
        del image.topic_ids[topic.name]
        image.partitions.remove(self.topic_id)
        image.drop_topic_configs(topic.name)
        image.changes.topics[self.topic_id] = None
        image.changes.removed_topics[self.topic_id] = topic.name


@record(key=22)
@dataclass(frozen=True, slots=True)
class PartitionsCreated:
    """Partitions from `first` on, which follow those that the topic has."""

    topic_id: Uuid
    first: Int32
    partitions: tuple[NewPartition, ...]

    def apply(self, image: ClusterImage) -> None:
        assert self.topic_id in image.topics, self
        rows = [
            (list(new.replicas), new.leader, new.leader_epoch, new.data_stream)
            for new in self.partitions
        ]
        image.partitions.create(self.topic_id, self.first, rows)
        for partition in range(self.first, self.first + len(rows)):
            image.changes.partitions[self.topic_id, partition] = None


@record(key=23)
@dataclass(frozen=True, slots=True)
class PartitionSet:
    """Who leads a partition, who may, and what it is moving to (`leader` -1: nobody)."""

    topic_id: Uuid
    partition: Int32
    replicas: tuple[Int32, ...]
    adding: tuple[Int32, ...]
    removing: tuple[Int32, ...]
    leader: Int32
    leader_epoch: Int32
    partition_epoch: Int32
    state: Annotated[PartitionState, OneOf(PartitionState)]
    moving_to: Int32
    reason: Annotated[PartitionReason, OneOf(PartitionReason)]

    def apply(self, image: ClusterImage) -> None:
        image.partitions.set(
            self.topic_id,
            self.partition,
            (list(self.replicas), list(self.adding), list(self.removing)),
            leader=self.leader,
            leader_epoch=self.leader_epoch,
            partition_epoch=self.partition_epoch,
            state=self.state,
            moving_to=self.moving_to,
            reason=self.reason,
        )
        image.changes.partitions[self.topic_id, self.partition] = None


@record(key=24)
@dataclass(frozen=True, slots=True)
class StateStreamSet:
    """The partition has something to remember, and a stream for it."""

    topic_id: Uuid
    partition: Int32
    stream: Int64

    def apply(self, image: ClusterImage) -> None:
        image.partitions.set_state_stream(self.topic_id, self.partition, self.stream)
        image.changes.partitions[self.topic_id, self.partition] = None


@record(key=900)
@dataclass(frozen=True, slots=True)
class PartitionTable:
    """In snapshots only: all partitions of some topics."""

    topics: tuple[Uuid, ...]
    partitions: Annotated[
        Columns,
        Rows(
            *("topic", "partition", "leader", "leader_epoch", "partition_epoch", "state"),
            *("moving_to", "reason", "data_stream", "state_stream"),
            *("replicas", "adding", "removing"),
        ),
    ]
    nodes: Annotated[Columns, Rows("node_id")]

    def apply(self, image: ClusterImage) -> None:
        image.partitions.load(list(self.topics), self.partitions, self.nodes)
