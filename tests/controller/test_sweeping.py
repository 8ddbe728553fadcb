"""Deleting objects: doomed by a stored record, then deleted, then forgotten."""

import asyncio
from collections.abc import Iterable

import pytest

from automq.controller.deleting import DeleteMetrics, Deleter
from automq.metadata.storage import DOOMED
from automq.objectstore import Denied, NotAllDeleted
from automq.objectstore.memory import MemoryStore
from automq.objectstore.simulated import Effect, Fault
from automq.stream.engine import Stream
from automq.stream.keys import data_key
from support.memory_register import MemoryRegister
from support.storage import CLUSTER, Machine, Sizes, StorageNode, running
from support.virtual_time import virtual

GRACE_MS = 60_000
MANUAL = Sizes(interval_ms=10**9)


@virtual
async def test_the_objects_of_a_deleted_topic_go_after_the_grace() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.sweep(GRACE_MS))
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
        sweeping = asyncio.create_task(node.sweep(1_000))
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
        sweeping = asyncio.create_task(node.sweep(1_000))
        await asyncio.sleep(300)
        assert node.metadata.image.storage.tables.object_count == 0
        assert [key for key in machine.object_keys() if key.startswith("data/00/")] == []
        sweeping.cancel()


@virtual
async def test_a_trim_beyond_what_is_committed_is_done_when_it_is() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.sweep(1_000))
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


class Locked:
    """A store in which some keys are under a legal hold: what a call names of them stays."""

    def __init__(self, machine: Machine, keys: Iterable[str]) -> None:
        self.keys = set(keys)
        self.asked: list[tuple[str, ...]] = []
        self._delete_many = machine.store.delete_many
        machine.store.delete_many = self.delete_many  # type: ignore[method-assign]

    async def delete_many(self, keys: Iterable[str]) -> None:
        every = tuple(keys)
        self.asked.append(every)
        held = {key: Denied("delete", "it", key, "legal hold") for key in every if key in self.keys}
        await self._delete_many([key for key in every if key not in held])
        if held:
            raise NotAllDeleted("it", held)


async def uploads(node: StorageNode, count: int) -> list[Stream]:
    """So many streams, each with an object of its own, numbered from 0."""
    streams = []
    for number in range(count):
        streams.append(await node.new_stream(f"t{number}"))
        await node.append(streams[-1], b"a")
        await node.upload()
    return streams


def drop(node: StorageNode, streams: Iterable[Stream]) -> None:
    for stream in streams:
        node.controller.trim_later(stream.stream_id, 1)


@virtual
async def test_a_key_that_the_store_keeps_holds_up_no_other() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.sweep(1_000))
        streams = await uploads(node, 4)
        held = data_key(CLUSTER, 1)
        locked = Locked(machine, [held])
        drop(node, streams[:3])
        await asyncio.sleep(60)
        assert machine.object_keys() == sorted([held, data_key(CLUSTER, 3)])
        drop(node, streams[3:])
        await asyncio.sleep(60)
        assert machine.object_keys() == [held]
        tries = sum(held in keys for keys in locked.asked)
        assert tries <= 4, "it is asked for less and less often"
        assert (node.delete_metrics.waiting, node.delete_metrics.refused) == (1, 1)
        locked.keys.clear()
        await asyncio.sleep(7_200)
        assert machine.object_keys() == []
        assert node.metadata.image.storage.tables.object_count == 0
        sweeping.cancel()


def test_a_key_that_is_never_deleted_is_told_once_with_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @virtual
    async def story() -> None:
        machine = Machine()
        async with running(machine, MANUAL) as node:
            sweeping = asyncio.create_task(node.sweep(1_000))
            streams = await uploads(node, 3)
            Locked(machine, [data_key(CLUSTER, 0), data_key(CLUSTER, 2)])
            drop(node, streams)
            await asyncio.sleep(1_800)
            sweeping.cancel()

    story()
    [line] = [it.getMessage() for it in caplog.records if "cannot be deleted" in it.getMessage()]
    assert data_key(CLUSTER, 0) in line
    assert "legal hold" in line
    assert "look for a policy" in line


@virtual
async def test_an_outage_of_deletes_holds_up_no_trim() -> None:
    machine = Machine()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.sweep(1_000))
        streams = await uploads(node, 2)
        week_ms = 7 * 24 * 3_600_000.0
        hang = Fault(Effect.DELAY, frozenset({"delete"}), times=None, wait_ms=(week_ms, week_ms))
        machine.store.inject(hang)
        drop(node, streams[:1])
        await asyncio.sleep(120)
        drop(node, streams[1:])
        await asyncio.sleep(5)
        assert await node.controller.locate(streams[1].stream_id, 0, 9) == []
        assert len(machine.object_keys()) == 2
        machine.store.heal()
        await asyncio.sleep(300)
        assert machine.object_keys() == []
        sweeping.cancel()


class Silent(MemoryRegister):
    """The store of the log, which stores nothing and answers nothing for a while."""

    is_silent = False

    async def create(self, key: str, data: bytes) -> bool:
        while self.is_silent:  # noqa: ASYNC110 (time is virtual)
            await asyncio.sleep(1)
        return self.create_now(key, data)


@virtual
async def test_nothing_is_deleted_while_the_record_that_doomed_it_is_not_stored() -> None:
    machine = Machine()
    machine.register = register = Silent()
    async with running(machine, MANUAL) as node:
        sweeping = asyncio.create_task(node.sweep(0))
        [stream] = await uploads(node, 1)
        register.is_silent = True
        drop(node, [stream])
        await asyncio.sleep(600)
        assert node.metadata.image.storage.tables.doomed(9) == [0]
        assert len(machine.object_keys()) == 1
        register.is_silent = False
        await asyncio.sleep(60)
        assert machine.object_keys() == []
        sweeping.cancel()


@virtual
async def test_deletes_are_batched_and_no_faster_than_allowed() -> None:
    machine = Machine()
    store = MemoryStore(machine.world.clock, "memory://")
    keys = [f"k/{number}" for number in range(40)]
    for key in keys:
        await store.put(key, [b"x"])
    deleter = Deleter(store, machine.world.clock, rate_per_s=10, metrics=DeleteMetrics())
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    while keys:
        done = await deleter.delete(keys)
        assert len(done.gone) == 10
        keys = keys[10:]
    assert 2.9 < loop.time() - started_s < 3.1
