"""A node whose write-ahead log is in an object store, and one that changes the kind of its log."""

import asyncio

import pytest

from automq.metadata.records.wals import WalKind
from automq.node.failure import NodeFailure
from automq.node.storage import WalPlaces
from automq.objectstore import Retrying
from automq.objectstore.simulated import Effect, Fault
from automq.stream.wal import ObjectWals, WalHome, WalOwner
from automq.stream.wal.object_keys import mark_key
from automq.stream.wal.object_marks import WalObjects
from automq.world.background import Tasks
from support.loose_tasks import LooseTasks
from support.requests import FETCH_VERSION, PRODUCE_VERSION, fetch, only, produce
from support.storage import KIB, Machine
from support.virtual_node import VirtualNode, virtual_node
from support.virtual_time import virtual

DISK, STORE = "automq.wal.uri=file:///disk", "automq.wal.uri=object+file:///wal"
NEVER, SMALL = "automq.upload.interval.ms=3600000", "automq.upload.bytes=65536"
PIECES = 200
ANSWER_MS = 50.0


def wals_of(machine: Machine) -> WalPlaces:
    """The places of both kinds."""

    def wals(uri: str, cluster_id: bytes, tasks: Tasks) -> WalHome:
        if uri == DISK.partition("=")[2]:
            return machine.disk
        store = Retrying(machine.store, machine.world)
        return ObjectWals(store, machine.world, cluster_id, tasks)

    return wals


async def say(node: VirtualNode, *values: bytes) -> int:
    """Produce; the base offset."""
    row = only(await node.client().ask(produce(*values), PRODUCE_VERSION))
    assert row.error_code == 0, row
    return int(row.base_offset)


async def high_watermark(node: VirtualNode) -> int:
    return int(only(await node.client().ask(fetch(0), FETCH_VERSION)).high_watermark)


def wal_objects(machine: Machine) -> list[str]:
    objects = machine.store.memory.objects
    return [it.key for prefix in ("wal/", "wals/") for it in objects.list(prefix, None)]


@virtual
async def test_a_node_goes_from_one_kind_to_the_other_and_back_and_loses_nothing() -> None:
    machine = Machine()
    expected = 0
    for life, setting in enumerate((DISK, STORE, STORE, DISK, STORE)):
        async with virtual_node(machine, setting, wals=wals_of(machine)) as node:
            if life == 0:
                await node.create_topic("t")
            assert await high_watermark(node) == expected
            assert await say(node, b"a", b"b") == expected
            expected += 2
            storage = node.parts.metadata.image.storage
            [wal] = [wal for wal in storage.wals.values() if not wal.closed]
            assert wal.kind == (WalKind.FILE if setting == DISK else WalKind.OBJECT)
            assert len(machine.disk.ids) == (setting == DISK)
    # Of each log in the store that was taken over one fence is left, of the last one all.
    assert len([key for key in wal_objects(machine) if key.startswith("wals/")]) == 1


@virtual
async def test_a_log_in_a_store_that_is_marked_as_another_nodes_is_refused() -> None:
    machine = Machine()
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        await say(node, b"a")
        cluster_id = node.parts.metadata.stored.cluster_id
        wal_id = node.parts.engine.wal.wal_id
    home = wals_of(machine)(STORE.partition("=")[2], cluster_id, LooseTasks())
    assert await home.owner_of(wal_id) == WalOwner(cluster_id, 1)
    key = mark_key(cluster_id, wal_id)
    mark = bytes(await machine.store.get(key))
    store = Retrying(machine.store, machine.world)
    await machine.store.delete(key)
    await WalObjects(store, machine.world, cluster_id, wal_id).mark("begin", 0, 2, 0)
    with pytest.raises(ExceptionGroup) as caught:
        async with virtual_node(machine, STORE, wals=wals_of(machine)):
            raise AssertionError("it must not start")
    assert caught.group_contains(NodeFailure, match=f"log {wal_id} belongs to node 2, and this is")
    await machine.store.put(key, [mark])
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        assert await high_watermark(node) == 1


@virtual
async def test_a_start_reads_its_own_begin_mark_once_and_that_of_another_node_never() -> None:
    machine = Machine()
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        await say(node, b"a")
        cluster_id, own = node.parts.metadata.stored.cluster_id, node.parts.engine.wal.wal_id
    async with virtual_node(machine, STORE, "node.id=2", wals=wals_of(machine)) as node:
        others = node.parts.engine.wal.wal_id
    before = len(machine.store.calls)
    async with virtual_node(machine, STORE, wals=wals_of(machine)):
        calls = machine.store.calls[before:]
    assert calls.count(("get", mark_key(cluster_id, own))) == 1
    assert calls.count(("get", mark_key(cluster_id, others))) == 0


@virtual
async def test_a_lost_begin_mark_stops_the_start_when_data_was_only_there() -> None:
    machine = Machine()
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        await say(node, b"a")
        cluster_id, wal_id = node.parts.metadata.stored.cluster_id, node.parts.engine.wal.wal_id
    await machine.store.delete(mark_key(cluster_id, wal_id))
    with pytest.raises(ExceptionGroup) as caught:
        async with virtual_node(machine, STORE, wals=wals_of(machine)):
            raise AssertionError("it must not start")
    assert caught.group_contains(NodeFailure, match=f"log {wal_id} is not in object.file:///wal")


@virtual
async def test_a_start_puts_the_objects_of_a_log_side_by_side_and_commits_many_in_an_entry() -> (
    None
):
    """A dead node's partitions wait for that: seed 400881. `pytest -s` shows how long."""
    machine = Machine()
    async with virtual_node(machine, STORE, NEVER, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        for number in range(PIECES):
            await say(node, b"%d" % number + bytes(64 * KIB))
        position = node.parts.metadata.position
    wait_ms = (ANSWER_MS, ANSWER_MS)
    machine.store.inject(Fault(Effect.DELAY, times=None, wait_ms=wait_ms))
    started_s = asyncio.get_running_loop().time()
    async with virtual_node(machine, STORE, NEVER, SMALL, wals=wals_of(machine)) as node:
        took_s = asyncio.get_running_loop().time() - started_s
        entries = node.parts.metadata.position - position
        print(f"{PIECES} objects, {ANSWER_MS} ms a request: {took_s:.1f} s, {entries} entries")
        machine.store.heal()
        assert await high_watermark(node) == PIECES
    assert len(machine.object_keys()) == PIECES
    assert took_s < 10
    assert entries < PIECES / 2


@virtual
async def test_a_log_that_begins_when_it_is_closed_is_removed_by_the_next_start() -> None:
    """Its create was under way for as long as the store was away: seed 410145."""
    machine = Machine()
    machine.store.inject(Fault(Effect.FAIL, frozenset({"create"}), "wals/", times=None))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5), virtual_node(machine, STORE, wals=wals_of(machine)):
            raise AssertionError("it serves without a log")
    machine.store.heal()
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        await say(node, b"a")
        cluster_id = node.parts.metadata.stored.cluster_id
    late = WalObjects(Retrying(machine.store, machine.world), machine.world, cluster_id, 0)
    assert await late.mark("begin", 0, 1, 0) is None
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        assert await high_watermark(node) == 1
        left = [key for key in wal_objects(machine) if key in {late.mark_key, late.key(0)}]
        assert left == [late.key(0)]


@virtual
async def test_a_store_that_loses_answers_while_the_log_is_written_loses_nothing() -> None:
    machine = Machine()
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        creates = frozenset({"create"})
        for effect in (Effect.LOSE_ANSWER, Effect.FAIL, Effect.APPLY_LATE):
            machine.store.inject(
                Fault(effect, creates, "wal/", times=10, probability=0.5, wait_ms=(0, 400))
            )
        for number in range(20):
            assert await say(node, b"%d" % number) == number
    async with virtual_node(machine, STORE, wals=wals_of(machine)) as node:
        assert await high_watermark(node) == 20
