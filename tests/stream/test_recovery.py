"""What a dead node acknowledged comes back, once and in order, however often recovery dies."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from automq.controller.leaders import PartitionAt
from automq.metadata.state import Stopped
from automq.node.failure import NodeFailure
from automq.objectstore.simulated import Effect, Fault
from automq.stream.client import ObjectCommit, StorageClient
from automq.stream.recovery import RecoveryLimits, WalRecovery
from automq.stream.wal import WalOwner, WalRecord
from support.storage import (
    CLUSTER,
    KIB,
    NODE_ID,
    Died,
    Machine,
    Sizes,
    StorageNode,
    batch,
    running,
    start,
)
from support.virtual_time import virtual

FOREVER = Sizes(upload_bytes=1 << 30, interval_ms=10**9)


def led(node: StorageNode, name: str = "t") -> PartitionAt:
    found = node.controller.partition_at(node.metadata.image.cluster.topic_ids[name], 0)
    assert found is not None
    return found


@virtual
async def test_what_was_acknowledged_survives_a_kill() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        for number in range(50):
            await node.append(stream, b"%d" % number)
    async with running(machine) as node:
        at = led(node)
        assert (at.data.start_offset, at.data.end_offset, at.data.epoch) == (0, 50, 1)
        assert list(at.opens) == [(0, 0), (1, 50)]
        stream = node.open(at)
        assert await node.read_values(stream) == [b"%d" % number for number in range(50)]
        assert await node.append(stream, b"50") == 50


@virtual
async def test_recovery_commits_exactly_the_tail() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        for number in range(10):
            await node.append(stream, b"%d" % number)
        await node.upload()
        for number in range(10, 20):
            await node.append(stream, b"%d" % number)
    async with running(machine) as node:
        ranges = await node.controller.locate(led(node).data.stream_id, 0, 100)
        assert [(found.start_offset, found.end_offset) for found in ranges] == [(0, 10), (10, 20)]
        stream = node.open(led(node))
        assert await node.read_values(stream) == [b"%d" % number for number in range(20)]


@virtual
async def test_what_was_not_synced_may_be_there_but_never_with_a_gap() -> None:
    for seed in range(20):
        machine = Machine(seed)
        async with running(machine, FOREVER) as node:
            stream = await node.new_stream()
            for number in range(10):
                await node.append(stream, b"%d" % number)
            for number in range(10, 30):
                node.engine.append(stream, batch(b"%d" % number), lambda: None)
                if number % 4 == 0:
                    await asyncio.sleep(0.0005)
        async with running(machine) as node:
            values = await node.read_values(node.open(led(node)))
            assert values == [b"%d" % number for number in range(len(values))]
            assert len(values) >= 10


@virtual
async def test_many_streams_come_back_in_objects_of_bounded_size() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        streams = [await node.new_stream(f"t{number}") for number in range(5)]
        for number in range(100):
            await node.append(streams[number % 5], b"%d" % number + bytes(1 * KIB))
    async with running(machine, Sizes(upload_bytes=16 * KIB)) as node:
        assert len(machine.object_keys()) > 1
        for index in range(5):
            values = await node.read_values(node.open(led(node, f"t{index}")))
            assert [value.rstrip(b"\0") for value in values] == [
                b"%d" % number for number in range(index, 100, 5)
            ]


@virtual
async def test_a_recovery_that_dies_anywhere_is_done_again_without_loss_or_doubles() -> None:
    """The node dies at a random moment of its start, again and again, in many histories."""
    for seed in range(30):
        machine = Machine(seed, latency_ms=(0, 20))
        async with running(machine, FOREVER) as node:
            stream = await node.new_stream()
            for number in range(40):
                await node.append(stream, b"%d" % number + bytes(1 * KIB))
        for _ in range(4):
            await die_while_starting(machine, machine.world.chance.uniform(0, 0.3))
        async with running(machine, Sizes(upload_bytes=8 * KIB)) as node:
            values = await node.read_values(node.open(led(node)))
            assert [value.rstrip(b"\0") for value in values] == [b"%d" % n for n in range(40)]


@virtual
async def test_objects_of_a_recovery_are_committed_in_their_order_whatever_is_stored_first() -> (
    None
):
    for seed in range(10):
        machine = Machine(seed)
        async with running(machine, FOREVER) as node:
            stream = await node.new_stream()
            for number in range(20):
                await node.append(stream, b"%d" % number + bytes(8 * KIB))
        slow = Fault(Effect.DELAY, frozenset({"put"}), "data/", times=None, wait_ms=(0, 1_000))
        machine.store.inject(slow)
        for _ in range(3):
            await die_while_starting(machine, machine.world.chance.uniform(0, 3))
        async with running(machine, Sizes(upload_bytes=8 * KIB)) as node:
            values = await node.read_values(node.open(led(node)))
            assert [value.rstrip(b"\0") for value in values] == [b"%d" % n for n in range(20)]


class Stopping:
    """A controller that is stopped in the middle of a commit."""

    def __init__(self) -> None:
        self.ids = 0
        self.commits, self.stops = asyncio.Event(), asyncio.Event()

    async def prepare_objects(self, count: int) -> int:
        self.ids += count
        return self.ids - count

    async def commit_objects(self, commits: Sequence[ObjectCommit]) -> None:
        self.commits.set()
        await self.stops.wait()
        raise Stopped


async def two_chunks(machine: Machine) -> AsyncIterator[list[WalRecord]]:
    for wal_id in machine.disk.ids:
        async for chunk in machine.disk.recover(wal_id=wal_id, start=0):
            for record in chunk:
                yield [record]


@virtual
async def test_a_recovery_that_is_stopped_with_its_controller_has_not_failed() -> None:
    """Seed 502009: the node said that it had failed."""
    machine, client = Machine(), Stopping()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        for _ in range(2):
            await node.append(stream, bytes(8 * KIB))
    recovery = WalRecovery(
        store=machine.store,
        client=cast(StorageClient, client),
        clock=machine.world.clock,
        cluster_id=CLUSTER,
        wal_id=0,
        limits=RecoveryLimits(KIB, inflight_max=1, memory_bytes=2 * KIB),
    )
    running_it = asyncio.get_running_loop().create_task(recovery.run(two_chunks(machine)))
    await client.commits.wait()
    client.stops.set()
    await asyncio.sleep(0)
    running_it.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running_it


def test_no_more_objects_are_on_their_way_than_there_is_memory_for() -> None:
    assert RecoveryLimits(64, inflight_max=4, memory_bytes=256).puts_max == 3
    assert RecoveryLimits(64, inflight_max=2, memory_bytes=256).puts_max == 2
    assert RecoveryLimits(64, inflight_max=4, memory_bytes=64).puts_max == 1


async def die_while_starting(machine: Machine, after_s: float) -> None:
    starting: set[int] = set(machine.disk.ids)
    try:
        async with asyncio.timeout(after_s), asyncio.TaskGroup() as tasks:
            await start(machine, Sizes(upload_bytes=8 * KIB), tasks)
            raise Died
    except* (TimeoutError, Died):
        for wal_id in set(machine.disk.ids) - starting:
            machine.disk.crash(wal_id)


@virtual
async def test_epochs_of_every_life_are_kept_in_the_history() -> None:
    machine = Machine()
    expected: list[bytes] = []
    for life in range(5):
        async with running(machine, FOREVER, clean=life == 2) as node:
            stream = node.open(led(node)) if life else await node.new_stream()
            for number in range(life):
                await node.append(stream, b"%d/%d" % (life, number))
                expected.append(b"%d/%d" % (life, number))
            assert await node.read_values(stream) == expected
    async with running(machine, FOREVER) as node:
        assert list(led(node).opens) == [(1, 0), (2, 1), (3, 3), (4, 6), (5, 10)]


@virtual
async def test_after_a_clean_stop_there_is_nothing_to_recover() -> None:
    machine = Machine()
    async with running(machine, FOREVER, clean=True) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
    assert machine.disk.ids == []
    machine.store.calls.clear()
    async with running(machine, FOREVER) as node:
        assert node.controller.unfinished_wals(NODE_ID) == []
        assert [operation for operation, _ in machine.store.calls] == []
        assert await node.read_values(node.open(led(node))) == [b"a"]


@virtual
async def test_a_stop_that_dies_between_close_and_commit_is_recovered() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
        await node.wal.close(clean=True)
    async with running(machine, FOREVER) as node:
        assert await node.read_values(node.open(led(node))) == [b"a"]
        assert machine.disk.ids == [node.wal.wal_id]


@virtual
async def test_damage_in_what_was_synced_stops_the_start_and_commits_nothing_behind_it() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        for number in range(10):
            await node.append(stream, b"%d" % number)
        wal_id = node.wal.wal_id
    machine.disk.damage(wal_id, 5 * (node.wal.end // 10))
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            async with running(machine):
                raise AssertionError("it must not start")
        assert caught.group_contains(NodeFailure, match=f"write-ahead log {wal_id}: .* at position")
    assert wal_id in machine.disk.ids


@virtual
async def test_a_lost_disk_stops_the_start_when_data_was_only_there() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
        wal_id = node.wal.wal_id
    await machine.disk.remove(wal_id)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(machine):
            raise AssertionError("it must not start")
    assert caught.group_contains(NodeFailure, match="is the disk mounted")


@virtual
async def test_a_topic_deleted_before_the_kill_is_dropped_from_its_wal() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        dead, alive = await node.new_stream("t"), await node.new_stream("u")
        await node.append(dead, b"dead")
        await node.append(alive, b"alive")
        await node.controller.delete_topic(node.metadata.image.cluster.topic_ids["t"])
    async with running(machine) as node:
        assert await node.read_values(node.open(led(node, "u"))) == [b"alive"]
        assert node.controller.unfinished_wals(NODE_ID) == []


@virtual
async def test_a_store_that_fails_during_recovery_is_waited_for() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
    machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), times=5))
    machine.store.inject(Fault(Effect.LOSE_ANSWER, frozenset({"put"}), times=1))
    async with running(machine) as node:
        assert await node.read_values(node.open(led(node))) == [b"a"]


@virtual
async def test_a_wal_that_was_registered_and_never_made_is_closed() -> None:
    machine = Machine()
    async with running(machine) as node:
        wal_id = node.wal.wal_id
    await machine.disk.remove(wal_id)
    async with running(machine) as node:
        assert node.controller.is_wal_closed(wal_id)


@virtual
async def test_a_wal_of_another_cluster_is_refused_and_not_removed() -> None:
    """Its id alone would say that it is closed."""
    machine, other = Machine(), Machine()
    async with running(machine, clean=True):
        pass
    async with running(other, FOREVER) as node:
        stream = await node.new_stream()
        await node.append(stream, b"theirs")
    other.disk._platters[0].written_by = WalOwner(b"another cluster!", NODE_ID)
    machine.disk = other.disk
    with pytest.raises(ExceptionGroup) as caught:
        async with running(machine):
            raise AssertionError("it must not start")
    assert caught.group_contains(NodeFailure, match="write-ahead log 0 belongs to cluster 616e6f")
    assert other.disk.ids == [0]
