"""Produce: what is appended, what is refused, with Kafka's codes."""

import time
from typing import Any

import pytest

from automq._native import Buf
from automq.protocol import errors
from automq.protocol.codec import encode_request
from automq.protocol.messages.api_versions_request import ApiVersionsRequest
from automq.protocol.messages.init_producer_id_request import InitProducerIdRequest
from automq.protocol.messages.produce_request import PartitionProduceData, ProduceRequest
from support.messages import NOW_MS, batch, fetch, list_offsets, only, produce
from support.node import Node
from support.raw_client import Closed

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAST_BY_NAME = 12
DAY_MS = 86_400_000


async def send(node: Node, request: ProduceRequest, version: int = LAST_BY_NAME) -> Any:
    return only((await node.ask(request, version)).responses)


async def refusal(
    node: Node, request: ProduceRequest, version: int = LAST_BY_NAME
) -> type[errors.KafkaError]:
    row = await send(node, request, version)
    assert row.base_offset == -1
    return errors.by_code(row.error_code)


async def end_offset(node: Node, topic: str) -> int:
    row = only((await node.ask(list_offsets(topic, -1))).topics)
    offset: int = row.offset
    return offset


@pytest.mark.parametrize("version", range(3, 13))
async def test_a_batch_is_appended_in_every_version(node: Node, version: int) -> None:
    if version == 3:
        await node.create_topic("versions")
    before = await end_offset(node, "versions")
    row = await send(node, produce("versions", batch(b"a", b"b")), version)
    assert (row.error_code, row.base_offset, row.log_append_time_ms) == (0, before, -1)
    assert await end_offset(node, "versions") == before + 2


async def test_a_batch_is_appended_by_topic_id(node: Node) -> None:
    topic_id = await node.create_topic("by-id")
    row = await send(node, produce("", batch(b"a"), topic_id=topic_id), 13)
    assert (row.error_code, row.base_offset) == (0, 0)


async def test_unknown_topics_and_partitions_are_refused(node: Node) -> None:
    await node.create_topic("small")
    unknown = errors.UnknownTopicOrPartition
    assert await refusal(node, produce("nowhere", batch(b"a"))) is unknown
    assert await refusal(node, produce("small", batch(b"a"), partition=7)) is unknown
    assert await refusal(node, produce("small", batch(b"a"), partition=-1)) is unknown


async def test_an_unknown_topic_id_is_refused(node: Node) -> None:
    row = await send(node, produce("", batch(b"a"), topic_id=b"?" * 16), 13)
    assert errors.by_code(row.error_code) is errors.UnknownTopicId


async def test_who_does_not_lead_says_so(node: Node) -> None:
    await node.create_topic("led-elsewhere")
    partition = node.broker.partitions.leader_of(b"", "led-elsewhere", 0)
    node.broker.partitions.close(partition)
    assert await refusal(node, produce("led-elsewhere", batch(b"a"))) is errors.NotLeaderOrFollower


@pytest.mark.parametrize("acks", [2, -2])
async def test_acks_are_all_one_or_none(node: Node, acks: int) -> None:
    await node.create_topic(f"acks{acks}")
    request = produce(f"acks{acks}", batch(b"a"), acks=acks)
    assert await refusal(node, request) is errors.InvalidRequiredAcks
    assert await end_offset(node, f"acks{acks}") == 0


async def test_without_acks_there_is_no_answer(node: Node) -> None:
    await node.create_topic("quiet")
    async with node.client() as client:
        silent = produce("quiet", batch(b"a"), acks=0)
        await client.send_frame(encode_request(silent, LAST_BY_NAME, 1, "test"))
        answer = await client.ask(produce("quiet", batch(b"b")), LAST_BY_NAME)
    assert only(answer.responses).base_offset == 1


async def test_without_acks_a_refusal_closes_the_connection(node: Node) -> None:
    async with node.client() as client:
        silent = produce("nowhere", batch(b"a"), acks=0)
        await client.send_frame(encode_request(silent, LAST_BY_NAME, 1, "test"))
        with pytest.raises(Closed):
            await client.receive()


def damaged(position: int) -> Buf:
    whole = bytearray(bytes(batch(b"value")))
    whole[position] ^= 0xFF
    return Buf(bytes(whole))


async def test_damaged_bytes_are_refused(node: Node) -> None:
    await node.create_topic("damaged")
    assert await refusal(node, produce("damaged", damaged(-1))) is errors.CorruptMessage
    assert await refusal(node, produce("damaged", Buf(bytes(batch(b"a"))[:-1]))) in (
        errors.CorruptMessage,
        errors.InvalidRecord,
    )
    assert await end_offset(node, "damaged") == 0


async def test_a_request_carries_one_batch_a_partition(node: Node) -> None:
    await node.create_topic("one-batch")
    two = Buf(bytes(batch(b"a")) + bytes(batch(b"b")))
    assert await refusal(node, produce("one-batch", two)) is errors.InvalidRecord


async def test_what_is_too_large_is_refused(node: Node) -> None:
    await node.create_topic("limited", max_message_bytes="1000")
    assert await refusal(node, produce("limited", batch(b"x" * 1000))) is errors.MessageTooLarge
    assert (await send(node, produce("limited", batch(b"x" * 800)))).error_code == 0


async def test_a_compacted_topic_wants_keys(node: Node) -> None:
    await node.create_topic("compacted", cleanup_policy="compact")
    row = await send(node, produce("compacted", batch(b"a", key=None)))
    assert errors.by_code(row.error_code) is errors.InvalidRecord
    assert [it.batch_index for it in row.record_errors] == [0]
    assert row.error_message


async def test_timestamps_that_are_out_of_range_are_refused(node: Node) -> None:
    await node.create_topic("timely", message_timestamp_before_max_ms=str(DAY_MS))
    row = await send(node, produce("timely", batch(b"a", at_ms=NOW_MS)))
    assert errors.by_code(row.error_code) is errors.InvalidTimestamp
    assert [it.batch_index for it in row.record_errors] == [0]


async def test_timestamps_in_the_future_are_refused(node: Node) -> None:
    await node.create_topic("no-prophets")
    far_ms = time.time_ns() // 1_000_000 + 2 * DAY_MS
    request = produce("no-prophets", batch(b"a", at_ms=far_ms))
    assert await refusal(node, request) is errors.InvalidTimestamp


async def test_append_time_is_told(node: Node) -> None:
    await node.create_topic("append-time", message_timestamp_type="LogAppendTime")
    row = await send(node, produce("append-time", batch(b"a")))
    assert (row.error_code, row.log_append_time_ms > NOW_MS) == (0, True)


async def test_zstd_is_refused_before_it_was_invented(node: Node) -> None:
    await node.create_topic("zstd")
    request = produce("zstd", batch(b"a" * 100, codec="zstd"))
    assert await refusal(node, request, 6) is errors.UnsupportedCompressionType
    assert (await send(node, request, 7)).error_code == 0


async def test_control_batches_are_not_for_clients(node: Node) -> None:
    await node.create_topic("control")
    request = produce("control", batch(b"a", control=True, producer_id=1, producer_epoch=0))
    assert await refusal(node, request) is errors.InvalidRecord


async def test_more_wanted_in_sync_than_replicas_refuses_nothing(node: Node) -> None:
    await node.create_topic("careful", min_insync_replicas="2")
    assert (await send(node, produce("careful", batch(b"a"), acks=-1))).error_code == 0
    assert (await send(node, produce("careful", batch(b"a"), acks=1))).error_code == 0


async def test_each_partition_is_answered_alone(node: Node) -> None:
    await node.create_topic("mixed", partitions=2)
    request = produce("mixed", batch(b"a"))
    rows = request.topic_data[0].partition_data
    rows += [PartitionProduceData(1, damaged(-1)), PartitionProduceData(9, batch(b"c"))]
    answer = await node.ask(request, LAST_BY_NAME)
    told = {it.index: it.error_code for it in answer.responses[0].partition_responses}
    assert told == {0: 0, 1: errors.CorruptMessage.code, 9: errors.UnknownTopicOrPartition.code}


class Idempotent:
    """A producer with an id, whose sequence numbers a test chooses."""

    def __init__(self, node: Node, topic: str, producer_id: int) -> None:
        self.node, self.topic, self.producer_id = node, topic, producer_id

    async def send(self, sequence: int, *, epoch: int = 0) -> Any:
        records = batch(
            b"v", producer_id=self.producer_id, producer_epoch=epoch, base_sequence=sequence
        )
        return await send(self.node, produce(self.topic, records))


async def idempotent(node: Node, topic: str) -> Idempotent:
    await node.create_topic(topic)
    asked = InitProducerIdRequest(transactional_id=None)
    given = await node.ask_until(lambda it: it.error_code == 0, asked, 5)
    return Idempotent(node, topic, given.producer_id)


async def test_a_duplicate_is_answered_with_its_first_offset(node: Node) -> None:
    producer = await idempotent(node, "duplicates")
    assert [(await producer.send(it)).base_offset for it in (0, 1, 2)] == [0, 1, 2]
    again = await producer.send(1)
    assert (again.error_code, again.base_offset) == (0, 1)
    assert await end_offset(node, "duplicates") == 3


async def test_a_gap_in_the_sequence_is_refused(node: Node) -> None:
    producer = await idempotent(node, "gaps")
    await producer.send(0)
    refused = await producer.send(2)
    assert errors.by_code(refused.error_code) is errors.OutOfOrderSequenceNumber
    assert (await producer.send(1)).error_code == 0


async def test_an_old_epoch_is_fenced(node: Node) -> None:
    producer = await idempotent(node, "fenced")
    await producer.send(0, epoch=1)
    refused = await producer.send(0, epoch=0)
    assert errors.by_code(refused.error_code) is errors.InvalidProducerEpoch
    assert (await producer.send(1, epoch=1)).error_code == 0


async def test_a_new_epoch_begins_at_sequence_0(node: Node) -> None:
    producer = await idempotent(node, "new-epoch")
    await producer.send(0)
    refused = await producer.send(7, epoch=1)
    assert errors.by_code(refused.error_code) is errors.OutOfOrderSequenceNumber


async def test_what_is_refused_cannot_be_read(node: Node) -> None:
    await node.create_topic("clean")
    await send(node, produce("clean", damaged(-1)))
    await send(node, produce("clean", batch(b"good")))
    row = only((await node.ask(fetch("clean"), 12)).responses)
    assert (row.high_watermark, b"good" in bytes(row.records)) == (1, True)


@pytest.mark.parametrize("records", [None, Buf(b"")])
async def test_a_partition_without_a_batch_is_refused(node: Node, records: Buf | None) -> None:
    if records is None:
        assert node.parts, "Apache Kafka does not answer this one"
    await node.create_topic(f"empty{records is None}")
    assert await refusal(node, produce(f"empty{records is None}", records)) is (
        errors.InvalidRecord
    )


async def test_a_version_that_is_not_there_closes_the_connection(node: Node) -> None:
    frame = encode_request(produce("t", batch(b"a")), 3, 1, "test")
    old = frame[:6] + (2).to_bytes(2, "big") + frame[8:]
    async with node.client() as client:
        await client.send_frame(old)
        with pytest.raises(Closed):
            await client.receive()
    assert (await node.ask(ApiVersionsRequest("test", "1"))).error_code == 0
