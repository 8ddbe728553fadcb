"""From WAL and memory into objects: when, in which order, and through a store that fails."""

import asyncio

from automq.objectstore.simulated import Effect, Fault
from automq.stream.client import IDS_GOOD_FOR_MS, Verdict
from automq.stream.uploader import IDS_AT_ONCE
from support.storage import KIB, Machine, Sizes, batch, running
from support.virtual_time import virtual

DEADLINE_MS = 3_600_000


@virtual
async def test_enough_bytes_are_uploaded_at_once() -> None:
    async with running(Machine(), Sizes(upload_bytes=8 * KIB, interval_ms=10**9)) as node:
        stream = await node.new_stream()
        await node.append(stream, bytes(9 * KIB))
        await asyncio.sleep(1)
        assert node.uploader.uploaded_objects == 1
        assert node.engine.wal.used_bytes == 0


@virtual
async def test_a_little_is_uploaded_after_the_interval() -> None:
    async with running(Machine(), Sizes(interval_ms=10_000)) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
        await asyncio.sleep(0.5)
        assert node.uploader.uploaded_objects == 0
        await asyncio.sleep(10.5)
        assert node.uploader.uploaded_objects == 1


@virtual
async def test_an_idle_node_uploads_and_writes_nothing() -> None:
    machine = Machine()
    async with running(machine, Sizes(interval_ms=1_000)) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
        await node.upload()
        entries, calls = len(machine.register.data), len(machine.store.calls)
        await asyncio.sleep(10_000)
        assert (len(machine.register.data), len(machine.store.calls)) == (entries, calls)


@virtual
async def test_uploads_finish_in_any_order_and_are_committed_in_wal_order() -> None:
    machine = Machine(seed=3, latency_ms=(1, 500))
    async with running(machine, Sizes(upload_bytes=4 * KIB, inflight_max=4)) as node:
        stream = await node.new_stream()
        values = [b"%03d" % number + bytes(3 * KIB) for number in range(60)]
        for value in values:
            await node.append(stream, value)
            await asyncio.sleep(0.05)
        await asyncio.sleep(60)
        assert node.uploader.uploaded_objects >= 10
        assert all(verdicts == (Verdict.TAKEN,) for _, verdicts in node.committed)
        ranges = await node.controller.locate(stream.stream_id, 0, 1000)
        objects = [found.object_id for found in ranges]
        assert objects == sorted(objects)
        node.evict()
        assert await node.read_values(stream) == values


@virtual
async def test_the_wal_is_trimmed_only_after_the_commit_is_stored() -> None:
    machine = Machine()
    async with running(machine, Sizes(interval_ms=10**9)) as node:
        stream = await node.new_stream()
        await node.append(stream, b"a")
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), times=None))
        node.uploader._wanted.set()
        await asyncio.sleep(100)
        assert node.engine.trimmed_position == 0
        assert node.engine.cache.unreleased_bytes > 0
        machine.store.heal()
        await asyncio.sleep(100)
        assert node.engine.trimmed_position == node.wal.end
        wal = node.metadata.image.storage.wals[node.wal.wal_id]
        assert wal.start == node.wal.end


@virtual
async def test_a_store_that_fails_for_a_while_costs_time_and_nothing_else() -> None:
    machine = Machine(seed=9)
    async with running(machine, Sizes(upload_bytes=4 * KIB)) as node:
        stream = await node.new_stream()
        machine.store.inject(Fault(Effect.FAIL, probability=0.7, times=None))
        values = [b"%03d" % number + bytes(1 * KIB) for number in range(100)]
        for value in values:
            await node.append(stream, value)
        await asyncio.sleep(60)
        machine.store.heal()
        await asyncio.sleep(60)
        await node.upload() if node.engine.wal.used_bytes else None
        node.evict()
        assert await node.read_values(stream) == values


@virtual
async def test_stop_uploads_everything_and_ends() -> None:
    machine = Machine(latency_ms=(5, 50))
    async with running(machine, Sizes(upload_bytes=4 * KIB, inflight_max=1)) as node:
        stream = await node.new_stream()
        for number in range(20):
            await node.append(stream, b"%d" % number + bytes(1 * KIB))
        node.uploader.stop()
        await node.uploading
        assert node.engine.wal.used_bytes == 0
        assert node.engine.cache.unreleased_bytes == 0


@virtual
async def test_stop_before_anything_ran_uploads_all_the_same() -> None:
    async with running(Machine(), Sizes(interval_ms=10**9)) as node:
        stream = await node.new_stream()
        node.engine.append(stream, batch(b"a"), lambda: None)
        node.uploader.stop()
        await node.uploading
        assert node.uploader.uploaded_objects == 1


@virtual
async def test_an_upload_that_outlives_its_deadline_is_repeated_under_another_id() -> None:
    """The store was away for longer than an id lives; the node must not die of it."""
    machine = Machine()
    async with running(machine, Sizes(interval_ms=10**9)) as node:
        stream = await node.new_stream()
        sweeping = asyncio.create_task(node.sweep(grace_ms=1_000))
        await node.append(stream, b"a")
        machine.store.inject(Fault(Effect.FAIL, frozenset({"put"}), times=None))
        node.uploader._wanted.set()
        await asyncio.sleep(DEADLINE_MS / 1000 + 100)
        assert node.metadata.image.storage.object(0) is None
        machine.store.heal()
        await asyncio.sleep(600)
        [found] = await node.controller.locate(stream.stream_id, 0, 10)
        assert found.object_id >= IDS_AT_ONCE
        assert len(machine.object_keys()) == 1
        node.evict()
        assert await node.read_values(stream) == [b"a"]
        sweeping.cancel()


@virtual
async def test_a_node_that_uploads_once_an_hour_uses_no_stale_ids() -> None:
    machine = Machine()
    async with running(machine, Sizes(interval_ms=10**9)) as node:
        stream = await node.new_stream()
        sweeping = asyncio.create_task(node.sweep(grace_ms=1_000))
        for number in range(5):
            await node.append(stream, b"%d" % number)
            await node.upload()
            await asyncio.sleep(DEADLINE_MS / 1000 + 100)
        puts = [key for operation, key in machine.store.calls if operation == "put"]
        assert len(puts) == 5, "nothing was uploaded twice"
        assert IDS_GOOD_FOR_MS < DEADLINE_MS
        assert await node.read_values(stream) == [b"%d" % number for number in range(5)]
        sweeping.cancel()


@virtual
async def test_the_wal_moves_past_a_deleted_stream_with_the_upload_that_held_it() -> None:
    machine = Machine()
    async with running(machine, Sizes(interval_ms=1_000)) as node:
        stream = await node.new_stream()
        await node.append(stream, b"dead")
        await node.controller.delete_topic(node.metadata.image.cluster.topic_ids["t"])
        node.engine.close(stream)
        node.uploader._wanted.set()
        await asyncio.sleep(10)
        assert node.engine.wal.used_bytes == 0
        assert node.committed == [((stream.stream_id,), (Verdict.GONE,))]


@virtual
async def test_streams_dropped_while_their_object_is_on_its_way_do_no_harm() -> None:
    machine = Machine(latency_ms=(100, 100))
    async with running(machine, Sizes(interval_ms=10**9)) as node:
        stream, other = await node.new_stream("t"), await node.new_stream("u")
        await node.append(stream, b"dead")
        await node.append(other, b"alive")
        node.uploader._wanted.set()
        await asyncio.sleep(0.05)
        await node.controller.delete_topic(node.metadata.image.cluster.topic_ids["t"])
        node.engine.close(stream)
        node.engine.cache.drop_stream(stream.stream_id)
        await asyncio.sleep(10)
        assert node.engine.wal.used_bytes == 0
        node.evict()
        assert await node.read_values(other) == [b"alive"]
