"""FindCoordinator: who answers for a group, in every version."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from automq.broker.internal_topics import OFFSETS_TOPIC
from automq.metadata.records.configs import ConfigResource
from automq.metadata.records.nodes import NodeState
from automq.protocol import errors
from automq.protocol.messages.find_coordinator_request import FindCoordinatorRequest
from support.node import Node, running_node

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("version", range(4))
async def test_a_group_has_a_coordinator(node: Node, version: int) -> None:
    asked = FindCoordinatorRequest(key="g")
    found = await node.ask_until(lambda answer: answer.error_code == 0, asked, version)
    assert found.node_id == node.node_id
    assert (found.host, found.port) == (node.host, node.port)


@pytest.mark.parametrize("version", [4, 5, 6])
async def test_several_groups_are_found_at_once(node: Node, version: int) -> None:
    found = await node.ask(FindCoordinatorRequest(coordinator_keys=["a", "b"]), version)
    assert [(it.key, it.error_code) for it in found.coordinators] == [("a", 0), ("b", 0)]
    assert {(it.node_id, it.host, it.port) for it in found.coordinators} == {
        (node.node_id, node.host, node.port)
    }


async def test_a_group_without_a_name_has_a_coordinator_all_the_same(node: Node) -> None:
    found = await node.ask(FindCoordinatorRequest(coordinator_keys=[""]), 6)
    assert found.coordinators[0].error_code == 0


@pytest.mark.parametrize("version", [1, 3])
async def test_an_unknown_kind_of_key_is_refused(node: Node, version: int) -> None:
    found = await node.ask(FindCoordinatorRequest(key="g", key_type=9), version)
    assert found.error_code == errors.InvalidRequest.code
    assert (found.node_id, found.port) == (-1, -1)


async def test_an_unknown_kind_of_key_is_refused_for_each(node: Node) -> None:
    found = await node.ask(FindCoordinatorRequest(key_type=9, coordinator_keys=["a", "b"]), 4)
    assert [it.error_code for it in found.coordinators] == [errors.InvalidRequest.code] * 2


async def test_share_groups_are_refused_before_they_were_invented(node: Node) -> None:
    found = await node.ask(FindCoordinatorRequest(key_type=2, coordinator_keys=["a"]), 5)
    assert [it.error_code for it in found.coordinators] == [errors.InvalidRequest.code]


async def test_transactions_have_no_coordinator_yet(node: Node) -> None:
    assert node.parts
    found = await node.ask(FindCoordinatorRequest(key="t", key_type=1), 3)
    assert found.error_code == errors.CoordinatorNotAvailable.code


async def test_those_who_ask_together_create_the_offsets_topic_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as fresh:
        assert fresh.parts
        asked = FindCoordinatorRequest(coordinator_keys=["a", "b", "c"])
        answers = await asyncio.gather(*(fresh.ask(asked) for _ in range(4)))
        assert {it.error_code for answer in answers for it in answer.coordinators} == {0}
        topic = fresh.broker.cluster.topic(OFFSETS_TOPIC)
        assert topic is not None
        assert topic.internal
        settings = fresh.broker.configs.settings(ConfigResource.TOPIC, OFFSETS_TOPIC)
        assert settings == {
            "cleanup.policy": "compact",
            "compression.type": "producer",
            "segment.bytes": "104857600",
        }


async def test_a_coordinator_without_a_leader_is_not_available(node: Node) -> None:
    cluster = node.broker.cluster
    await node.ask(FindCoordinatorRequest(key="g"), 3)
    alone, nodes = cluster.nodes[node.node_id], dict(cluster.nodes)
    cluster.nodes[node.node_id] = replace(alone, state=NodeState.FENCED)
    try:
        found = await node.ask(FindCoordinatorRequest(key="g"), 3)
    finally:
        cluster.nodes.update(nodes)
    assert found.error_code == errors.CoordinatorNotAvailable.code
