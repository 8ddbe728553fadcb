"""Metadata: topics, leaders and nodes, and topics that come into being by being asked for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from automq.protocol.messages.metadata_response import MetadataResponsePartition
from support.node import Node, codes, running_node
from support.raw_client import connected
from support.server import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_ASKED = -(2**31)
TOPIC_BITS = 0b1101_1111_1000
CLUSTER_BITS = 0b1_1111_1010_0000


def named(*names: str, **fields: Any) -> MetadataRequest:
    fields.setdefault("allow_auto_topic_creation", False)
    return MetadataRequest([MetadataRequestTopic(name=name) for name in names], **fields)


def by_id(*topic_ids: bytes) -> MetadataRequest:
    return MetadataRequest([MetadataRequestTopic(topic_id, None) for topic_id in topic_ids])


def without_defaults(version: int) -> MetadataRequest:
    """Before v4 a client cannot say that it does not want topics to be created."""
    request = named("versions")
    request.allow_auto_topic_creation = version < 4
    return request


@pytest.mark.parametrize("version", range(14))
async def test_a_topic_is_described_in_every_version(node: Node, version: int) -> None:
    if version == 0:
        await node.create_topic("versions", partitions=2)
    answer = await node.ask(without_defaults(version), version)
    (topic,) = answer.topics
    assert (topic.error_code, topic.name, topic.is_internal) == (0, "versions", False)
    assert [it.partition_index for it in topic.partitions] == [0, 1]
    for row in topic.partitions:
        expected = MetadataResponsePartition(
            partition_index=row.partition_index,
            leader_id=node.node_id,
            leader_epoch=0 if version >= 7 else -1,
            replica_nodes=[node.node_id],
            isr_nodes=[node.node_id],
        )
        assert row == expected
    (broker,) = answer.brokers
    assert (broker.node_id, broker.host, broker.port) == (node.node_id, node.host, node.port)
    assert answer.controller_id == (node.node_id if version >= 1 else -1)
    assert (len(answer.cluster_id) == 22) if version >= 2 else answer.cluster_id is None


async def test_null_is_all_topics_and_an_empty_list_none(node: Node) -> None:
    await node.create_topic("among-all")
    for version in (1, 9, 12):
        everything = await node.ask(MetadataRequest(None), version)
        assert "among-all" in [topic.name for topic in everything.topics]
        assert (await node.ask(MetadataRequest([]), version)).topics == []


async def test_in_version_0_an_empty_list_is_all_topics(node: Node) -> None:
    await node.create_topic("among-old")
    everything = await node.ask(MetadataRequest([]), 0)
    assert "among-old" in [topic.name for topic in everything.topics]


async def test_a_topic_that_may_not_be_created_is_unknown(node: Node) -> None:
    answer = await node.ask(named("unknown"))
    assert codes(answer.topics) == [errors.UnknownTopicOrPartition.code]
    assert (await node.ask(named("unknown"))).topics == answer.topics


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ä", "x" * 250])
@pytest.mark.parametrize("create", [False, True])
async def test_an_invalid_name_is_refused(node: Node, name: str, create: bool) -> None:
    answer = await node.ask(named(name, allow_auto_topic_creation=create))
    assert codes(answer.topics) == [errors.InvalidTopicException.code]
    assert answer.topics[0].name == name


async def test_asking_for_a_topic_creates_it(node: Node) -> None:
    asked = named("wanted", allow_auto_topic_creation=True)
    answer = await node.ask_until(lambda it: not any(codes(it.topics)), asked)
    assert len(answer.topics[0].partitions) == 1


async def test_those_who_ask_together_create_a_topic_once(node: Node) -> None:
    assert node.parts
    asked = named("popular", allow_auto_topic_creation=True)
    answers = await asyncio.gather(*(node.ask(asked) for _ in range(5)))
    assert [codes(answer.topics) for answer in answers] == [[0]] * 5
    assert len({answer.topics[0].topic_id for answer in answers}) == 1


async def test_topics_are_not_created_where_that_is_switched_off(tmp_path: Path) -> None:
    async with running_node(tmp_path, "auto.create.topics.enable=false") as strict:
        assert strict.parts
        answer = await strict.ask(named("wanted", allow_auto_topic_creation=True))
        assert codes(answer.topics) == [errors.UnknownTopicOrPartition.code]
        assert strict.broker.cluster.topics == {}


async def test_a_topic_that_cannot_be_created_says_why(node: Node) -> None:
    assert node.parts
    await node.create_topic("collides.with")
    answer = await node.ask(named("collides_with", allow_auto_topic_creation=True))
    assert codes(answer.topics) == [errors.InvalidTopicException.code]


async def test_topics_of_coordinators_are_internal(node: Node) -> None:
    asked = named("__consumer_offsets", allow_auto_topic_creation=True)
    answer = await node.ask_until(lambda it: not any(codes(it.topics)), asked)
    assert answer.topics[0].is_internal
    assert len(answer.topics[0].partitions) == 2


async def test_topics_are_found_by_id(node: Node) -> None:
    topic_id = await node.create_topic("by-id")
    for version in (12, 13):
        answer = await node.ask(by_id(topic_id, topic_id), version)
        assert [(it.name, it.topic_id) for it in answer.topics] == [("by-id", topic_id)]


async def test_an_unknown_id_is_refused_and_nothing_is_created(node: Node) -> None:
    answer = await node.ask(by_id(b"?" * 16))
    (topic,) = answer.topics
    assert (topic.error_code, topic.name) == (errors.UnknownTopicId.code, None)
    assert topic.topic_id == b"?" * 16


@pytest.mark.parametrize("version", [10, 11])
async def test_ids_mean_nothing_before_version_12(node: Node, version: int) -> None:
    answer = await node.ask(by_id(b"?" * 16), version)
    assert codes(answer.topics) == [errors.InvalidRequest.code]


async def test_a_topic_asked_for_twice_is_told_once(node: Node) -> None:
    await node.create_topic("twice")
    answer = await node.ask(named("twice", "twice"))
    assert [topic.name for topic in answer.topics] == ["twice"]


async def test_operations_are_told_to_those_who_ask(node: Node) -> None:
    await node.create_topic("allowed")
    silent = await node.ask(named("allowed"), 8)
    assert silent.cluster_authorized_operations == NOT_ASKED
    assert silent.topics[0].topic_authorized_operations == NOT_ASKED
    asked = named("allowed", include_topic_authorized_operations=True)
    assert (await node.ask(asked)).topics[0].topic_authorized_operations == TOPIC_BITS
    asked.include_cluster_authorized_operations = True
    assert (await node.ask(asked, 10)).cluster_authorized_operations == CLUSTER_BITS


async def test_each_listener_tells_its_own_addresses(tmp_path: Path) -> None:
    inside, outside = free_port(), free_port()
    settings = (
        f"listeners=INSIDE://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{outside}",
        f"advertised.listeners=INSIDE://node.internal:{inside},OUTSIDE://example.org:443",
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
        "inter.broker.listener.name=INSIDE",
    )
    async with running_node(tmp_path, *settings) as two:
        assert two.parts
        told = []
        for port in (inside, outside):
            async with connected("127.0.0.1", port) as client:
                (broker,) = (await client.ask(MetadataRequest([]))).brokers
                told.append((broker.host, broker.port))
    assert told == [("node.internal", inside), ("example.org", 443)]
