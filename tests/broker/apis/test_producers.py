"""InitProducerId and DescribeProducers: ids of producers, and what a partition knows of them."""

from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.describe_producers_request import (
    DescribeProducersRequest,
    TopicRequest,
)
from automq.protocol.messages.init_producer_id_request import InitProducerIdRequest
from support.messages import batch, only, produce
from support.node import Node

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def new_id(node: Node, version: int = 5, **fields: Any) -> Any:
    asked = InitProducerIdRequest(transactional_id=None, **fields)
    loading = errors.CoordinatorLoadInProgress.code
    return await node.ask_until(lambda it: it.error_code != loading, asked, version)


@pytest.mark.parametrize("version", range(6))
async def test_every_producer_gets_an_id_of_its_own(node: Node, version: int) -> None:
    first, second = await new_id(node, version), await new_id(node, version)
    assert (first.error_code, first.producer_epoch, second.producer_epoch) == (0, 0, 0)
    assert 0 <= first.producer_id < second.producer_id


async def test_an_idempotent_producer_that_had_an_id_gets_another(node: Node) -> None:
    had = await new_id(node)
    other = await new_id(node, producer_id=had.producer_id, producer_epoch=had.producer_epoch)
    assert (other.error_code, other.producer_epoch) == (0, 0)
    assert other.producer_id != had.producer_id


@pytest.mark.parametrize(("producer_id", "epoch"), [(5, -1), (-1, 5)])
async def test_an_id_and_its_epoch_go_together(node: Node, producer_id: int, epoch: int) -> None:
    refused = await new_id(node, producer_id=producer_id, producer_epoch=epoch)
    assert errors.by_code(refused.error_code) is errors.InvalidRequest
    assert refused.producer_id == -1


async def test_a_transactional_id_has_a_name(node: Node) -> None:
    asked = InitProducerIdRequest(transactional_id="", transaction_timeout_ms=1000)
    refused = await node.ask(asked, 5)
    assert errors.by_code(refused.error_code) is errors.InvalidRequest


async def test_transactions_are_not_served_yet(node: Node) -> None:
    assert node.parts
    asked = InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000)
    refused = await node.ask(asked, 5)
    assert errors.by_code(refused.error_code) is errors.CoordinatorNotAvailable


def describe(topic: str, partition: int = 0) -> DescribeProducersRequest:
    return DescribeProducersRequest([TopicRequest(topic, [partition])])


async def test_a_partition_tells_who_has_written(node: Node) -> None:
    await node.create_topic("written")
    producer_id = (await new_id(node)).producer_id
    records = batch(b"a", b"b", producer_id=producer_id, producer_epoch=0, base_sequence=0)
    await node.ask(produce("written", records), 12)
    row = only((await node.ask(describe("written"))).topics)
    (state,) = row.active_producers
    assert (state.producer_id, state.producer_epoch, state.last_sequence) == (producer_id, 0, 1)
    assert state.current_txn_start_offset == -1


async def test_producers_are_told_by_the_leader(node: Node) -> None:
    await node.create_topic("led")
    unknown = errors.UnknownTopicOrPartition.code
    assert only((await node.ask(describe("nowhere"))).topics).error_code == unknown
    assert only((await node.ask(describe("led", 7))).topics).error_code == unknown
    partitions = node.broker.partitions
    partitions.close(partitions.leader_of(b"", "led", 0))
    moved = only((await node.ask(describe("led"))).topics)
    assert errors.by_code(moved.error_code) is errors.NotLeaderOrFollower
