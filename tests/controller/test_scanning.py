"""What is known to nobody is found and deleted; what somebody may come to need is not."""

import asyncio

from automq.controller.deleting import Deleter
from automq.controller.local import LocalController
from automq.controller.scanning import STEPS, LogPlace, Scanner
from automq.metadata.housekeeping import Housekeeper
from automq.metadata.log import entry_key
from automq.metadata.register import ObjectStoreRegister, SteadyRegister
from automq.objectstore.simulated import Effect, Fault
from automq.stream.keys import PREFIXES, data_key
from support.audited import AuditedMachine
from support.storage import CLUSTER, CONFIG, NODE_ID, Sizes, StorageNode, running
from support.virtual_time import virtual

MANUAL = Sizes(interval_ms=10**9)
DAY_MS = 24 * 3_600_000


def scanner(node: StorageNode) -> Scanner:
    machine, metrics = node.machine, node.delete_metrics
    clock = machine.world.clock
    return Scanner(
        node.metadata,
        machine.store,
        LogPlace(
            SteadyRegister(machine.register, machine.world), ObjectStoreRegister(machine.store)
        ),
        Deleter(machine.store, clock, rate_per_s=1_000, metrics=metrics),
        clock,
        interval_ms=DAY_MS,
        metrics=metrics,
    )


async def doomed_and_gone(node: StorageNode) -> str:
    """The key of an object that was committed, given up, deleted and forgotten."""
    stream = await node.new_stream("gone")
    await node.append(stream, b"a")
    await node.upload()
    [key] = node.machine.object_keys()
    node.controller.trim_later(stream.stream_id, 1)
    await node.controller._trim_now()
    await node.sweeper().sweep()
    assert node.machine.object_keys() == []
    return key


@virtual
async def test_an_upload_that_arrives_after_it_was_given_up_is_gone_within_a_day() -> None:
    machine = AuditedMachine()
    async with running(machine, MANUAL) as node:
        late = await doomed_and_gone(node)
        stream = await node.new_stream("t")
        await node.append(stream, b"b")
        await node.upload()
        await machine.store.put(late, [b"late"])
        scanning = asyncio.create_task(scanner(node).run())
        await asyncio.sleep(DAY_MS / 1000 + 1)
        scanning.cancel()
        assert late not in machine.object_keys()
        assert len(machine.object_keys()) == 1
        assert node.delete_metrics.unknown == 1
        lists = [key for operation, key in machine.store.calls if operation == "list"]
        assert len(lists) == STEPS, "what a pass costs"
    assert await machine.findings() == []


@virtual
async def test_what_is_uploaded_now_or_by_a_controller_that_is_newer_stays() -> None:
    machine = AuditedMachine()
    async with running(machine, MANUAL) as node:
        prepared = data_key(CLUSTER, await node.controller.prepare_objects(1))
        unheard_of = data_key(CLUSTER, node.metadata.image.storage.tables.next_object + 7)
        another = data_key(b"another cluster!", 0)
        for key in (prepared, unheard_of, another):
            await machine.store.put(key, [b"x"])
        for step in range(STEPS):
            await scanner(node).scan(step)
        assert set(machine.object_keys()) == {prepared, unheard_of, another}


@virtual
async def test_a_controller_that_was_replaced_deletes_nothing_that_its_heir_needs() -> None:
    machine = AuditedMachine()
    async with running(machine, MANUAL) as old:
        stale = scanner(old)
        metadata = await machine.metadata()
        serving = asyncio.create_task(metadata.serve())
        heir = LocalController(metadata, NODE_ID, machine.world.clock)
        await heir.register(CONFIG, machine.world.new_uuid())
        first = await heir.prepare_objects(3)
        for object_id in range(first, first + 3):
            await machine.store.put(data_key(CLUSTER, object_id), [b"x"])
        await metadata.snapshot()
        before = {it.key async for it in machine.store.list("")}
        for step in range(STEPS):
            await stale.scan(step)
        assert {it.key async for it in machine.store.list("")} == before
        serving.cancel()


@virtual
async def test_parts_of_a_snapshot_that_was_never_named_are_gone_once_a_newer_is() -> None:
    machine = AuditedMachine()
    async with running(machine, MANUAL) as node:
        keeper = Housekeeper(SteadyRegister(machine.register, machine.world), 4096)
        orphan = f"meta/snapshots/{node.metadata.position:014d}-{bytes(16).hex()}/0-0"
        await machine.store.put(orphan, [b"x"])
        await scanner(node).scan(PREFIXES)
        assert (await machine.store.head(orphan)).size_bytes == 1
        for _ in range(2):
            await node.new_stream(f"t{node.metadata.position}")
            await node.metadata.snapshot()
            await keeper.tidy(node.metadata.stored.snapshots)
        await scanner(node).scan(PREFIXES)
        left = {it.key async for it in machine.store.list("meta/")}
        assert orphan not in left
        assert entry_key(0, 4096) in left
    assert await machine.findings() == []


@virtual
async def test_a_listing_that_fails_is_told_and_tried_again_with_the_next_pass() -> None:
    machine = AuditedMachine()
    async with running(machine, MANUAL) as node:
        late = await doomed_and_gone(node)
        await machine.store.put(late, [b"late"])
        machine.store.inject(Fault(Effect.FAIL, frozenset({"list"}), times=STEPS))
        scanning = asyncio.create_task(scanner(node).run())
        await asyncio.sleep(DAY_MS / 1000 + 1)
        assert machine.object_keys() == [late]
        await asyncio.sleep(DAY_MS / 1000)
        assert machine.object_keys() == []
        scanning.cancel()
