"""A WAL whose disk is full: uploads make room, and take no part in what was acknowledged."""

import asyncio
from functools import partial

from automq.objectstore.simulated import Effect, Fault
from automq.stream.engine import Stream
from support.storage import Machine, Sizes, StorageNode, batch, running
from support.virtual_time import virtual

FOREVER = Sizes(upload_bytes=1 << 30, interval_ms=10**9)


def append_later(node: StorageNode, stream: Stream, numbers: range, acked: list[int]) -> None:
    """Append and note what is acknowledged, without waiting for it."""
    for number in numbers:
        node.engine.append(stream, batch(b"%d" % number), partial(acked.append, number))


async def fill_up(node: StorageNode, machine: Machine) -> tuple[Stream, list[int]]:
    """Ten records acknowledged, then a full disk for ten more, which an upload takes along."""
    stream, acked = await node.new_stream(), list[int]()
    append_later(node, stream, range(10), acked)
    await asyncio.sleep(1)
    machine.disk.full = True
    append_later(node, stream, range(10, 20), acked)
    await asyncio.sleep(1)
    return stream, acked


@virtual
async def test_a_full_disk_lets_everything_be_uploaded_and_acknowledges_nothing() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        _, acked = await fill_up(node, machine)
        assert acked == list(range(10))
        assert node.uploader.uploaded_objects == 1
        assert node.engine.cache.unreleased_bytes == 0
        wal = node.metadata.image.storage.wals[node.wal.wal_id]
        assert wal.start == node.wal.durable == node.engine.trimmed_position < node.wal.end
        machine.disk.full = False
        await asyncio.sleep(1)
        assert acked == list(range(20))


@virtual
async def test_what_was_uploaded_before_its_sync_comes_back_once() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        stream, acked = await fill_up(node, machine)
        machine.disk.full = False
        append_later(node, stream, range(20, 30), acked)
        await asyncio.sleep(1)
        assert acked == list(range(30))
    async with running(machine, FOREVER) as node:
        stream = await open_again(node)
        assert await node.read_values(stream) == [b"%d" % number for number in range(30)]
        ranges = await node.controller.locate(stream.stream_id, 0, 10)
        assert [(it.start_offset, it.end_offset) for it in ranges] == [(0, 20), (20, 30)]


@virtual
async def test_a_death_on_a_full_disk_loses_nothing_acknowledged() -> None:
    machine = Machine()
    async with running(machine, FOREVER) as node:
        await fill_up(node, machine)
    machine.disk.full = False
    async with running(machine, FOREVER) as node:
        stream = await open_again(node)
        assert await node.read_values(stream) == [b"%d" % number for number in range(20)]
        assert await node.append(stream, b"20") == 20


@virtual
async def test_a_stop_on_a_full_disk_loses_nothing() -> None:
    machine = Machine()
    async with running(machine, FOREVER, clean=True) as node:
        await fill_up(node, machine)
    async with running(machine, FOREVER) as node:
        stream = await open_again(node)
        assert await node.read_values(stream) == [b"%d" % number for number in range(20)]


@virtual
async def test_a_generation_without_streams_does_not_let_the_next_overtake() -> None:
    """Invariant (HAZARDS 17): the WAL's start never passes what is not committed."""
    machine = Machine()
    async with running(machine, FOREVER) as node:
        kept, deleted = await node.new_stream("kept"), await node.new_stream("deleted")
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), times=1))
        await node.append(kept, b"0")
        node.uploader._wanted.set()
        await asyncio.sleep(0.01)
        node.engine.append(deleted, batch(b"x"), lambda: None)
        node.uploader._wanted.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        node.engine.cache.drop_stream(deleted.stream_id)
        await asyncio.sleep(0.01)
        assert node.committed == []
        await node.append(kept, b"1")
        node.uploader._wanted.set()
        await asyncio.sleep(10)
        assert [streams for streams, _ in node.committed] == [(kept.stream_id,)] * 2
        assert await node.read_values(kept) == [b"0", b"1"]


async def open_again(node: StorageNode) -> Stream:
    topic_id = node.metadata.image.cluster.topic_ids["t"]
    at = node.controller.partition_at(topic_id, 0)
    assert at is not None
    return node.open(at)
