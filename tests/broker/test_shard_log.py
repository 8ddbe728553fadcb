"""A partition as a coordinator's log: order, back-pressure, and partitions that leave."""

import asyncio
from functools import partial

import pytest

from automq.broker.shard_log import PartitionLog
from automq.controller.leaders import StreamAt
from automq.protocol import errors
from automq.protocol.messages.find_coordinator_request import FindCoordinatorRequest
from automq.stream.client import Verdict
from automq.stream.wal import WalOptions
from support.partitions import hosting, values_in
from support.storage import KIB, Machine, Sizes
from support.virtual_node import virtual_node
from support.virtual_time import virtual

TIGHT = Sizes(
    upload_bytes=1 << 30, wal=WalOptions(segment_bytes=16 * KIB, capacity_bytes=128 * KIB)
)


@virtual
async def test_appends_keep_their_order_without_room() -> None:
    async with hosting(Machine(latency_ms=(5, 20)), TIGHT) as host:
        partition = await host.create()
        log = PartitionLog(partition)
        told: list[int] = []
        stored = []
        for number in range(100):
            future = log.append([(b"k", b"%03d" % number + bytes(4 * KIB))], 5)
            future.add_done_callback(partial(lambda number, _: told.append(number), number))
            stored.append(future)
        async with asyncio.timeout(3600):
            await asyncio.gather(*stored)
        assert told == list(range(100))
        values = await values_in(partition)
        assert [value[:3] for value in values] == [b"%03d" % number for number in range(100)]


@virtual
async def test_a_read_sees_every_stored_append_in_memory_and_in_objects() -> None:
    async with hosting(Machine(), Sizes(interval_ms=10**9)) as host:
        partition = await host.create()
        log = PartitionLog(partition)
        for number in range(10):
            await log.append([(b"k%d" % number, None)], 5)
            if number == 5:
                await host.upload()
                host.node.evict()
        log.append([(b"under way", None)], 5)
        read = [buf async for buf in log.read()]
        assert sum(len(buf) for buf in read) > 0
        assert partition.high_watermark == 11, "a read waits for what was appended before it"


@virtual
async def test_what_waits_for_room_when_the_partition_leaves_is_refused() -> None:
    async with hosting(Machine(), TIGHT) as host:
        partition = await host.create()
        log = PartitionLog(partition)
        stored = [log.append([(b"k", bytes(20 * KIB))], 5) for _ in range(10)]
        host.partitions.close(partition)
        async with asyncio.timeout(3600):
            results = await asyncio.gather(*stored, return_exceptions=True)
        refused = [isinstance(result, errors.NotLeaderOrFollower) for result in results]
        assert any(refused)
        assert refused == sorted(refused), "nothing overtook what was refused"
        with pytest.raises(errors.NotLeaderOrFollower):
            await log.append([(b"k", None)], 5)


@virtual
async def test_a_group_shard_resigns_when_its_partition_is_fenced() -> None:
    async with virtual_node(Machine(), "offsets.topic.num.partitions=2") as node:
        client = node.client()
        wanted = FindCoordinatorRequest(key_type=0, coordinator_keys=["g"])
        while (await client.ask(wanted, 4)).coordinators[0].error_code != 0:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        broker = node.broker
        assert sorted(broker.groups._led) == [0, 1]
        [fenced] = [it for it in broker.partitions if it.index == 1]
        broker.committed([fenced.data.stream_id], [Verdict.FENCED])
        assert sorted(broker.groups._led) == [0]


@virtual
async def test_a_partition_that_was_opened_again_is_not_closed_by_its_older_self() -> None:
    async with hosting(Machine()) as host:
        old = await host.create()
        at = host.node.controller.partition_at(old.topic_id, 0)
        assert at is not None
        closed: list[int] = []
        host.partitions.on_closed = lambda partition: closed.append(partition.leader_epoch)
        host.partitions.close(old)
        newer = StreamAt(at.data.stream_id, 1, 0, 0)
        new = host.partitions.open("t", type(at)(at.topic_id, 0, newer, None, [(1, 0)]))
        host.partitions.close(old)
        assert host.partitions.find(old.topic_id, "t", 0) is new
        assert closed == [0]
