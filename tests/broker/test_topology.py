"""The cluster as clients of a listener see it: dead nodes, nodes without that listener, leaders."""

import random

from automq.broker.apis.metadata import describe_partition
from automq.broker.topology import Topology, cluster_id_text, why_missing
from automq.metadata.cluster import ClusterImage, Node
from automq.metadata.cluster import Partition as Row
from automq.metadata.records.cluster import ControllerElected
from automq.metadata.records.nodes import (
    NodeListener,
    NodeRegistered,
    NodeState,
    StateReason,
)
from automq.protocol import errors

ACTIVE, FENCED = NodeState.ACTIVE, NodeState.FENCED
UNAVAILABLE, NO_LISTENER = errors.LeaderNotAvailable.code, errors.ListenerNotFound.code


def node(node_id: int, state: NodeState = ACTIVE, *listeners: str) -> Node:
    told = [NodeListener(name, f"host{node_id}", 9092, 0) for name in listeners or ("EXTERNAL",)]
    registered = NodeRegistered(
        node_id=node_id,
        node_epoch=1,
        incarnation=bytes(16),
        roles=1,
        rack=f"rack{node_id}",
        host=f"host{node_id}",
        listeners=tuple(told),
        features=(),
        software="test",
        tags=(),
    )
    return Node(registered, state=state, reason=StateReason.REGISTERED)


def topology(*nodes: Node, controller_id: int = -1) -> Topology:
    cluster = ClusterImage(nodes={it.node_id: it for it in nodes})
    if controller_id >= 0:
        cluster.controller = ControllerElected(1, controller_id, bytes(16), (), 1)
    return Topology(cluster, "EXTERNAL")


def partition(leader: int, *replicas: int) -> Row:
    return Row(
        replicas=list(replicas),
        adding=[],
        removing=[],
        leader=leader,
        leader_epoch=5,
        partition_epoch=0,
        state=1,
        moving_to=-1,
        reason=0,
        data_stream=0,
        state_stream=-1,
    )


def test_live_nodes_are_told_with_their_racks() -> None:
    told = topology(node(1), node(2, FENCED), node(3)).endpoints
    assert [(it.node_id, it.host, it.rack) for it in told.values()] == [
        (1, "host1", "rack1"),
        (3, "host3", "rack3"),
    ]


def test_nodes_are_told_only_on_their_listeners() -> None:
    assert list(topology(node(1, ACTIVE, "INTERNAL"), node(2)).endpoints) == [2]


def test_the_controller_is_told_where_it_is_a_broker() -> None:
    assert topology(node(1), node(2), controller_id=2).controller_id == 2
    assert topology(node(1), node(2, FENCED), controller_id=2).controller_id == 1
    assert topology(node(1, FENCED)).controller_id == -1


def test_live_replicas_are_in_sync_and_dead_ones_offline() -> None:
    placed = topology(node(1), node(2, FENCED), node(3)).place(partition(1, 1, 2, 3, 4))
    assert (placed.leader_id, placed.error_code) == (1, 0)
    assert placed.replicas == [1, 2, 3, 4]
    assert placed.in_sync == [1, 3]
    assert placed.offline == [2, 4]


def test_a_dead_leader_is_not_told() -> None:
    placed = topology(node(1, FENCED), node(2)).place(partition(1, 1, 2))
    assert (placed.leader_id, placed.error_code, placed.in_sync) == (-1, UNAVAILABLE, [2])
    nobody = topology(node(1)).place(partition(-1, 1))
    assert (nobody.leader_id, nobody.error_code) == (-1, UNAVAILABLE)


def test_a_leader_without_the_listener_is_an_error_of_its_own_since_version_6() -> None:
    placed = topology(node(1, ACTIVE, "INTERNAL"), node(2)).place(partition(1, 1, 2))
    assert (placed.leader_id, placed.error_code, placed.in_sync) == (-1, NO_LISTENER, [1, 2])
    assert describe_partition(6, 0, 5, placed).error_code == NO_LISTENER
    assert describe_partition(5, 0, 5, placed).error_code == UNAVAILABLE


def test_version_0_names_no_node_that_it_does_not_list() -> None:
    placed = topology(node(1), node(2, FENCED)).place(partition(1, 1, 2))
    old = describe_partition(0, 0, 5, placed)
    assert (old.replica_nodes, old.isr_nodes) == ([1], [1])
    assert old.error_code == errors.ReplicaNotAvailable.code
    new = describe_partition(1, 0, 5, placed)
    assert (new.replica_nodes, new.error_code) == ([1, 2], 0)


def test_a_cluster_id_is_written_as_kafka_writes_it() -> None:
    assert cluster_id_text(bytes(16)) == "AAAAAAAAAAAAAAAAAAAAAA"
    assert len(cluster_id_text(random.Random(1).randbytes(16))) == 22


def test_a_missing_topic_has_a_name_or_none() -> None:
    assert isinstance(why_missing("orders"), errors.UnknownTopicOrPartition)
    assert isinstance(why_missing("or/ders"), errors.InvalidTopicException)
