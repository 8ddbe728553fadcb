"""ListOffsets, OffsetForLeaderEpoch and DeleteRecords: positions, epochs and ends."""

from typing import Any

import pytest

from automq.protocol import errors
from automq.protocol.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from automq.protocol.messages.offset_for_leader_epoch_request import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from support.messages import NOW_MS, batch, fetch, list_offsets, only, produce
from support.node import Node
from support.partitions import reopened

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5


async def filled(node: Node, topic: str) -> None:
    """Three batches, a second apart."""
    await node.create_topic(topic)
    for number in range(3):
        await node.ask(produce(topic, batch(b"v", at_ms=NOW_MS + number * 1000)), 12)


async def position(node: Node, topic: str, timestamp: int, version: int = 9, **kw: Any) -> Any:
    return only((await node.ask(list_offsets(topic, timestamp, **kw), version)).topics)


async def close_partition(node: Node, topic: str) -> None:
    partitions = node.broker.partitions
    partitions.close(partitions.leader_of(b"", topic, 0))


# -- ListOffsets


@pytest.mark.parametrize("version", range(1, 12))
async def test_both_ends_are_told_in_every_version(node: Node, version: int) -> None:
    if version == 1:
        await filled(node, "versions")
    first = await position(node, "versions", EARLIEST, version)
    last = await position(node, "versions", LATEST, version)
    assert [(it.error_code, it.offset, it.timestamp) for it in (first, last)] == [
        (0, 0, -1),
        (0, 3, -1),
    ]
    assert last.leader_epoch == (0 if version >= 4 else -1)


async def test_offsets_are_found_by_time(node: Node) -> None:
    await filled(node, "timed")
    exact = await position(node, "timed", NOW_MS + 1000)
    assert (exact.offset, exact.timestamp, exact.leader_epoch) == (1, NOW_MS + 1000, 0)
    between = await position(node, "timed", NOW_MS + 1001)
    assert (between.offset, between.timestamp) == (2, NOW_MS + 2000)
    later = await position(node, "timed", NOW_MS + 2001)
    assert (later.error_code, later.offset, later.timestamp) == (0, -1, -1)


async def test_the_largest_timestamp_is_found(node: Node) -> None:
    await filled(node, "largest")
    await node.ask(produce("largest", batch(b"old", at_ms=NOW_MS)), 12)
    found = await position(node, "largest", MAX_TIMESTAMP)
    assert (found.offset, found.timestamp) == (2, NOW_MS + 2000)


async def test_an_empty_partition_has_no_largest_timestamp(node: Node) -> None:
    await node.create_topic("nothing")
    found = await position(node, "nothing", MAX_TIMESTAMP)
    assert (found.error_code, found.offset, found.timestamp) == (0, -1, -1)


async def test_there_is_no_tier(node: Node) -> None:
    await filled(node, "untiered")
    assert (await position(node, "untiered", EARLIEST_LOCAL)).offset == 0
    tiered = await position(node, "untiered", LATEST_TIERED)
    assert (tiered.error_code, tiered.offset) == (0, -1)


@pytest.mark.parametrize(
    ("timestamp", "version"),
    [(MAX_TIMESTAMP, 6), (EARLIEST_LOCAL, 7), (LATEST_TIERED, 8), (-77, 9)],
)
async def test_special_timestamps_have_their_versions(
    node: Node, timestamp: int, version: int
) -> None:
    if timestamp == MAX_TIMESTAMP:
        await filled(node, "special")
    refused = await position(node, "special", timestamp, version)
    assert errors.by_code(refused.error_code) is errors.UnsupportedVersion
    assert refused.offset == -1


async def test_list_offsets_refuses_what_is_not_here(node: Node) -> None:
    await filled(node, "listed")
    unknown = errors.UnknownTopicOrPartition.code
    assert (await position(node, "nowhere", LATEST)).error_code == unknown
    assert (await position(node, "listed", LATEST, partition=7)).error_code == unknown


async def test_list_offsets_compares_epochs(node: Node) -> None:
    await filled(node, "list-epochs")
    assert (await position(node, "list-epochs", LATEST, epoch=0)).error_code == 0
    newer = await position(node, "list-epochs", LATEST, epoch=1)
    assert errors.by_code(newer.error_code) is errors.UnknownLeaderEpoch


async def test_list_offsets_fences_old_epochs_and_asks_only_the_leader(node: Node) -> None:
    await filled(node, "list-moved")
    reopened(node.broker.partitions.leader_of(b"", "list-moved", 0), epoch=3)
    older = await position(node, "list-moved", LATEST, epoch=2)
    assert errors.by_code(older.error_code) is errors.FencedLeaderEpoch
    await close_partition(node, "list-moved")
    moved = await position(node, "list-moved", LATEST)
    assert errors.by_code(moved.error_code) is errors.NotLeaderOrFollower


async def test_a_partition_named_twice_is_refused(node: Node) -> None:
    await filled(node, "list-twice")
    request = list_offsets("list-twice", LATEST)
    request.topics[0].partitions *= 2
    answer = await node.ask(request, 9)
    assert {it.error_code for it in answer.topics[0].partitions} == {errors.InvalidRequest.code}


# -- OffsetForLeaderEpoch


def epoch_end(
    topic: str, epoch: int, *, partition: int = 0, current: int = -1
) -> OffsetForLeaderEpochRequest:
    row = OffsetForLeaderPartition(partition, current, epoch)
    return OffsetForLeaderEpochRequest(-1, [OffsetForLeaderTopic(topic, [row])])


@pytest.mark.parametrize("version", [2, 3, 4])
async def test_the_current_epoch_ends_at_the_end(node: Node, version: int) -> None:
    if version == 2:
        await filled(node, "ending")
    row = only((await node.ask(epoch_end("ending", 0), version)).topics)
    assert (row.error_code, row.leader_epoch, row.end_offset) == (0, 0, 3)


@pytest.mark.parametrize("epoch", [-1, 7])
async def test_an_epoch_that_is_not_known_has_no_end(node: Node, epoch: int) -> None:
    if epoch == -1:
        await filled(node, "unending")
    row = only((await node.ask(epoch_end("unending", epoch))).topics)
    assert (row.error_code, row.leader_epoch, row.end_offset) == (0, -1, -1)


async def test_epoch_ends_are_refused_where_the_leader_is_not(node: Node) -> None:
    await filled(node, "epochs")
    unknown = errors.UnknownTopicOrPartition.code
    for request in (epoch_end("nowhere", 0), epoch_end("epochs", 0, partition=7)):
        assert only((await node.ask(request)).topics).error_code == unknown
    newer = only((await node.ask(epoch_end("epochs", 0, current=1))).topics)
    assert errors.by_code(newer.error_code) is errors.UnknownLeaderEpoch
    assert node.parts
    await close_partition(node, "epochs")
    moved = only((await node.ask(epoch_end("epochs", 0))).topics)
    assert errors.by_code(moved.error_code) is errors.NotLeaderOrFollower


# -- DeleteRecords


def delete(topic: str, offset: int, partition: int = 0) -> DeleteRecordsRequest:
    row = DeleteRecordsPartition(partition, offset)
    return DeleteRecordsRequest([DeleteRecordsTopic(topic, [row])], 10_000)


async def deleted(node: Node, *args: Any, version: int = 2) -> tuple[int, int]:
    row = only((await node.ask(delete(*args), version)).topics)
    return row.error_code, row.low_watermark


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_records_are_deleted_in_every_version(node: Node, version: int) -> None:
    name = f"deleted{version}"
    await filled(node, name)
    assert await deleted(node, name, 2, version=version) == (0, 2)
    assert (await position(node, name, EARLIEST)).offset == 2
    below = only((await node.ask(fetch(name, 1), 12)).responses)
    assert errors.by_code(below.error_code) is errors.OffsetOutOfRange


async def test_a_start_never_goes_back(node: Node) -> None:
    await filled(node, "forward")
    assert await deleted(node, "forward", 2) == (0, 2)
    assert await deleted(node, "forward", 1) == (0, 2)
    assert await deleted(node, "forward", -1) == (0, 3)


async def test_nothing_is_deleted_beyond_the_end(node: Node) -> None:
    await filled(node, "beyond")
    out_of_range = (errors.OffsetOutOfRange.code, -1)
    assert await deleted(node, "beyond", 4) == out_of_range
    assert await deleted(node, "beyond", -2) == out_of_range
    assert (await position(node, "beyond", EARLIEST)).offset == 0


async def test_records_of_compacted_topics_are_not_deleted(node: Node) -> None:
    await node.create_topic("compacted", cleanup_policy="compact")
    await node.ask(produce("compacted", batch(b"a")), 12)
    assert await deleted(node, "compacted", 1) == (errors.PolicyViolation.code, -1)


async def test_records_are_deleted_only_where_they_are(node: Node) -> None:
    await filled(node, "there")
    unknown = (errors.UnknownTopicOrPartition.code, -1)
    assert await deleted(node, "nowhere", 1) == unknown
    assert await deleted(node, "there", 1, 7) == unknown
    assert node.parts
    await close_partition(node, "there")
    assert await deleted(node, "there", 1) == (errors.NotLeaderOrFollower.code, -1)
