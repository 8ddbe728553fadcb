"""Appending and reading: acknowledgements, budgets, reads across memory and objects."""

import asyncio
from functools import partial

import pytest

from automq._native import DamagedObject
from automq.metadata.writer import Deposed
from automq.objectstore.simulated import Effect, Fault
from automq.protocol import errors
from automq.stream.engine import MissingData, Stream
from automq.stream.wal import WalBusy, WalOptions
from support.storage import KIB, Machine, Sizes, StorageNode, batch, running
from support.virtual_time import virtual


@virtual
async def test_an_append_is_acknowledged_only_after_its_sync() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        told: list[int] = []
        offset = node.engine.append(
            stream, batch(b"a", b"b"), lambda: told.append(node.wal.durable)
        )
        assert (offset, stream.end_offset, stream.durable_offset) == (0, 2, 0)
        assert not told
        await asyncio.sleep(1)
        assert told == [node.wal.end]
        assert stream.durable_offset == 2


@virtual
async def test_acknowledgements_come_in_the_order_of_the_appends() -> None:
    async with running(Machine(seed=5)) as node:
        streams = [await node.new_stream(f"t{number}") for number in range(3)]
        told: list[int] = []
        for number in range(60):
            node.engine.append(streams[number % 3], batch(b"x"), partial(told.append, number))
            if number % 7 == 0:
                await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert told == list(range(60))


@virtual
async def test_an_acknowledgement_that_fails_costs_the_others_nothing() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        told: list[str] = []

        def fail() -> None:
            raise ValueError("this client is gone")

        node.engine.append(stream, batch(b"1"), lambda: told.append("first"))
        node.engine.append(stream, batch(b"2"), fail)
        node.engine.append(stream, batch(b"3"), lambda: told.append("third"))
        node.engine.when_there_is_room(fail)
        node.engine.when_there_is_room(lambda: told.append("room"))
        await asyncio.sleep(1)
        assert told == ["first", "third", "room"]


@virtual
async def test_nothing_is_acknowledged_after_a_failed_sync() -> None:
    machine = Machine()
    async with running(machine) as node:
        stream = await node.new_stream()
        await node.append(stream, b"kept")
        told: list[str] = []
        machine.disk.failing = True
        node.engine.append(stream, batch(b"lost"), lambda: told.append("acknowledged"))
        await asyncio.sleep(1)
        assert not told
        assert stream.durable_offset == 1
        assert node.wal.failure is not None
        # Whoever comes before the node has ended is told nothing either, and no error.
        node.engine.append(stream, batch(b"later"), lambda: told.append("acknowledged"))
        node.engine.when_all_is_durable(lambda: told.append("a duplicate"))
        await asyncio.sleep(1)
        assert not told


@virtual
async def test_whoever_waits_until_all_is_durable_waits_for_what_was_appended_before() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        told: list[str] = []
        node.engine.when_all_is_durable(lambda: told.append("nothing to wait for"))
        node.engine.append(stream, batch(b"a"), lambda: told.append("append"))
        node.engine.when_all_is_durable(lambda: told.append("durable"))
        assert told == ["nothing to wait for"]
        await asyncio.sleep(1)
        assert told == ["nothing to wait for", "append", "durable"]


# -- budgets

TIGHT_WAL = WalOptions(segment_bytes=16 * KIB, capacity_bytes=128 * KIB)


async def fill(node: StorageNode, values: int, value_bytes: int = 4 * KIB) -> list[int]:
    """Append from a crowd of clients that all wait for room; the order of acknowledgements."""
    stream = await node.new_stream()
    told: list[int] = []
    done = asyncio.Event()

    def acknowledged(number: int) -> None:
        told.append(number)
        if len(told) == values:
            done.set()

    def attempt(number: int) -> None:
        data = batch(number.to_bytes(4, "big") + bytes(value_bytes))
        if not node.engine.has_room(data.size_bytes):
            node.engine.when_there_is_room(lambda: attempt(number))
            return
        node.engine.append(stream, data, lambda: acknowledged(number))

    for number in range(values):
        attempt(number)
    async with asyncio.timeout(3600):
        await done.wait()
    return told


@virtual
async def test_a_full_wal_holds_appends_back_until_uploads_free_it() -> None:
    machine = Machine(latency_ms=(5, 50))
    async with running(machine, Sizes(upload_bytes=1 << 30, wal=TIGHT_WAL)) as node:
        told = await fill(node, 300)
        assert sorted(told) == list(range(300))
        assert node.uploader.uploaded_objects > 2
        assert len(await node.read_values(node.engine.streams[0])) == 300


@virtual
async def test_a_full_cache_holds_appends_back_until_uploads_free_it() -> None:
    sizes = Sizes(upload_bytes=1 << 30, cache_bytes=64 * KIB, interval_ms=10**9)
    async with running(Machine(latency_ms=(5, 50)), sizes) as node:
        told = await fill(node, 300)
        assert sorted(told) == list(range(300))
        assert node.uploader.uploaded_objects > 2


@virtual
async def test_a_batch_larger_than_the_cache_is_taken_alone() -> None:
    sizes = Sizes(upload_bytes=1 << 30, cache_bytes=64 * KIB, interval_ms=10**9)
    async with running(Machine(), sizes) as node:
        told = await fill(node, 5, value_bytes=100 * KIB)
        assert told == list(range(5))


@virtual
async def test_what_does_not_fit_beside_a_little_is_uploaded_for_without_waiting() -> None:
    """Neither cache nor WAL is half full, and still the large one has to wait for an upload."""
    sizes = Sizes(upload_bytes=1 << 30, cache_bytes=64 * KIB, interval_ms=10**9)
    async with running(Machine(), sizes) as node:
        stream = await node.new_stream()
        await node.append(stream, bytes(20 * KIB))
        large = batch(bytes(50 * KIB))
        assert not node.engine.has_room(large.size_bytes)
        woken = asyncio.Event()
        node.engine.when_there_is_room(woken.set)
        async with asyncio.timeout(60):
            while not node.engine.has_room(large.size_bytes):
                await woken.wait()
                woken.clear()
                if not node.engine.has_room(large.size_bytes):
                    node.engine.when_there_is_room(woken.set)


@virtual
async def test_a_queue_full_of_unsynced_bytes_holds_appends_back() -> None:
    wal = WalOptions(segment_bytes=64 * KIB, capacity_bytes=8 << 20, inflight_bytes_max=32 * KIB)
    async with running(Machine(), Sizes(upload_bytes=1 << 30, wal=wal)) as node:
        stream = await node.new_stream()
        while node.engine.has_room(4 * KIB):
            node.engine.append(stream, batch(bytes(3900)), lambda: None)
        assert stream.end_offset < 6
        told: list[str] = []
        node.engine.when_there_is_room(lambda: told.append("room"))
        await asyncio.sleep(1)
        assert told == ["room"]
        assert node.engine.has_room(4 * KIB)
        assert node.uploader.uploaded_objects == 0


@virtual
async def test_appends_that_the_wal_refuses_leave_nothing_behind_and_no_room() -> None:
    """Its files may waste more than the engine's sum knows of; then only movement helps."""
    wal = WalOptions(segment_bytes=16 * KIB, capacity_bytes=64 * KIB, inflight_bytes_max=1 << 20)
    async with running(Machine(), Sizes(upload_bytes=1 << 30, wal=wal)) as node:
        stream = await node.new_stream()
        await node.append(stream, bytes(40 * KIB))
        before = stream.end_offset
        with pytest.raises(WalBusy):
            node.engine.append(stream, batch(bytes(30 * KIB)), lambda: None)
        assert stream.end_offset == before
        assert not node.engine.has_room(1)
        woken: list[str] = []
        node.engine.when_there_is_room(lambda: woken.append("room"))
        await asyncio.sleep(1)
        assert woken
        assert node.engine.has_room(1 * KIB)


@virtual
async def test_a_wal_full_of_deleted_streams_is_freed_without_an_object() -> None:
    machine = Machine()
    async with running(machine, Sizes(upload_bytes=1 << 30, wal=TIGHT_WAL)) as node:
        stream = await node.new_stream()
        other = await node.new_stream("other")
        while node.engine.has_room(5 * KIB):
            await node.append(stream, bytes(4 * KIB))
            if node.engine.wal.used_bytes * 3 > node.engine.wal.bytes_max:
                break
        topic = node.metadata.image.cluster.topic_ids["t"]
        await node.controller.delete_topic(topic)
        node.engine.close(stream)
        node.engine.cache.drop_stream(stream.stream_id)
        assert not node.engine.has_room(80 * KIB)
        woken: list[str] = []
        node.engine.when_there_is_room(lambda: woken.append("room"))
        await asyncio.sleep(10)
        assert woken
        assert node.engine.wal.used_bytes == 0
        assert machine.object_keys() == []
        await node.append(other, b"goes on")
    async with running(machine) as node:
        [led] = [node.controller.partition_at(id_, 0) for id_ in node.metadata.image.cluster.topics]
        assert led is not None
        assert await node.read_values(node.open(led)) == [b"goes on"]


# -- reading


@virtual
async def test_reads_go_on_across_objects_and_memory() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        expected: list[bytes] = []
        for number in range(30):
            values = [b"%d/%d" % (number, part) for part in range(1 + number % 3)]
            await node.append(stream, *values)
            expected += values
            if number in (9, 19):
                await node.upload()
                node.evict()
        assert await node.read_values(stream) == expected
        assert await node.read_values(stream, bytes_max=1) == expected
        for start in range(len(expected)):
            assert await node.read_values(stream, start) == expected[start:]


@virtual
async def test_a_read_ends_where_it_is_told_even_within_an_object() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        for number in range(10):
            await node.append(stream, b"%d" % number)
        await node.upload()
        node.evict()
        assert await node.read_values(stream, 2, 7) == [b"2", b"3", b"4", b"5", b"6"]
        read = await node.engine.read(stream, 3, 4, 1, False)
        assert (read.size_bytes, read.next_offset) == (0, 3)


@virtual
async def test_readers_of_one_cold_place_share_one_read() -> None:
    machine = Machine(latency_ms=(10, 10))
    async with running(machine) as node:
        stream = await node.new_stream()
        for number in range(20):
            await node.append(stream, b"%d" % number)
        await node.upload()
        node.evict()
        machine.store.calls.clear()
        results = await asyncio.gather(*(node.read_values(stream) for _ in range(20)))
        assert all(result == results[0] for result in results)
        assert [operation for operation, _ in machine.store.calls] == ["get", "get"]


@virtual
async def test_a_reader_that_leaves_does_not_take_the_shared_read_along() -> None:
    machine = Machine(latency_ms=(50, 50))
    async with running(machine) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
        await node.upload()
        node.evict()
        first = asyncio.create_task(node.read_values(stream))
        second = asyncio.create_task(node.read_values(stream))
        await asyncio.sleep(0.06)
        first.cancel()
        assert await second == [b"a"]
        assert first.cancelled()


@virtual
async def test_a_missing_object_is_damage_after_asking_again() -> None:
    machine = Machine()
    async with running(machine) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a", timestamp=5)
        await node.upload()
        node.evict()
        [key] = machine.object_keys()
        await machine.store.delete(key)
        with pytest.raises(DamagedObject, match="is named, and missing"):
            await node.read_values(stream)
        with pytest.raises(DamagedObject, match="is named, and missing"):
            await node.engine.reader.find_timestamp(stream.stream_id, 5, 0)


async def one_in_the_store(node: StorageNode) -> tuple[Stream, str]:
    """A stream whose only record, `a`, is in the store alone, and the key of its object."""
    stream = await node.new_stream()
    await node.append(stream, b"a")
    await node.upload()
    node.evict()
    [key] = node.machine.object_keys()
    return stream, key


@virtual
async def test_what_a_successor_has_deleted_is_no_damage_for_who_was_replaced() -> None:
    """It stood still meanwhile, and has not asked the log yet: seeds 30043, 410210."""
    with pytest.raises(ExceptionGroup) as ended:
        await read_what_a_successor_has_deleted(Machine())
    assert ended.group_contains(Deposed)


async def read_what_a_successor_has_deleted(machine: Machine) -> None:
    async with running(machine) as node:
        stream, key = await one_in_the_store(node)
        await machine.metadata()
        await machine.store.delete(key)
        with pytest.raises(errors.NotLeaderOrFollower, match="was elected"):
            await node.read_values(stream)


@virtual
async def test_a_store_that_hides_an_object_for_a_moment_is_asked_again() -> None:
    machine = Machine()
    async with running(machine) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a", timestamp=5)
        await node.upload()
        node.evict()
        machine.store.inject(Fault(Effect.HIDE, key_prefix="data/", times=2))
        assert await node.read_values(stream) == [b"a"]
        machine.store.inject(Fault(Effect.HIDE, key_prefix="data/", times=1))
        node.engine.reader.blocks.forget(0)
        assert await node.engine.reader.find_timestamp(stream.stream_id, 5, 0) == (5, 0)


@virtual
async def test_a_failed_read_is_everybodys_error_once_and_not_kept() -> None:
    machine = Machine(latency_ms=(10, 10))
    async with running(machine) as node:
        stream, key = await one_in_the_store(node)
        good = machine.store.memory.objects.get(key)
        machine.store.memory.objects.put(key, [bytes(len(good))])
        both = await asyncio.gather(
            *(node.read_values(stream) for _ in range(2)), return_exceptions=True
        )
        assert [type(error) for error in both] == [DamagedObject, DamagedObject]
        machine.store.memory.objects.put(key, [good])
        assert await node.read_values(stream) == [b"a"]


@virtual
async def test_offsets_that_nothing_holds_are_missing_and_never_an_empty_answer() -> None:
    async with running(Machine()) as node:
        [partition] = await node.create_topic("t")
        stream = node.engine.open(partition.data.stream_id, 0, 0, 5)
        with pytest.raises(MissingData, match="no object holds offset 3"):
            await node.engine.read(stream, 3, 5, 100, True)


@virtual
async def test_a_stream_that_comes_back_further_on_forgets_what_memory_had_of_it() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        await node.append(stream, b"fenced")
        node.engine.close(stream)
        again = node.engine.open(stream.stream_id, stream.epoch + 1, 0, 7)
        assert node.engine.read_cached(again, 0, 7, 100, True) is None
        assert await node.append(again, b"goes on") == 7


@virtual
async def test_an_epoch_is_opened_once_so_what_is_not_committed_yet_is_not_forgotten() -> None:
    async with running(Machine()) as node:
        stream = await node.new_stream()
        await node.append(stream, b"acknowledged")
        node.engine.close(stream)
        assert node.engine.was_closed(stream.stream_id, stream.epoch)
        assert not node.engine.was_closed(stream.stream_id, stream.epoch + 1)
        with pytest.raises(AssertionError):
            node.engine.open(stream.stream_id, stream.epoch, 0, 0)
        assert node.engine.cache.end_offset(stream.stream_id) == 1
