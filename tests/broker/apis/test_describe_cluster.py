"""DescribeCluster and DescribeLogDirs: nodes, and where they keep what they have."""

from dataclasses import replace
from typing import Any

import pytest

from automq.broker.apis.describe_log_dirs import without_secrets
from automq.metadata.records.nodes import NodeState
from automq.protocol import errors
from automq.protocol.messages.describe_cluster_request import DescribeClusterRequest
from automq.protocol.messages.describe_log_dirs_request import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
)
from support.node import Node

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_ASKED = -(2**31)
CLUSTER_BITS = 0b1_1111_1010_0000


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_the_cluster_is_described_in_every_version(node: Node, version: int) -> None:
    answer = await node.ask(DescribeClusterRequest(), version)
    (broker,) = answer.brokers
    assert (broker.broker_id, broker.host, broker.port) == (node.node_id, node.host, node.port)
    assert answer.controller_id == node.node_id
    assert (len(answer.cluster_id), answer.error_code) == (22, 0)
    assert answer.cluster_authorized_operations == NOT_ASKED
    assert not broker.is_fenced


async def test_operations_are_told_to_those_who_ask(node: Node) -> None:
    asked = DescribeClusterRequest(include_cluster_authorized_operations=True)
    assert (await node.ask(asked)).cluster_authorized_operations == CLUSTER_BITS


async def test_a_broker_does_not_speak_for_controllers(node: Node) -> None:
    answer = await node.ask(DescribeClusterRequest(endpoint_type=2), 1)
    assert answer.error_code == errors.MismatchedEndpointType.code
    answer = await node.ask(DescribeClusterRequest(endpoint_type=77), 1)
    assert answer.error_code == errors.UnsupportedEndpointType.code
    assert answer.error_message == "Unsupported endpoint type 77"


async def test_fenced_nodes_are_told_to_those_who_ask(node: Node) -> None:
    cluster = node.broker.cluster
    alone = cluster.nodes[node.node_id]
    registered = replace(alone.registered, node_id=9)
    cluster.nodes[9] = replace(alone, registered=registered, state=NodeState.FENCED)
    try:
        silent = await node.ask(DescribeClusterRequest())
        told = await node.ask(DescribeClusterRequest(include_fenced_brokers=True))
    finally:
        del cluster.nodes[9]
    assert [it.broker_id for it in silent.brokers] == [node.node_id]
    assert [(it.broker_id, it.is_fenced) for it in told.brokers] == [(1, False), (9, True)]


@pytest.mark.parametrize("version", range(1, 6))
async def test_there_is_one_place_for_all_partitions(node: Node, version: int) -> None:
    if version == 1:
        await node.create_topic("placed", partitions=2)
    asked = DescribeLogDirsRequest(None)
    answer = await node.ask_until(lambda it: len(placed(it)) == 2, asked, version)
    (place,) = answer.results
    assert place.error_code == 0
    assert {(row.partition_size, row.offset_lag) for row in placed(answer)} == {(0, 0)}


def placed(answer: Any) -> list[Any]:
    return [
        row
        for topic in answer.results[0].topics
        if topic.name == "placed"
        for row in topic.partitions
    ]


async def test_what_is_not_here_is_left_out(node: Node) -> None:
    await node.create_topic("here")
    wanted = [DescribableLogDirTopic("here", [0, 7]), DescribableLogDirTopic("nowhere", [0])]
    asked = DescribeLogDirsRequest(wanted)
    answer = await node.ask_until(lambda it: len(it.results[0].topics) > 0, asked)
    (topic,) = answer.results[0].topics
    assert (topic.name, [row.partition_index for row in topic.partitions]) == ("here", [0])


async def test_a_place_is_told_without_secrets() -> None:
    uri = "s3://key:secret@bucket/prefix?endpoint=http://localhost:9000"
    assert without_secrets(uri) == "s3://bucket/prefix"
    assert without_secrets("file:///data/store") == "file:///data/store"
