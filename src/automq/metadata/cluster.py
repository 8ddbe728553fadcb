"""The cluster part of the image: what every broker knows. Usable on its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from automq._native import PartitionTables
from automq.metadata.records.cluster import (
    ClusterCreated,
    ControllerElected,
    FeatureSet,
    IdKind,
    IdsReserved,
    ProducerIdsReserved,
    SnapshotTaken,
)
from automq.metadata.records.configs import (
    ClientQuotaSet,
    ConfigResource,
    ConfigSet,
    QuotaEntity,
)
from automq.metadata.records.nodes import (
    BalancerExclusionSet,
    ExclusionKind,
    NodeListener,
    NodeRegistered,
    NodeState,
    NodeStateSet,
    StateReason,
)
from automq.metadata.records.registry import Record
from automq.metadata.records.security import AclSet, DelegationTokenSet, ScramSet
from automq.metadata.records.topics import PartitionTable, TopicCreated

TABLE_ROWS = 50_000
"""Rows of one table record in a snapshot."""

TopicId = bytes


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it last registered, and its state."""

    registered: NodeRegistered
    state: NodeState = NodeState.STARTING
    cordoned: bool = False
    reason: StateReason = StateReason.REGISTERED

    @property
    def node_id(self) -> int:
        return self.registered.node_id

    @property
    def node_epoch(self) -> int:
        return self.registered.node_epoch

    @property
    def is_live(self) -> bool:
        return self.state in {NodeState.STARTING, NodeState.ACTIVE, NodeState.DRAINING}

    def listener(self, name: str) -> NodeListener | None:
        """Where this listener of the node is reached."""
        return next((it for it in self.registered.listeners if it.name == name), None)


class Partition(NamedTuple):
    """One partition. `leader` is -1 when nobody leads, `state_stream` when there is none."""

    replicas: list[int]
    adding: list[int]
    removing: list[int]
    leader: int
    leader_epoch: int
    partition_epoch: int
    state: int
    moving_to: int
    reason: int
    data_stream: int
    state_stream: int


@dataclass(slots=True)
class Changes:
    """What records changed, so that a broker reacts to no more. Dicts keep the order."""

    topics: dict[TopicId, None] = field(default_factory=dict)
    removed_topics: dict[TopicId, str] = field(default_factory=dict)
    partitions: dict[tuple[TopicId, int], None] = field(default_factory=dict)
    configs: dict[tuple[ConfigResource, str], None] = field(default_factory=dict)
    nodes: dict[int, None] = field(default_factory=dict)
    controller: bool = False
    features: bool = False
    quotas: bool = False
    security: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, it.name) for it in fields(self))


def _no_ids() -> dict[IdKind, int]:
    return {IdKind.NODE: 0, IdKind.NODE_EPOCH: 0}


@dataclass(slots=True)
class ClusterImage:
    """Cluster, controller, nodes, topics, partitions, configs, quotas, security.

    `version` counts the records applied: equal versions of one image mean equal contents, so caches
    are keyed by it. `changes` collects until `take_changes`.
    """

    created: ClusterCreated | None = None
    controller: ControllerElected | None = None
    snapshots: tuple[SnapshotTaken, ...] = ()
    features: dict[str, int] = field(default_factory=dict)
    next_ids: dict[IdKind, int] = field(default_factory=_no_ids)
    next_producer_id: int = 0
    nodes: dict[int, Node] = field(default_factory=dict)
    topics: dict[TopicId, TopicCreated] = field(default_factory=dict)
    topic_ids: dict[str, TopicId] = field(default_factory=dict)
    partitions: PartitionTables = field(default_factory=PartitionTables)
    configs: dict[tuple[ConfigResource, str], dict[str, ConfigSet]] = field(default_factory=dict)
    quotas: dict[tuple[QuotaEntity, ...], dict[str, float]] = field(default_factory=dict)
    scram: dict[tuple[str, int], ScramSet] = field(default_factory=dict)
    acls: dict[bytes, AclSet] = field(default_factory=dict)
    tokens: dict[str, DelegationTokenSet] = field(default_factory=dict)
    exclusions: dict[tuple[ExclusionKind, str], BalancerExclusionSet] = field(default_factory=dict)
    version: int = 0
    changes: Changes = field(default_factory=Changes)

    def apply(self, entry: Record) -> None:
        """Puts a record of the cluster part into effect."""
        entry.apply(self)
        self.version += 1

    def apply_all(self, entries: Iterable[Record]) -> Changes:
        """Applies records in order; answers what changed since the last time it was asked."""
        for entry in entries:
            self.apply(entry)
        return self.take_changes()

    def take_changes(self) -> Changes:
        changes, self.changes = self.changes, Changes()
        return changes

    @property
    def cluster_id(self) -> bytes:
        assert self.created is not None
        return self.created.cluster_id

    @property
    def controller_epoch(self) -> int:
        return -1 if self.controller is None else self.controller.epoch

    def topic(self, name: str) -> TopicCreated | None:
        """The topic of this name."""
        topic_id = self.topic_ids.get(name)
        return None if topic_id is None else self.topics[topic_id]

    def partition_count(self, topic_id: TopicId) -> int:
        return self.partitions.count(topic_id)

    def partition(self, topic_id: TopicId, partition: int) -> Partition | None:
        """One partition, or None if there is no such."""
        if partition < 0:
            return None
        row = self.partitions.get(topic_id, partition)
        return None if row is None else Partition(*row)

    def topic_partitions(self, topic_id: TopicId) -> list[Partition]:
        """All partitions of a topic, by number."""
        return [Partition(*row) for row in self.partitions.topic(topic_id)]

    def config(self, resource_type: ConfigResource, name: str) -> dict[str, ConfigSet]:
        """What is set for a resource; do not change it."""
        return self.configs.get((resource_type, name), {})

    def live_nodes(self) -> list[Node]:
        """Nodes that are neither fenced nor stopped, by id."""
        return [node for _, node in sorted(self.nodes.items()) if node.is_live]

    def drop_topic_configs(self, name: str) -> None:
        """For `TopicRemoved`: a topic's configs go with it."""
        if self.configs.pop((ConfigResource.TOPIC, name), None) is not None:
            self.changes.configs[ConfigResource.TOPIC, name] = None

    @staticmethod
    def node_of(registered: NodeRegistered, before: Node | None) -> Node:
        """A node that starts; cordoned if it was."""
        return Node(registered, cordoned=before is not None and before.cordoned)

    def snapshot_records(self) -> Iterator[Record]:
        """Records that, applied to an empty image, give this one. Same contents, same records."""
        if self.created is not None:
            yield self.created
        if self.controller is not None:
            yield self.controller
        yield from self.snapshots
        for name, level in sorted(self.features.items()):
            yield FeatureSet(name, level)
        yield from self._node_records()
        yield from self._topic_records()
        for _, entries in sorted(self.configs.items()):
            yield from (entries[key] for key in sorted(entries))
        yield from self._quota_records()
        yield from (self.scram[key] for key in sorted(self.scram))
        yield from (self.acls[key] for key in sorted(self.acls))
        yield from (self.tokens[key] for key in sorted(self.tokens))
        yield from (self.exclusions[key] for key in sorted(self.exclusions))
        if self.next_producer_id:
            yield ProducerIdsReserved(-1, -1, self.next_producer_id)

    def _node_records(self) -> Iterator[Record]:
        for _, node in sorted(self.nodes.items()):
            yield node.registered
            yield NodeStateSet(
                node.node_id, node.node_epoch, node.state, node.cordoned, node.reason
            )
        for kind, next_id in sorted(self.next_ids.items()):
            yield IdsReserved(kind, next_id)

    def _topic_records(self) -> Iterator[Record]:
        yield from (self.topics[topic_id] for topic_id in sorted(self.topics))
        after: TopicId | None = None
        while (dumped := self.partitions.dump(after, TABLE_ROWS)) is not None:
            topics, partitions, nodes = dumped
            yield PartitionTable(tuple(topics), partitions, nodes)
            after = topics[-1]

    def _quota_records(self) -> Iterator[Record]:
        def by_text(entity: tuple[QuotaEntity, ...]) -> list[tuple[str, bool, str]]:
            return [(it.type, it.name is not None, it.name or "") for it in entity]

        for entity in sorted(self.quotas, key=by_text):
            for key, value in sorted(self.quotas[entity].items()):
                yield ClientQuotaSet(entity, key, value)
