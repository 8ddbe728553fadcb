"""CreatePartitions: topics grow, and never shrink."""

import pytest

from automq.protocol import errors
from automq.protocol.messages.create_partitions_request import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from support.node import Node, codes

pytestmark = pytest.mark.asyncio(loop_scope="module")


def grow(
    name: str, count: int, *replicas: list[int], validate_only: bool = False
) -> CreatePartitionsRequest:
    rows = [CreatePartitionsAssignment(it) for it in replicas] or None
    topic = CreatePartitionsTopic(name, count, rows)
    return CreatePartitionsRequest([topic], 30_000, validate_only)


async def has_partitions(node: Node, name: str, count: int) -> bool:
    asked = MetadataRequest([MetadataRequestTopic(name=name)])
    answer = await node.ask_until(lambda it: len(it.topics[0].partitions) == count, asked)
    return not any(codes(answer.topics[0].partitions))


@pytest.mark.parametrize("version", range(4))
async def test_a_topic_grows_in_every_version(node: Node, version: int) -> None:
    await node.create_topic(f"grows{version}")
    answer = await node.ask(grow(f"grows{version}", 3), version)
    assert [(it.name, it.error_code, it.error_message) for it in answer.results] == [
        (f"grows{version}", 0, None)
    ]
    assert await has_partitions(node, f"grows{version}", 3)


async def test_validating_changes_nothing(node: Node) -> None:
    await node.create_topic("stays")
    assert codes((await node.ask(grow("stays", 5, validate_only=True))).results) == [0]
    assert await has_partitions(node, "stays", 1)


async def test_an_unknown_topic_is_refused(node: Node) -> None:
    answer = await node.ask(grow("nowhere", 5))
    assert codes(answer.results) == [errors.UnknownTopicOrPartition.code]


@pytest.mark.parametrize("count", [0, -1, 1, 2])
async def test_a_topic_does_not_shrink(node: Node, count: int) -> None:
    if count == 0:
        await node.create_topic("large", partitions=2)
    answer = await node.ask(grow("large", count))
    assert codes(answer.results) == [errors.InvalidPartitions.code]
    same = "Topic already has 2 partition(s)."
    fewer = f"The topic large currently has 2 partition(s); {count} would not be an increase."
    assert answer.results[0].error_message == (same if count == 2 else fewer)


async def test_new_partitions_are_assigned_by_hand(node: Node) -> None:
    await node.create_topic("by-hand")
    answer = await node.ask(grow("by-hand", 3, [node.node_id], [node.node_id]))
    assert codes(answer.results) == [0]
    assert await has_partitions(node, "by-hand", 3)


@pytest.mark.parametrize(
    "replicas",
    [([1],), ([1], [1], [1]), ([1], [77]), ([1], []), ([1], [1, 1])],
    ids=["too few", "too many", "unknown node", "no node", "a node twice"],
)
async def test_impossible_assignments_are_refused(
    node: Node, replicas: tuple[list[int], ...]
) -> None:
    await node.ask(grow("impossible", 1))
    if len(replicas[0]) == len(replicas) == 1:
        await node.create_topic("impossible")
    answer = await node.ask(grow("impossible", 3, *replicas))
    assert codes(answer.results) == [errors.InvalidReplicaAssignment.code]


async def test_a_topic_named_twice_is_refused(node: Node) -> None:
    await node.create_topic("double")
    request = CreatePartitionsRequest(
        [CreatePartitionsTopic("double", count, None) for count in (2, 3)], 30_000
    )
    answer = await node.ask(request)
    assert codes(answer.results) == [errors.InvalidRequest.code]
    assert answer.results[0].error_message == "Duplicate topic name."


async def test_too_many_partitions_at_once_are_refused(node: Node) -> None:
    assert node.parts, "Apache Kafka calls it an unknown server error"
    await node.create_topic("greedy")
    answer = await node.ask(grow("greedy", 10_002))
    assert codes(answer.results) == [errors.PolicyViolation.code]
