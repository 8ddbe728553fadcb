"""Fetch: ranges, sizes, epochs, isolation and sessions, with Kafka's codes."""

import asyncio
from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from automq.protocol.messages.fetch_request import FetchRequest, ForgottenTopic
from support.messages import batch, fetch, only, produce
from support.node import Node
from support.partitions import reopened

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAST_BY_NAME = 12
BATCH_HEAD_BYTES = 12


async def get(node: Node, request: FetchRequest, version: int = LAST_BY_NAME) -> Any:
    answer = await node.ask(request, version)
    assert answer.error_code == 0
    return only(answer.responses)


async def refusal(
    node: Node, request: FetchRequest, version: int = LAST_BY_NAME
) -> type[errors.KafkaError]:
    row = await get(node, request, version)
    assert not row.records
    return errors.by_code(row.error_code)


def offsets(row: Any) -> list[int]:
    """The base offsets of the batches that were read (Apache Kafka cuts the last one off)."""
    rest, found = bytes(row.records or b""), []
    while len(rest) > BATCH_HEAD_BYTES:
        size = BATCH_HEAD_BYTES + int.from_bytes(rest[8:BATCH_HEAD_BYTES], "big")
        if size <= len(rest):
            found.append(int.from_bytes(rest[:8], "big"))
        rest = rest[size:]
    return found


async def filled(node: Node, topic: str, count: int = 3, size_bytes: int = 1) -> bytes:
    topic_id = await node.create_topic(topic)
    for _ in range(count):
        await node.ask(produce(topic, batch(b"x" * size_bytes)), 12)
    return topic_id


@pytest.mark.parametrize("version", range(4, 13))
async def test_batches_are_read_in_every_version(node: Node, version: int) -> None:
    await filled(node, f"versions-{version}")
    row = await get(node, fetch(f"versions-{version}", 1), version)
    assert (row.error_code, row.high_watermark, offsets(row)) == (0, 3, [1, 2])
    assert row.last_stable_offset == 3
    assert row.log_start_offset == (0 if version >= 5 else -1)


@pytest.mark.parametrize("version", range(13, 19))
async def test_batches_are_read_by_topic_id(node: Node, version: int) -> None:
    name = f"by-id{version}"
    topic_id = await filled(node, name)
    answer = await node.ask(fetch("", 0, topic_id=topic_id), version)
    assert answer.responses[0].topic_id == topic_id
    assert offsets(only(answer.responses)) == [0, 1, 2]


async def test_unknown_topics_and_partitions_are_refused(node: Node) -> None:
    await filled(node, "small")
    unknown = errors.UnknownTopicOrPartition
    assert await refusal(node, fetch("nowhere")) is unknown
    assert await refusal(node, fetch("small", partition=7)) is unknown


async def test_an_unknown_topic_id_is_refused(node: Node) -> None:
    request = fetch("", topic_id=b"?" * 16)
    assert await refusal(node, request, 13) is errors.UnknownTopicId


async def test_who_does_not_lead_says_so(node: Node) -> None:
    await filled(node, "led-elsewhere")
    partition = node.broker.partitions.leader_of(b"", "led-elsewhere", 0)
    node.broker.partitions.close(partition)
    assert await refusal(node, fetch("led-elsewhere")) is errors.NotLeaderOrFollower


@pytest.mark.parametrize("offset", [-1, 4, 2**40])
async def test_an_offset_out_of_range_is_refused(node: Node, offset: int) -> None:
    if offset == -1:
        await filled(node, "ranged")
    row = await get(node, fetch("ranged", offset))
    assert errors.by_code(row.error_code) is errors.OffsetOutOfRange
    assert (row.high_watermark, row.last_stable_offset, row.log_start_offset) == (-1, -1, -1)


async def test_the_end_is_in_range_and_empty(node: Node) -> None:
    await filled(node, "ended")
    row = await get(node, fetch("ended", 3, min_bytes=0))
    assert (row.error_code, row.high_watermark, offsets(row)) == (0, 3, [])


async def test_epochs_are_compared(node: Node) -> None:
    await filled(node, "epochs")
    assert (await get(node, fetch("epochs", current_leader_epoch=0))).error_code == 0
    newer = fetch("epochs", current_leader_epoch=1)
    assert await refusal(node, newer) is errors.UnknownLeaderEpoch


async def test_an_old_epoch_is_fenced(node: Node) -> None:
    await filled(node, "fenced")
    reopened(node.broker.partitions.leader_of(b"", "fenced", 0), epoch=3)
    request = fetch("fenced", current_leader_epoch=2)
    assert await refusal(node, request) is errors.FencedLeaderEpoch


async def test_a_reader_of_an_epoch_that_never_was_is_told_where_it_parted(node: Node) -> None:
    await filled(node, "parted")
    row = await get(node, fetch("parted", 3, last_fetched_epoch=0, min_bytes=0))
    assert (row.error_code, row.diverging_epoch.end_offset) == (0, -1)


async def test_a_batch_that_is_larger_than_asked_for_is_read_all_the_same(node: Node) -> None:
    await filled(node, "large", size_bytes=5000)
    row = await get(node, fetch("large", bytes_max=100, max_bytes=100))
    assert offsets(row) == [0]
    row = await get(node, fetch("large", bytes_max=8000, max_bytes=1 << 20))
    assert offsets(row) == [0]
    row = await get(node, fetch("large", bytes_max=11_000, max_bytes=1 << 20))
    assert offsets(row) == [0, 1]


async def test_a_reader_waits_for_data(node: Node) -> None:
    await node.create_topic("awaited")
    waiting = asyncio.ensure_future(node.ask(fetch("awaited", max_wait_ms=15_000), LAST_BY_NAME))
    await node.ask(produce("awaited", batch(b"a")), 12)
    assert offsets(only((await waiting).responses)) == [0]


async def test_a_reader_waits_no_longer_than_it_wants(node: Node) -> None:
    await node.create_topic("silent")
    row = await get(node, fetch("silent", max_wait_ms=10))
    assert (row.error_code, offsets(row)) == (0, [])


async def test_a_reader_of_a_deleted_topic_is_let_go(node: Node) -> None:
    topic_id = await node.create_topic("vanishing")
    request = fetch("", topic_id=topic_id, max_wait_ms=15_000)
    waiting = asyncio.ensure_future(node.ask(request, 13))
    await asyncio.sleep(0)
    await node.ask(DeleteTopicsRequest([DeleteTopicState("vanishing")], timeout_ms=10_000))
    row = only((await waiting).responses)
    assert errors.by_code(row.error_code) in (
        errors.UnknownTopicId,
        errors.UnknownTopicOrPartition,
        errors.NotLeaderOrFollower,
    )


async def test_readers_of_committed_data_are_told_of_aborted_transactions(node: Node) -> None:
    await filled(node, "committed")
    row = await get(node, fetch("committed", isolation_level=1))
    assert (offsets(row), row.aborted_transactions) == ([0, 1, 2], [])
    row = await get(node, fetch("committed", isolation_level=0))
    assert row.aborted_transactions is None


class Reader:
    """A client with a fetch session."""

    def __init__(self, node: Node) -> None:
        self.node, self.session_id, self.epoch = node, 0, 0

    async def ask(self, request: FetchRequest, version: int = LAST_BY_NAME) -> Any:
        request.session_id, request.session_epoch = self.session_id, self.epoch
        answer = await self.node.ask(request, version)
        if answer.error_code == 0:
            self.session_id, self.epoch = answer.session_id, self.epoch + 1
        return answer


def nothing_new(**fields: Any) -> FetchRequest:
    return FetchRequest(min_bytes=0, topics=[], **fields)


async def test_a_session_tells_only_what_is_new(node: Node) -> None:
    await filled(node, "session")
    reader = Reader(node)
    first = await reader.ask(fetch("session"))
    assert first.session_id > 0
    assert offsets(only(first.responses)) == [0, 1, 2]
    moved = await reader.ask(fetch("session", 3, min_bytes=0))
    assert moved.session_id == first.session_id
    assert (await reader.ask(nothing_new())).responses == []
    await node.ask(produce("session", batch(b"new")), 12)
    assert offsets(only((await reader.ask(nothing_new())).responses)) == [3]


async def test_what_is_forgotten_is_not_told_any_more(node: Node) -> None:
    await filled(node, "forgotten")
    await filled(node, "remembered")
    reader = Reader(node)
    request = fetch("forgotten")
    request.topics += fetch("remembered").topics
    assert len((await reader.ask(request)).responses) == 2
    gone = [ForgottenTopic("forgotten", partitions=[0])]
    again = await reader.ask(nothing_new(forgotten_topics_data=gone))
    assert [topic.topic for topic in again.responses] == ["remembered"]


async def test_a_session_that_is_unknown_is_refused(node: Node) -> None:
    reader = Reader(node)
    reader.session_id, reader.epoch = 77, 5
    answer = await reader.ask(nothing_new())
    assert errors.by_code(answer.error_code) is errors.FetchSessionIdNotFound
    assert answer.responses == []


async def test_a_session_counts_its_epochs(node: Node) -> None:
    await filled(node, "counted")
    reader = Reader(node)
    await reader.ask(fetch("counted"))
    reader.epoch = 7
    answer = await reader.ask(nothing_new())
    assert errors.by_code(answer.error_code) is errors.InvalidFetchSessionEpoch


async def test_a_session_uses_names_or_ids(node: Node) -> None:
    topic_id = await filled(node, "either")
    reader = Reader(node)
    await reader.ask(fetch("either"))
    answer = await reader.ask(fetch("", topic_id=topic_id), 13)
    assert errors.by_code(answer.error_code) is errors.FetchSessionTopicIdError


async def test_a_session_that_is_closed_is_gone(node: Node) -> None:
    await filled(node, "closing")
    reader = Reader(node)
    await reader.ask(fetch("closing"))
    session_id = reader.session_id
    reader.epoch = -1
    assert (await reader.ask(fetch("closing"))).session_id == 0
    reader.session_id, reader.epoch = session_id, 1
    answer = await reader.ask(nothing_new())
    assert errors.by_code(answer.error_code) is errors.FetchSessionIdNotFound


async def test_an_error_in_a_session_is_told_every_time(node: Node) -> None:
    reader = Reader(node)
    for request in (fetch("not-yet"), nothing_new(), nothing_new()):
        answer = await reader.ask(request)
        assert only(answer.responses).error_code == errors.UnknownTopicOrPartition.code
