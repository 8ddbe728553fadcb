"""The cluster part on its own: what records change, what a follower hears, its snapshot."""

import pytest

from automq.metadata.cluster import ClusterImage
from automq.metadata.log import encode_all
from automq.metadata.records.cluster import (
    ClusterCreated,
    ControllerElected,
    FeatureSet,
    IdKind,
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
    NodeRemoved,
    NodeState,
    NodeStateSet,
    StateReason,
)
from automq.metadata.records.registry import Record
from automq.metadata.records.security import AclSet, DelegationTokenSet, ScramSet
from automq.metadata.records.topics import (
    NewPartition,
    PartitionReason,
    PartitionsCreated,
    PartitionSet,
    PartitionState,
    StateStreamSet,
    TopicCreated,
    TopicRemoved,
)

ID = b"t" * 16
LISTENER = NodeListener("PLAINTEXT", "localhost", 9092, 0)


def node(node_id: int, node_epoch: int) -> NodeRegistered:
    return NodeRegistered(
        node_id, node_epoch, b"i" * 16, 3, None, "h", (LISTENER,), (), "automq", ()
    )


def topic_of(partitions: int) -> list[Record]:
    new = tuple(NewPartition((1, 2), 1, 0, 10 + at) for at in range(partitions))
    return [TopicCreated(ID, "orders", False), PartitionsCreated(ID, 0, new)]


def config(value: str | None) -> ConfigSet:
    return ConfigSet(ConfigResource.TOPIC, "orders", "retention.ms", value, False)


def test_a_topic_is_found_by_name_and_by_id() -> None:
    image = ClusterImage()
    changes = image.apply_all(topic_of(3))

    topic = image.topic("orders")
    assert topic is not None
    assert topic.topic_id == ID
    assert image.partition_count(ID) == 3
    assert list(changes.topics) == [ID]
    assert list(changes.partitions) == [(ID, 0), (ID, 1), (ID, 2)]


def test_a_partition_is_what_was_last_set() -> None:
    image = ClusterImage()
    image.apply_all(topic_of(2))
    moved = PartitionSet(
        ID, 1, (2, 3, 4, 5), (4, 5), (1,), 2, 8, 3, PartitionState.MOVING, 3,
        PartitionReason.REASSIGNED,
    )  # fmt: skip
    changes = image.apply_all([moved, StateStreamSet(ID, 1, 77)])

    row = image.partition(ID, 1)
    assert row is not None
    assert (row.replicas, row.adding, row.removing) == ([2, 3, 4, 5], [4, 5], [1])
    assert (row.leader, row.leader_epoch, row.partition_epoch) == (2, 8, 3)
    assert (row.data_stream, row.state_stream, row.moving_to) == (11, 77, 3)
    assert list(changes.partitions) == [(ID, 1)]
    assert image.partition(ID, 2) is None
    assert image.partition(ID, -1) is None


def test_a_removed_topic_takes_its_partitions_and_configs_with_it() -> None:
    image = ClusterImage()
    image.apply_all([*topic_of(2), config("1")])
    changes = image.apply_all([TopicRemoved(ID)])

    assert image.topic("orders") is None
    assert image.partition_count(ID) == 0
    assert image.config(ConfigResource.TOPIC, "orders") == {}
    assert changes.removed_topics == {ID: "orders"}


def test_a_null_config_removes_the_key() -> None:
    image = ClusterImage()
    image.apply_all([config("1"), config("2")])
    assert image.config(ConfigResource.TOPIC, "orders")["retention.ms"].value == "2"

    image.apply(config(None))
    assert image.configs == {}


def test_a_node_that_registers_again_has_a_newer_epoch_and_keeps_its_cordon() -> None:
    image = ClusterImage()
    cordoned = NodeStateSet(1, 0, NodeState.ACTIVE, True, StateReason.OPERATOR)
    image.apply_all([node(1, 0), cordoned, node(1, 1)])

    assert image.nodes[1].cordoned
    assert image.nodes[1].state is NodeState.STARTING
    assert image.next_ids == {IdKind.NODE: 2, IdKind.NODE_EPOCH: 2}


def test_a_node_epoch_that_is_not_newer_is_our_mistake() -> None:
    image = ClusterImage()
    image.apply(node(1, 4))

    with pytest.raises(AssertionError):
        image.apply(node(1, 4))


def test_changes_are_told_once() -> None:
    image = ClusterImage()
    assert image.apply_all([FeatureSet("metadata.version", 1)])
    assert not image.take_changes()


def everything() -> list[Record]:
    entity = (QuotaEntity("user", None), QuotaEntity("client-id", "c"))
    return [
        ClusterCreated(b"c" * 16, 5, 4096),
        ControllerElected(3, 1, b"i" * 16, (), 1),
        SnapshotTaken(9, b"s" * 16, ()),
        FeatureSet("metadata.version", 1),
        ProducerIdsReserved(1, 0, 5_000),
        node(3, 0),
        node(1, 1),
        NodeStateSet(1, 1, NodeState.FENCED, False, StateReason.HEARTBEAT_LOST),
        node(2, 2),
        NodeRemoved(2),
        *topic_of(5),
        StateStreamSet(ID, 4, 99),
        config("7"),
        ClientQuotaSet(entity, "producer_byte_rate", 1.5),
        ScramSet("u", 1, b"salt", b"stored", b"server", 4096),
        AclSet(b"a" * 16, 2, "orders", 3, "User:u", "*", 3, 3),
        DelegationTokenSet("t", "User:o", "User:r", ("User:x",), 1, 2, 3),
        BalancerExclusionSet(ExclusionKind.TOPIC, "orders", True),
    ]


def test_a_snapshot_equals_the_history_that_it_replaces() -> None:
    image, copy = ClusterImage(), ClusterImage()
    image.apply_all(everything())
    copy.apply_all(image.snapshot_records())

    assert bytes(encode_all(copy.snapshot_records())) == bytes(encode_all(image.snapshot_records()))
    assert copy.topic_partitions(ID) == image.topic_partitions(ID)
    assert (copy.nodes, copy.next_ids) == (image.nodes, image.next_ids)
    assert (copy.configs, copy.quotas, copy.acls) == (image.configs, image.quotas, image.acls)
    assert (copy.snapshots, copy.next_producer_id) == (image.snapshots, image.next_producer_id)
