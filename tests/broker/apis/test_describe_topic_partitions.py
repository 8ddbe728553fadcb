"""DescribeTopicPartitions: pages, cursors and what they may point at."""

from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.describe_topic_partitions_request import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from support.node import Node, codes

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ask_for(
    *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None
) -> DescribeTopicPartitionsRequest:
    topics = [TopicRequest(name) for name in names]
    return DescribeTopicPartitionsRequest(topics, limit, Cursor(*cursor) if cursor else None)


def told(answer: Any) -> list[tuple[str, list[int]]]:
    return [(it.name, [row.partition_index for row in it.partitions]) for it in answer.topics]


def next_of(answer: Any) -> tuple[str, int] | None:
    cursor = answer.next_cursor
    return None if cursor is None else (cursor.topic_name, cursor.partition_index)


async def test_a_topic_is_described(node: Node) -> None:
    topic_id = await node.create_topic("alone")
    answer = await node.ask(ask_for("alone"))
    (topic,) = answer.topics
    assert (topic.error_code, topic.name, topic.topic_id) == (0, "alone", topic_id)
    (row,) = topic.partitions
    assert (row.leader_id, row.leader_epoch) == (node.node_id, 0)
    assert row.replica_nodes == row.isr_nodes == [node.node_id]
    assert row.offline_replicas == []
    assert topic.topic_authorized_operations == 0b1101_1111_1000


async def test_pages_follow_one_another(node: Node) -> None:
    await node.create_topic("page-a", partitions=3)
    await node.create_topic("page-b", partitions=2)
    names = ("page-b", "page-a")
    first = await node.ask(ask_for(*names, limit=2))
    assert (told(first), next_of(first)) == ([("page-a", [0, 1])], ("page-a", 2))
    second = await node.ask(ask_for(*names, limit=2, cursor=("page-a", 2)))
    assert told(second) == [("page-a", [2]), ("page-b", [0])]
    assert next_of(second) == ("page-b", 1)
    third = await node.ask(ask_for(*names, limit=2, cursor=("page-b", 1)))
    assert (told(third), next_of(third)) == ([("page-b", [1])], None)


async def test_a_page_that_ends_with_a_topic_points_at_the_next_one(node: Node) -> None:
    await node.create_topic("end-a", partitions=2)
    await node.create_topic("end-b")
    answer = await node.ask(ask_for("end-a", "end-b", limit=2))
    assert (told(answer), next_of(answer)) == ([("end-a", [0, 1])], ("end-b", 0))


async def test_a_limit_below_one_is_one(node: Node) -> None:
    await node.create_topic("limited", partitions=2)
    answer = await node.ask(ask_for("limited", limit=0))
    assert (told(answer), next_of(answer)) == ([("limited", [0])], ("limited", 1))


async def test_no_names_ask_for_all_topics(node: Node) -> None:
    await node.create_topic("z-last")
    answer = await node.ask(ask_for(cursor=("z", 0)))
    assert ("z-last", [0]) in told(answer)
    assert [name for name, _ in told(answer)] == sorted(name for name, _ in told(answer))


async def test_what_does_not_exist_is_refused_and_the_rest_told(node: Node) -> None:
    await node.create_topic("known")
    answer = await node.ask(ask_for("known", "unknown", "in/valid"))
    rows = {topic.name: topic.error_code for topic in answer.topics}
    assert rows == {
        "known": 0,
        "unknown": errors.UnknownTopicOrPartition.code,
        "in/valid": errors.InvalidTopicException.code,
    }


@pytest.mark.parametrize("cursor", [("elsewhere", 0), ("pointed", -1)])
async def test_a_cursor_points_into_what_is_asked_for(node: Node, cursor: tuple[str, int]) -> None:
    if cursor[1] == 0:
        await node.create_topic("pointed")
    answer = await node.ask(ask_for("pointed", cursor=cursor))
    assert codes(answer.topics) == [errors.InvalidRequest.code]


async def test_a_cursor_behind_the_last_partition_finds_nothing(node: Node) -> None:
    await node.create_topic("behind")
    answer = await node.ask(ask_for("behind", cursor=("behind", 7)))
    assert (told(answer), next_of(answer)) == ([("behind", [])], None)
