"""What an audit says of a store and its log, in memory and virtual time."""

import asyncio

import pytest

from automq._native import Buf, ObjectIndex
from automq.controller.judging import Is
from automq.controller.log_audit import log_findings
from automq.controller.verifying import HeldRange, WrongIndex, compare, verify
from automq.metadata.log import closed_key, entry_key
from automq.metadata.register import Unsettled
from automq.node.storage import PATIENCE_MS
from automq.objectstore import Denied, ObjectStore
from automq.objectstore.looking import SecondLook
from automq.objectstore.simulated import Effect, Fault
from automq.stream.keys import data_key
from automq.stream.wal.object_keys import mark_key, wal_key
from support.audited import AuditedMachine, hide
from support.storage import CLUSTER, Sizes, running
from support.virtual_time import virtual

MANUAL = Sizes(interval_ms=10**9)


@virtual
async def test_what_a_node_leaves_is_clean_and_verified() -> None:
    machine = await AuditedMachine().used(snapshots=2)
    job = machine.audit()
    assert (await job.run()).is_clean, job.report.findings
    report = await verify(job, machine.store)
    assert report.is_clean, report.findings
    assert report.verified_objects == len(machine.object_keys()) == 2


@virtual
async def test_an_entry_missing_before_others_is_damage() -> None:
    machine = await AuditedMachine().used()
    entries = await machine.entries()
    await machine.store.delete(entries[-3])
    [finding] = (await machine.audit().run()).findings
    assert (finding.what, finding.key) == (Is.MISSING, entries[-3])
    assert "2 later entries" in finding.why


@virtual
async def test_a_log_without_its_first_entry_is_damaged_and_not_empty() -> None:
    machine = await AuditedMachine().used()
    await machine.store.delete(entry_key(0, 4096))
    job = machine.audit()
    report = await job.run()
    assert not job.is_empty
    assert [(it.what, it.key) for it in report.findings] == [(Is.MISSING, entry_key(0, 4096))]


@virtual
async def test_an_entry_missing_behind_a_snapshot_is_damage() -> None:
    machine = await AuditedMachine().used(snapshots=2)
    await machine.store.delete(entry_key(1, 4096))
    assert await machine.findings() == [(Is.MISSING, entry_key(1, 4096))]


@virtual
async def test_a_missing_part_of_a_snapshot_is_damage() -> None:
    machine = await AuditedMachine().used(snapshots=2)
    parts = [it.key async for it in machine.store.list("meta/snapshots/")]
    await machine.store.delete(parts[0])
    assert await machine.findings() == [(Is.MISSING, parts[0])]


@virtual
async def test_a_gap_among_closed_chunks_is_damage() -> None:
    machine = await AuditedMachine().used()
    await machine.store.put(closed_key(1), [b"x"])
    assert (Is.MISSING, closed_key(0)) in await machine.findings()


@virtual
async def test_what_a_store_hides_for_a_moment_is_not_missing() -> None:
    """A finding is what stays away as long as a start would wait for it."""
    machine = await AuditedMachine().used()
    for key in machine.object_keys():
        await hide(machine.store, key, 5)
    assert await machine.findings() == []
    job = machine.audit()
    await job.run()
    machine.store.inject(Fault(Effect.HIDE, frozenset({"get"}), "data/", times=7))
    report = await verify(job, machine.store)
    assert report.is_clean, report.findings
    assert report.verified_objects == 2


@virtual
async def test_an_entry_that_goes_with_its_chunk_while_it_is_looked_for_is_not_missing() -> None:
    """It was stored after the listing: seed 503290."""
    machine = await AuditedMachine().used()
    entries = await machine.entries()
    await machine.store.delete(entries[1])
    job = machine.audit()
    await job._before.load()
    await job._after.load()
    loop = asyncio.get_running_loop()
    closed = [b"whatever it names"]
    loop.call_later(1, machine.store.memory.objects.put, closed_key(0), closed)
    assert await log_findings(job._before, job._after, {}, SecondLook()) == []


@virtual
async def test_an_audit_waits_once_for_all_that_is_missing() -> None:
    machine = await AuditedMachine().used()
    lost = machine.object_keys()
    for key in lost:
        await machine.store.delete(key)
    started_s = asyncio.get_running_loop().time()
    assert await machine.findings() == [
        (Is.MISSING, key) for key in sorted(lost, key=lambda it: it[-16:])
    ]
    assert asyncio.get_running_loop().time() - started_s < 13
    job = machine.audit()
    findings = list((await job.run()).findings)
    started_s = asyncio.get_running_loop().time()
    assert (await verify(job, machine.store)).findings == findings
    assert asyncio.get_running_loop().time() == started_s


@virtual
async def test_what_is_leaked_is_deleted_unless_something_is_damaged() -> None:
    machine = await AuditedMachine().used()
    leaked = data_key(CLUSTER, 0)
    kept = machine.object_keys()
    async with running(machine, MANUAL, clean=True) as node:
        sweeping = asyncio.create_task(node.sweep(1_000))
        node.controller.trim_later(0, 2)
        await asyncio.sleep(100)
        sweeping.cancel()
    assert leaked not in machine.object_keys(), kept
    await machine.store.put(leaked, [b"late"])
    other = next(key for key in kept if key != leaked)
    data = await machine.store.get(other)
    await machine.store.delete(other)
    job = machine.audit()
    assert {it.what for it in (await job.run()).findings} == {Is.LEAKED, Is.MISSING}
    assert await job.repair() == 0
    await machine.store.put(other, [data])
    job = machine.audit()
    assert [it.key for it in (await job.run()).findings] == [leaked]
    assert await job.repair() == 1
    assert await machine.findings() == []


@virtual
async def test_only_keys_of_the_form_of_a_write_ahead_log_are_taken_for_one() -> None:
    machine = await AuditedMachine().used()
    await machine.store.put(wal_key(CLUSTER, 0, 12), [b"x"])
    await machine.store.put(mark_key(CLUSTER, 0), [b"x"])
    await machine.store.put("holidays/wal/beach.jpg", [b"x"])
    assert await machine.findings() == [(Is.UNEXPECTED, "holidays/wal/beach.jpg")]


@virtual
async def test_a_store_that_refuses_ends_the_audit_in_time() -> None:
    machine = await AuditedMachine().used()
    machine.store.inject(Fault(Effect.FAIL, times=None, error=Denied))
    started_s = asyncio.get_running_loop().time()
    with pytest.raises(Unsettled, match="made to fail"):
        await machine.audit().run()
    assert asyncio.get_running_loop().time() - started_s <= PATIENCE_MS / 1000


@virtual
async def test_a_store_that_does_not_answer_ends_the_audit_in_time() -> None:
    machine = await AuditedMachine().used()
    hour_ms = 3_600_000.0
    machine.store.inject(
        Fault(Effect.DELAY, frozenset({"list"}), times=None, wait_ms=(hour_ms, hour_ms))
    )
    with pytest.raises(Exception, match="no answer within"):
        await machine.audit().run()


async def index_of(store: ObjectStore, key: str) -> tuple[ObjectIndex, list[HeldRange]]:
    """The index of an object in which there is one stream, and what the metadata should say."""
    from automq._native import parse_footer

    data = await store.get(key)
    footer = parse_footer(data, len(data))
    at = footer.index_position
    index = ObjectIndex(Buf(bytes(data)[at : at + footer.index_bytes]), position=at)
    return index, [HeldRange(*row[:5]) for row in index.ranges()]


@virtual
async def test_an_object_must_hold_what_the_metadata_read_from_it() -> None:
    machine = await AuditedMachine().used()
    index, [held] = await index_of(machine.store, machine.object_keys()[0])
    compare(index, [held])
    compare(index, [held._replace(start=held.start + 1)])
    with pytest.raises(WrongIndex, match="nothing of that stream"):
        compare(index, [held._replace(stream=99)])
    with pytest.raises(WrongIndex, match=r"its index has \[0, 2\)"):
        compare(index, [held._replace(end=held.end + 1)])
    with pytest.raises(WrongIndex, match="its index has"):
        compare(index, [held._replace(bytes=held.bytes + 1)])
