"""Records about nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from automq.metadata.fields import (
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    NullableString,
    OneOf,
    String,
    UInt16,
    Uuid,
)
from automq.metadata.records.cluster import IdKind
from automq.metadata.records.registry import record

if TYPE_CHECKING:
    from automq.metadata.cluster import ClusterImage


class NodeState(IntEnum):
    """Only a fenced or stopped node's WAL may be taken over."""

    STARTING = 0
    ACTIVE = 1
    DRAINING = 2
    FENCED = 3
    STOPPED = 4


class StateReason(IntEnum):
    """Why a node is in its state; for people."""

    NONE = 0
    REGISTERED = 1
    HEARTBEAT_LOST = 2
    OPERATOR = 3
    SHUTDOWN = 4
    FAILED = 5


@dataclass(frozen=True, slots=True)
class NodeListener:
    """Where clients reach a listener. `protocol` is Kafka's security protocol id."""

    name: String
    host: String
    port: UInt16
    protocol: Int16


@dataclass(frozen=True, slots=True)
class FeatureRange:
    name: String
    min_level: Int16
    max_level: Int16


@dataclass(frozen=True, slots=True)
class Tag:
    key: String
    value: String


@record(key=10)
@dataclass(frozen=True, slots=True)
class NodeRegistered:
    """A node (re)started: what an earlier epoch of it may do ends here."""

    node_id: Int32
    node_epoch: Int64
    incarnation: Uuid
    roles: Int8
    rack: NullableString
    host: String
    listeners: tuple[NodeListener, ...]
    features: tuple[FeatureRange, ...]
    software: String
    tags: tuple[Tag, ...]

    def apply(self, image: ClusterImage) -> None:
        epochs = image.next_ids
        before = image.nodes.get(self.node_id)
        assert before is None or self.node_epoch > before.node_epoch, self
        image.nodes[self.node_id] = image.node_of(self, before)
        epochs[IdKind.NODE_EPOCH] = max(epochs[IdKind.NODE_EPOCH], self.node_epoch + 1)
        epochs[IdKind.NODE] = max(epochs[IdKind.NODE], self.node_id + 1)
        image.changes.nodes[self.node_id] = None


@record(key=11)
@dataclass(frozen=True, slots=True)
class NodeStateSet:
    """Invariant: stored before anything of the node's WAL is touched, when it says fenced."""

    node_id: Int32
    node_epoch: Int64
    state: Annotated[NodeState, OneOf(NodeState)]
    cordoned: Bool
    reason: Annotated[StateReason, OneOf(StateReason)]

    def apply(self, image: ClusterImage) -> None:
        node = image.nodes[self.node_id]
        assert node.node_epoch == self.node_epoch, self
        image.nodes[self.node_id] = replace(
            node, state=self.state, cordoned=self.cordoned, reason=self.reason
        )
        image.changes.nodes[self.node_id] = None


@record(key=12)
@dataclass(frozen=True, slots=True)
class NodeRemoved:
    """The node is no part of the cluster any more."""

    node_id: Int32

    def apply(self, image: ClusterImage) -> None:
        del image.nodes[self.node_id]
        image.changes.nodes[self.node_id] = None


class ExclusionKind(IntEnum):
    TOPIC = 0
    NODE = 1


@record(key=40)
@dataclass(frozen=True, slots=True)
class BalancerExclusionSet:
    """The balancer leaves this topic or node alone, or no longer."""

    kind: Annotated[ExclusionKind, OneOf(ExclusionKind)]
    name: String
    excluded: Bool

    def apply(self, image: ClusterImage) -> None:
        if self.excluded:
            image.exclusions[self.kind, self.name] = self
        else:
            image.exclusions.pop((self.kind, self.name), None)
