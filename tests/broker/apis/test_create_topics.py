"""CreateTopics: what is created, what is refused, and in whose words."""

from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from support.node import Node, codes

pytestmark = pytest.mark.asyncio(loop_scope="module")


def topic(name: str, partitions: int = 1, factor: int = 1, **configs: str) -> CreatableTopic:
    rows = [CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()]
    return CreatableTopic(name, partitions, factor, configs=rows)


def assigned(name: str, *replicas: tuple[int, list[int]]) -> CreatableTopic:
    rows = [CreatableReplicaAssignment(*it) for it in replicas]
    return CreatableTopic(name, -1, -1, assignments=rows)


async def refusal(node: Node, wanted: CreatableTopic) -> tuple[type[errors.KafkaError], str]:
    """Why a topic is not created, asked for and only validated."""
    answer = await node.ask(CreateTopicsRequest([wanted]))
    (row,) = answer.topics
    dry = await node.ask(CreateTopicsRequest([wanted], validate_only=True))
    assert codes(dry.topics) == [row.error_code]
    assert row.name == wanted.name
    return errors.by_code(row.error_code), row.error_message


@pytest.mark.parametrize("version", range(2, 8))
async def test_a_topic_is_created_in_every_version(node: Node, version: int) -> None:
    answer = await node.ask(CreateTopicsRequest([topic(f"v{version}", 3)]), version)
    (row,) = answer.topics
    assert (row.error_code, row.error_message, row.name) == (0, None, f"v{version}")
    if version >= 5:
        assert (row.num_partitions, row.replication_factor) == (3, 1)
        assert row.topic_config_error_code == 0
    assert (row.topic_id != bytes(16)) == (version >= 7)


async def test_the_answer_tells_the_configs_in_force(node: Node) -> None:
    wanted = topic("configured", retention_ms="5000", cleanup_policy="compact")
    answer = await node.ask(CreateTopicsRequest([wanted]))
    rows = {it.name: (it.value, it.config_source) for it in answer.topics[0].configs}
    assert rows["retention.ms"] == ("5000", 1)
    assert rows["cleanup.policy"] == ("compact", 1)
    assert rows["segment.ms"] == ("604800000", 5)
    assert list(rows) == sorted(rows)


async def test_defaults_are_taken_for_minus_one(node: Node) -> None:
    answer = await node.ask(CreateTopicsRequest([topic("by-default", -1, -1)]))
    (row,) = answer.topics
    assert (row.error_code, row.num_partitions, row.replication_factor) == (0, 1, 1)


async def test_validating_creates_nothing(node: Node) -> None:
    wanted = CreateTopicsRequest([topic("dry", 2)], validate_only=True)
    for _ in range(2):
        answer = await node.ask(wanted)
        assert (answer.topics[0].error_code, answer.topics[0].num_partitions) == (0, 2)


async def test_a_topic_exists_only_once(node: Node) -> None:
    await node.create_topic("once")
    why, message = await refusal(node, topic("once"))
    assert (why, message) == (errors.TopicAlreadyExists, "Topic 'once' already exists.")


async def test_that_a_topic_exists_is_told_before_what_else_is_wrong(node: Node) -> None:
    await node.create_topic("first-things-first")
    why, _ = await refusal(node, topic("first-things-first", 0, nonsense="1"))
    assert why is errors.TopicAlreadyExists


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 250])
async def test_invalid_names_are_refused(node: Node, name: str) -> None:
    why, _ = await refusal(node, topic(name))
    assert why is errors.InvalidTopicException


async def test_names_whose_metrics_would_collide_are_refused(node: Node) -> None:
    await node.create_topic("a.b")
    why, message = await refusal(node, topic("a_b"))
    assert (why, message) == (
        errors.InvalidTopicException,
        "Topic 'a_b' collides with existing topic: a.b",
    )


@pytest.mark.parametrize("partitions", [0, -2])
async def test_a_topic_has_partitions(node: Node, partitions: int) -> None:
    why, _ = await refusal(node, topic("no-partitions", partitions))
    assert why is errors.InvalidPartitions


@pytest.mark.parametrize("factor", [0, -2, 4])
async def test_a_factor_that_cannot_be_reached_is_refused(node: Node, factor: int) -> None:
    why, _ = await refusal(node, topic("unreachable", 1, factor))
    assert why is errors.InvalidReplicationFactor


async def test_unknown_and_invalid_configs_are_refused(node: Node) -> None:
    why, message = await refusal(node, topic("bad", nonsense="1"))
    assert (why, message) == (errors.InvalidConfig, "Unknown topic config name: nonsense")
    why, message = await refusal(node, topic("bad", retention_ms="soon"))
    assert why is errors.InvalidConfig
    assert message == "Invalid value soon for configuration retention.ms: Not a number of type LONG"


async def test_a_config_without_a_value_is_refused(node: Node) -> None:
    wanted = CreatableTopic("null", 1, 1, configs=[CreatableTopicConfig("retention.ms", None)])
    why, _ = await refusal(node, wanted)
    assert why is errors.InvalidConfig


async def test_partitions_are_assigned_by_hand(node: Node) -> None:
    wanted = assigned("by-hand", (0, [node.node_id]), (1, [node.node_id]))
    answer = await node.ask(CreateTopicsRequest([wanted]))
    (row,) = answer.topics
    assert (row.error_code, row.num_partitions, row.replication_factor) == (0, 2, 1)


@pytest.mark.parametrize(
    "replicas",
    [
        ((0, [77]),),
        ((0, [1, 1]),),
        ((0, []),),
        ((0, [1]), (2, [1])),
        ((0, [1]), (0, [1])),
    ],
    ids=["unknown node", "a node twice", "no node", "a gap", "a partition twice"],
)
async def test_impossible_assignments_are_refused(node: Node, replicas: Any) -> None:
    why, _ = await refusal(node, assigned("impossible", *replicas))
    assert why is errors.InvalidReplicaAssignment


async def test_assignments_and_numbers_exclude_each_other(node: Node) -> None:
    wanted = assigned("both", (0, [node.node_id]))
    wanted.num_partitions = 1
    why, _ = await refusal(node, wanted)
    assert why is errors.InvalidRequest


async def test_a_name_given_twice_is_refused_and_the_others_are_created(node: Node) -> None:
    names = ["double", "double", "single"]
    answer = await node.ask(CreateTopicsRequest([topic(name) for name in names]))
    rows = {row.name: (row.error_code, row.error_message) for row in answer.topics}
    assert len(answer.topics) == 2
    assert rows["double"] == (errors.InvalidRequest.code, "Duplicate topic name.")
    assert rows["single"] == (0, None)


async def test_the_metadata_log_is_no_topic(node: Node) -> None:
    why, message = await refusal(node, topic("__cluster_metadata"))
    assert why is errors.InvalidRequest
    assert message == "Creation of internal topic __cluster_metadata is prohibited."


async def test_a_topic_that_is_not_stored_in_time_is_created_all_the_same(node: Node) -> None:
    assert node.parts
    answer = await node.ask(CreateTopicsRequest([topic("late")], timeout_ms=0))
    assert codes(answer.topics) == [errors.RequestTimedOut.code]
    again = CreateTopicsRequest([topic("late")])
    await node.ask_until(lambda it: codes(it.topics) == [errors.TopicAlreadyExists.code], again)


async def test_too_many_partitions_at_once_are_refused(node: Node) -> None:
    why, message = await refusal(node, topic("huge", 10_001))
    assert why is errors.PolicyViolation
    assert message == "Excessively large number of partitions per request."
    both = CreateTopicsRequest([topic("half-1", 6_000), topic("half-2", 6_000)])
    answer = await node.ask(both)
    assert codes(answer.topics) == [errors.PolicyViolation.code] * 2
