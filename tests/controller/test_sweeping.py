"""Deleting objects: doomed by a stored record, then deleted, then forgotten."""

import asyncio

from automq.metadata.storage import DOOMED
from automq.objectstore.simulated import Effect, Fault
from support.storage import Machine, Sizes, running
from support.virtual_time import virtual

GRACE_MS = 60_000
MANUAL = Sizes(interval_ms=10**9)


@virtual
async def test_the_objects_of_a_deleted_topic_go_after_the_grace() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.controller.sweep(GRACE_MS))
        stream, other = await node.new_stream("t"), await node.new_stream("u")
        await node.append(stream, b"a")
        await node.upload()
        await node.append(other, b"b")
        await node.upload()
        await node.controller.delete_topic(node.metadata.image.cluster.topic_ids["t"])
        node.engine.close(stream)
        await asyncio.sleep(GRACE_MS / 1000 - 1)
        assert len(machine.object_keys()) == 2
        await asyncio.sleep(120)
        assert len(machine.object_keys()) == 1
        assert node.metadata.image.storage.object(0) is None
        node.evict()
        assert await node.read_values(other) == [b"b"]
        sweeping.cancel()


@virtual
async def test_what_could_not_be_deleted_is_not_forgotten() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.controller.sweep(1_000))
        stream = await node.new_stream("t")
        await node.append(stream, b"a")
        await node.upload()
        machine.store.inject(Fault(Effect.FAIL, frozenset({"delete"}), times=None))
        await node.controller.delete_topic(node.metadata.image.cluster.topic_ids["t"])
        node.engine.close(stream)
        await asyncio.sleep(300)
        left = node.metadata.image.storage.object(0)
        assert left is not None
        assert left.state == DOOMED
        machine.store.heal()
        await asyncio.sleep(300)
        assert node.metadata.image.storage.object(0) is None
        assert machine.object_keys() == []
        sweeping.cancel()


@virtual
async def test_the_next_life_deletes_what_the_last_one_had_doomed_or_never_committed() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        stream = await node.new_stream("t")
        await node.append(stream, b"a")
        await node.upload()
        await node.controller.delete_topic(node.metadata.image.cluster.topic_ids["t"])
        await machine.store.put("data/80/" + machine.object_keys()[0].split("/", 2)[2], [b"x"])
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.controller.sweep(1_000))
        await asyncio.sleep(300)
        assert node.metadata.image.storage.tables.object_count == 0
        assert [key for key in machine.object_keys() if key.startswith("data/00/")] == []
        sweeping.cancel()


@virtual
async def test_a_trim_beyond_what_is_committed_is_done_when_it_is() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.controller.sweep(1_000))
        stream = await node.new_stream("t")
        await node.append(stream, b"a", b"b")
        node.controller.trim_later(stream.stream_id, 2)
        await asyncio.sleep(10)
        entries = len(machine.register.data)
        await asyncio.sleep(100)
        assert len(machine.register.data) == entries, "waiting for it writes nothing"
        await node.upload()
        await asyncio.sleep(100)
        assert await node.controller.locate(stream.stream_id, 0, 9) == []
        assert machine.object_keys() == []
        sweeping.cancel()
