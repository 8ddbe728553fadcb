"""Commands about topics: create, grow, delete. Pure: they read the image and decide records."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from automq._native import Columns
from automq.controller.placement import place
from automq.metadata.decision import Decision
from automq.metadata.image import Image
from automq.metadata.records.configs import ConfigResource, ConfigSet
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import (
    NewStream,
    StreamKind,
    StreamsCreated,
    StreamsOpened,
    StreamsRemoved,
)
from automq.metadata.records.topics import (
    NewPartition,
    PartitionsCreated,
    TopicCreated,
    TopicRemoved,
)
from automq.protocol import errors

TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]+")
TOPIC_NAME_LENGTH_MAX = 249
DEFAULT = -1
PARTITIONS_PER_COMMAND_MAX = 10_000
"""As in Apache Kafka: what one command makes is stored as one, and opened at once."""


@dataclass(frozen=True, slots=True)
class TopicWish:
    """A topic that somebody wants. `assignments` by partition, or counts (-1: the default).

    `configs` are valid already. `topic_id` is new.
    """

    name: str
    topic_id: bytes
    partitions: int = DEFAULT
    replication_factor: int = DEFAULT
    assignments: Mapping[int, Sequence[int]] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False


@dataclass(frozen=True, slots=True)
class TopicDefaults:
    """`num.partitions` and `default.replication.factor`."""

    partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True)
class TopicMade:
    """What was (or would be) created."""

    name: str
    topic_id: bytes
    partitions: int
    replication_factor: int


def check_topic_name(name: str) -> None:
    """Kafka's rule for names. Raises InvalidTopicException."""
    if not name:
        raise errors.InvalidTopicException("the topic name is empty")
    if name in (".", ".."):
        raise errors.InvalidTopicException("a topic cannot be named '.' or '..'")
    if len(name) > TOPIC_NAME_LENGTH_MAX:
        raise errors.InvalidTopicException(
            f"the topic name has {len(name)} characters, it may have {TOPIC_NAME_LENGTH_MAX}"
        )
    if TOPIC_NAME.fullmatch(name) is None:
        raise errors.InvalidTopicException(
            f"topic name {name!r}: only ASCII letters, digits, '.', '_' and '-' are allowed"
        )


def create_topic(image: Image, wish: TopicWish, defaults: TopicDefaults) -> Decision[TopicMade]:
    """Create a topic with its partitions, led and open at once.

    Raises InvalidTopicException, TopicAlreadyExists, InvalidPartitions, InvalidReplicationFactor,
    InvalidReplicaAssignment, InvalidRequest, PolicyViolation.
    """
    check_topic_name(wish.name)
    check_free(image, wish.name)
    if wish.topic_id in image.cluster.topics:
        raise errors.InvalidRequest(f"topic id {wish.topic_id.hex()} is another topic's")
    replicas = replicas_of(image, wish, defaults)
    made = TopicMade(wish.name, wish.topic_id, len(replicas), len(replicas[0]))
    records: list[Record] = [TopicCreated(wish.topic_id, wish.name, wish.internal)]
    records += [
        ConfigSet(ConfigResource.TOPIC, wish.name, key, value, secret=False)
        for key, value in sorted(wish.configs.items())
    ]
    records += new_partitions(image, wish.topic_id, 0, replicas)
    return Decision(records, made)


def check_free(image: Image, name: str) -> None:
    """Raises TopicAlreadyExists, and InvalidTopicException for names alike but for '.' and '_'.

    Kafka refuses the latter because the names of its metrics would be the same.
    """
    if name in image.cluster.topic_ids:
        raise errors.TopicAlreadyExists(f"Topic '{name}' already exists.")
    if "." in name or "_" in name:
        alike = name.replace(".", "_")
        for other in image.cluster.topic_ids:
            if other.replace(".", "_") == alike:
                raise errors.InvalidTopicException(
                    f"Topic '{name}' collides with existing topic: {other}"
                )


def replicas_of(image: Image, wish: TopicWish, defaults: TopicDefaults) -> list[list[int]]:
    """The placement list of every partition."""
    live = [node.node_id for node in image.cluster.live_nodes() if not node.cordoned]
    check_size(max(wish.partitions, len(wish.assignments)))
    if wish.assignments:
        if wish.partitions != DEFAULT or wish.replication_factor != DEFAULT:
            raise errors.InvalidRequest(
                "a topic has manual assignments, or a number of partitions and replicas, not both"
            )
        return assigned(wish.assignments, first=0, live=live)
    partitions = defaults.partitions if wish.partitions == DEFAULT else wish.partitions
    if partitions <= 0:
        raise errors.InvalidPartitions(
            f"Number of partitions was set to an invalid value: {partitions}"
        )
    factor = wish.replication_factor
    if factor == DEFAULT:
        factor = max(1, min(defaults.replication_factor, len(live)))
    if wish.internal:
        factor = max(1, min(factor, len(live)))
    check_factor(factor, len(live))
    return place(live, partitions, factor, seed=wish.topic_id)


def check_size(partitions: int) -> None:
    """Raises PolicyViolation for more partitions than one command may make."""
    if partitions > PARTITIONS_PER_COMMAND_MAX:
        raise errors.PolicyViolation(
            f"{partitions} partitions at once; at most {PARTITIONS_PER_COMMAND_MAX} are possible"
        )


def check_factor(factor: int, live: int) -> None:
    if factor <= 0:
        raise errors.InvalidReplicationFactor(
            f"Replication factor must be larger than 0, is {factor}"
        )
    if factor > live:
        raise errors.InvalidReplicationFactor(
            f"Unable to replicate the partition {factor} time(s): "
            f"The target replication factor of {factor} cannot be reached because only {live} "
            "broker(s) are registered."
        )


def assigned(
    assignments: Mapping[int, Sequence[int]], *, first: int, live: Sequence[int]
) -> list[list[int]]:
    """Check manual assignments: partitions dense from `first`, known nodes, one factor."""
    if sorted(assignments) != list(range(first, first + len(assignments))):
        raise errors.InvalidReplicaAssignment("partitions must be numbered without gaps")
    factor = len(assignments[first])
    for partition, replicas in sorted(assignments.items()):
        if not replicas or len(set(replicas)) != len(replicas):
            raise errors.InvalidReplicaAssignment(
                f"partition {partition}: replicas {list(replicas)} are empty or repeat"
            )
        if len(replicas) != factor:
            raise errors.InvalidReplicaAssignment(
                f"partition {partition} has {len(replicas)} replicas, others have {factor}"
            )
        unknown = [node_id for node_id in replicas if node_id not in live]
        if unknown:
            raise errors.InvalidReplicaAssignment(
                f"The manual partition assignment includes broker {unknown[0]}, "
                "but no such broker is registered."
            )
    return [list(assignments[partition]) for partition in sorted(assignments)]


def new_partitions(
    image: Image, topic_id: bytes, first: int, replicas: Sequence[Sequence[int]]
) -> list[Record]:
    """Records that create partitions with their data streams, and open them at their leaders."""
    first_stream = image.storage.tables.next_stream
    rows = [
        NewPartition(tuple(nodes), nodes[0], 0, first_stream + number)
        for number, nodes in enumerate(replicas)
    ]
    streams = tuple(
        NewStream(topic_id, first + number, StreamKind.DATA) for number in range(len(rows))
    )
    records: list[Record] = [
        PartitionsCreated(topic_id, first, tuple(rows)),
        StreamsCreated(first_stream, streams),
    ]
    by_leader: dict[int, list[int]] = {}
    for row in rows:
        by_leader.setdefault(row.leader, []).append(row.data_stream)
    for leader, ids in by_leader.items():
        zeros = [0] * len(ids)
        node_epoch = image.cluster.nodes[leader].node_epoch
        records.append(StreamsOpened(leader, node_epoch, Columns(ids, zeros, zeros)))
    return records


def create_partitions(
    image: Image, name: str, count: int, assignments: Sequence[Sequence[int]] | None
) -> Decision[None]:
    """Let a topic have `count` partitions.

    Raises UnknownTopicOrPartition, InvalidPartitions, InvalidReplicaAssignment, PolicyViolation.
    """
    topic = image.cluster.topic(name)
    if topic is None:
        raise errors.UnknownTopicOrPartition(f"there is no topic {name!r}")
    current = image.cluster.partition_count(topic.topic_id)
    if count < current:
        raise errors.InvalidPartitions(
            f"The topic {name} currently has {current} partition(s); "
            f"{count} would not be an increase."
        )
    if count == current:
        raise errors.InvalidPartitions(f"Topic already has {current} partition(s).")
    check_size(count - current)
    live = [node.node_id for node in image.cluster.live_nodes() if not node.cordoned]
    existing = image.cluster.partition(topic.topic_id, 0)
    assert existing is not None
    factor = len(existing.replicas)
    if assignments is not None:
        if len(assignments) != count - current:
            raise errors.InvalidReplicaAssignment(
                f"Attempted to add {count - current} additional partition(s), but only "
                f"{len(assignments)} assignment(s) were specified."
            )
        numbered = {current + number: nodes for number, nodes in enumerate(assignments)}
        replicas = assigned(numbered, first=current, live=live)
        if len(replicas[0]) != factor:
            raise errors.InvalidReplicaAssignment(
                f"the topic has {factor} replicas a partition, the new ones {len(replicas[0])}"
            )
    else:
        check_factor(factor, len(live))
        replicas = place(live, count - current, factor, seed=topic.topic_id, skip=current)
    return Decision(new_partitions(image, topic.topic_id, current, replicas), None)


def delete_topic(image: Image, topic_id: bytes) -> Decision[None]:
    """Remove a topic with its partitions, configs and streams; its objects are doomed later.

    Raises UnknownTopicId.
    """
    if topic_id not in image.cluster.topics:
        raise errors.UnknownTopicId("there is no topic of this id")
    ids: list[int] = []
    for partition in image.cluster.topic_partitions(topic_id):
        ids.append(partition.data_stream)
        if partition.state_stream >= 0:
            ids.append(partition.state_stream)
    records: list[Record] = [TopicRemoved(topic_id), StreamsRemoved(Columns(sorted(ids)))]
    return Decision(records, None)
