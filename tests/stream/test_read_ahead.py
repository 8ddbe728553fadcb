"""Reading ahead: more with sequential use, less when it was in vain, shared among readers."""

import asyncio

import pytest

from automq._native import DamagedObject
from automq.stream.read_ahead import (
    ACTIVE_READS,
    CURSORS_MAX,
    FIRST_WINDOW_BYTES,
    Cursor,
    ReadAhead,
)
from support.storage import KIB, Machine, Sizes, StorageNode, running, values_of
from support.virtual_time import virtual

MIB = 1 << 20


def policy() -> ReadAhead:
    return ReadAhead(window_bytes_max=8 * MIB, total_bytes=16 * MIB)


def sequential(ahead: ReadAhead, reads: int, stream: int = 1) -> Cursor:
    cursor = None
    for offset in range(reads):
        cursor = ahead.put(stream, ahead.take(stream, offset), offset + 1, offset)
    assert cursor is not None
    return cursor


def test_a_window_grows_with_sequential_use_up_to_its_limit() -> None:
    windows = [sequential(policy(), reads).window_bytes for reads in range(1, 7)]
    assert windows == [0, *(size * FIRST_WINDOW_BYTES for size in (1, 2, 4, 8, 8))]


def test_a_read_elsewhere_is_not_read_ahead_for() -> None:
    ahead = policy()
    sequential(ahead, 5)
    assert ahead.put(1, ahead.take(1, 100), 101, 100).window_bytes == 0


def test_many_readers_share_what_may_be_read_ahead() -> None:
    ahead = policy()
    cursors = [sequential(ahead, 8, stream) for stream in range(16)]
    assert cursors[-1].window_bytes == MIB
    for stream in range(16, 16 + 2 * CURSORS_MAX):
        sequential(ahead, 2, stream)
    assert len(ahead) == CURSORS_MAX


def test_readers_that_have_stopped_have_no_share() -> None:
    ahead = policy()
    for stream in range(16):
        sequential(ahead, 8, stream)
    assert sequential(ahead, ACTIVE_READS, stream=16).window_bytes == 8 * MIB


def test_what_was_read_ahead_in_vain_makes_the_window_smaller() -> None:
    cursor = sequential(policy(), 5)
    cursor.asked(10, 8 * MIB)
    assert cursor.room_bytes == 0
    cursor.lost()
    assert (cursor.window_bytes, cursor.room_bytes) == (4 * MIB, 4 * MIB)
    assert cursor.ahead_offset == cursor.next_offset


def test_what_the_reader_has_passed_makes_room() -> None:
    cursor = sequential(policy(), 5)
    cursor.asked(7, 3 * MIB)
    cursor.asked(9, 5 * MIB)
    cursor.reached(7)
    assert cursor.room_bytes == 3 * MIB


def test_less_is_read_ahead_in_all_while_blocks_are_evicted_unread_and_more_again_later() -> None:
    ahead = policy()
    ahead.look_at_waste(8 * MIB)
    assert sequential(ahead, 8).window_bytes == 8 * MIB, "half of what is allowed is bearable"
    ahead.look_at_waste(17 * MIB)
    ahead.look_at_waste(24 * MIB)
    assert sequential(ahead, 4, stream=2).window_bytes < 4 * MIB
    for _ in range(300):
        sequential(ahead, 1, stream=3)
    assert sequential(ahead, 8, stream=2).window_bytes > 4 * MIB


async def backlog(node: StorageNode, objects: int) -> int:
    """A stream of one batch in each of `objects` objects, none in memory; its id."""
    stream = await node.new_stream()
    for number in range(objects):
        await node.append(stream, b"%d" % number + bytes(4 * KIB))
        await node.upload()
    node.evict()
    return stream.stream_id


async def read_one(node: StorageNode, stream_id: int, offset: int) -> list[bytes]:
    read = await node.engine.read(node.engine.streams[stream_id], offset, offset + 1, 1, True)
    return values_of(read.bufs)


@virtual
async def test_a_sequential_reader_finds_the_next_objects_in_memory() -> None:
    machine = Machine(latency_ms=(10, 10))
    async with running(machine, Sizes(block_cache_bytes=64 * MIB)) as node:
        stream_id = await backlog(node, 8)
        loop = asyncio.get_running_loop()
        waited_s = []
        for offset in range(8):
            before_s = loop.time()
            [value] = await read_one(node, stream_id, offset)
            assert value.startswith(b"%d" % offset)
            waited_s.append(loop.time() - before_s)
            await asyncio.sleep(1)
        assert waited_s[0] > 0
        assert waited_s[1] > 0, "nothing is read ahead for a single read"
        assert waited_s[2:] == [0] * 6
        gets = [key for operation, key in machine.store.calls if operation == "get"]
        assert len(gets) <= 16, "each index and each block was read once"


@virtual
async def test_what_a_reader_meets_on_its_way_was_not_read_ahead_in_vain() -> None:
    machine = Machine(latency_ms=(10, 10))
    async with running(machine, Sizes(block_cache_bytes=64 * KIB)) as node:
        stream_id = await backlog(node, 40)
        for offset in range(40):
            # At once: what is read ahead for it is still on its way.
            await read_one(node, stream_id, offset)
        assert node.engine.reader.cache.evicted_bytes > 0
        assert node.engine.reader.cache.unread_bytes == 0


@virtual
async def test_readers_of_different_sizes_share_the_blocks_that_are_on_their_way() -> None:
    machine = Machine(latency_ms=(10, 10))
    async with running(machine, Sizes(upload_bytes=8 * MIB, cache_bytes=16 * MIB)) as node:
        stream = await node.new_stream()
        for number in range(4):
            await node.append(stream, b"%d" % number + bytes(600 * KIB))
        await node.upload()
        node.evict()
        machine.store.calls.clear()
        one = node.engine.read(stream, 0, 4, 1, True)
        all_of_it = node.engine.read(stream, 0, 4, 16 * MIB, True)
        first, whole = await asyncio.gather(one, all_of_it)
        assert (first.next_offset, whole.next_offset) == (1, 4)
        gets = [key for operation, key in machine.store.calls if operation == "get"]
        assert len(gets) == 3, "the index, the first block, the other three"


@virtual
async def test_damage_of_a_block_is_the_error_of_those_who_read_it_alone() -> None:
    machine = Machine()
    async with running(machine, Sizes(upload_bytes=8 * MIB, cache_bytes=16 * MIB)) as node:
        stream = await node.new_stream()
        for number in range(2):
            await node.append(stream, b"%d" % number + bytes(600 * KIB))
        await node.upload()
        node.evict()
        [key] = machine.object_keys()
        body = bytearray(bytes(machine.store.memory.objects.get(key)))
        body[700 * KIB] ^= 1
        machine.store.memory.objects.put(key, [bytes(body)])
        with pytest.raises(DamagedObject, match="CRC-32C"):
            await node.engine.read(stream, 0, 2, 16 * MIB, True)
        machine.store.calls.clear()
        read = await node.engine.read(stream, 0, 1, 1, True)
        assert read.next_offset == 1
        assert machine.store.calls == [], "the healthy block was kept"
