"""The cluster as clients of one listener are told of it: nodes, leaders, replicas.

The data is in the object store, so a replica is a place that may lead, and every live one is in
sync. ISR is the live nodes of the placement list; dead ones are told as offline (HAZARDS 19).
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from automq.controller.topics import check_topic_name
from automq.metadata.cluster import ClusterImage, Node, Partition
from automq.metadata.records.nodes import NodeListener
from automq.protocol import errors

NO_LEADER = -1
NO_CONTROLLER = -1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients of a listener reach a node."""

    node_id: int
    host: str
    port: int
    rack: str | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a partition is, as a client sees it. `leader_id` is -1 when no leader can be reached;
    then `error_code` says why. The lists are shared by many partitions: nobody changes them.
    """

    leader_id: int
    replicas: list[int]
    in_sync: list[int]
    offline: list[int]
    error_code: int


class Topology:
    """What the cluster is now, for clients of one listener. Made for one request, then dropped."""

    def __init__(self, cluster: ClusterImage, listener: str) -> None:
        self.cluster = cluster
        self._live: set[int] = set()
        self._placements: dict[tuple[int, ...], Placement] = {}
        self.endpoints: dict[int, Endpoint] = {}
        for node in cluster.live_nodes():
            self._live.add(node.node_id)
            reached = node.listener(listener)
            if reached is not None:
                self.endpoints[node.node_id] = endpoint(node, reached)

    @property
    def controller_id(self) -> int:
        """A node that takes administrative requests: the active controller where it is a broker.

        Every broker passes them on, so any live one will do, as in Kafka since KIP-500.
        """
        elected = self.cluster.controller
        if elected is not None and elected.node_id in self.endpoints:
            return elected.node_id
        return min(self.endpoints, default=NO_CONTROLLER)

    def fenced(self, listener: str) -> Iterable[Endpoint]:
        """The nodes that are registered and not live, by id."""
        for node_id, node in sorted(self.cluster.nodes.items()):
            reached = node.listener(listener)
            if node_id not in self._live and reached is not None:
                yield endpoint(node, reached)

    def place(self, partition: Partition) -> Placement:
        """How a partition looks. The error is LEADER_NOT_AVAILABLE or LISTENER_NOT_FOUND."""
        # Thousands of partitions have a handful of placements.
        key = (partition.leader, *partition.replicas)
        placement = self._placements.get(key)
        if placement is None:
            placement = self._placements[key] = self._place(partition.leader, partition.replicas)
        return placement

    def _place(self, leader: int, replicas: list[int]) -> Placement:
        code = errors.NONE
        if leader not in self.endpoints:
            missing = errors.ListenerNotFound if leader in self._live else errors.LeaderNotAvailable
            code, leader = missing.code, NO_LEADER
        return Placement(
            leader_id=leader,
            replicas=replicas,
            in_sync=[node_id for node_id in replicas if node_id in self._live],
            offline=[node_id for node_id in replicas if node_id not in self.endpoints],
            error_code=code,
        )


def why_missing(name: str) -> errors.KafkaError:
    """What is said of a topic that does not exist: that, or that its name is none."""
    try:
        check_topic_name(name)
    except errors.InvalidTopicException as error:
        return error
    return errors.UnknownTopicOrPartition(f"there is no topic {name!r}")


def endpoint(node: Node, reached: NodeListener) -> Endpoint:
    return Endpoint(node.node_id, reached.host, reached.port, node.registered.rack)


def cluster_id_text(cluster_id: bytes) -> str:
    """A cluster's id as Kafka writes UUIDs: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(cluster_id).decode().rstrip("=")
