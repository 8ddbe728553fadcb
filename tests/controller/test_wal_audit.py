"""What an audit says of write-ahead logs in an object store, in memory and virtual time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from automq.controller.judging import Is
from automq.controller.report import Report
from automq.controller.wal_audit import LET_GO_MS, WalAudit, held_logs
from automq.metadata.image import Image
from automq.metadata.records.cluster import ClusterCreated
from automq.metadata.records.wals import WalKind
from automq.metadata.storage import Wal
from automq.objectstore import ObjectInfo
from automq.objectstore.looking import SecondLook
from automq.stream.wal.object_keys import mark_key, number_at, position_at, wal_key
from node.test_wal_kinds import STORE, say, wals_of
from support.audited import AuditedMachine, hide
from support.virtual_node import virtual_node
from support.virtual_time import virtual
from support.wal_bench import CLUSTER, Bench, put, until_durable

HOUR_S = LET_GO_MS / 1000
PASS_S = 257
SCANS = f"automq.object.scan.interval.ms={PASS_S * 1_000}"
UPLOADS = "automq.upload.interval.ms=100"
OPEN = Wal(1, 3, 70, "sim://wal", WalKind.OBJECT, 0)
ENDED = replace(OPEN, closed=True, fence=position_at(3))


def image(*wals: Wal, next_wal: int = 2) -> Image:
    it = Image()
    it.cluster.created = ClusterCreated(CLUSTER, 1, 4096)
    it.storage.wals = {wal.wal: wal for wal in wals}
    it.storage.next_wal = next_wal
    return it


class Logs(Bench):
    """Log 1 in a store, with three batches, and what an audit says of it."""

    @classmethod
    async def written(cls, *, batches: int = 3) -> "Logs":
        bench = cls(put_s=0)
        wal = await bench.open()
        for offset in range(batches):
            await until_durable(wal, put(wal, offset))
        await wal.close(clean=False)
        return bench

    async def audited(
        self, before: Wal | None, after: Wal | None = None, now: Wal | None = None
    ) -> tuple[Report, WalAudit]:
        first = image(next_wal=1) if before is None else image(before)
        second = first if after is None else image(after)
        newest = second if now is None else image(now)
        return await self.judged(first, second, newest, self.listed())

    def listed(self, prefix: str = "") -> Sequence[ObjectInfo]:
        return self.store.memory.objects.list(prefix, None)

    async def judged(
        self, first: Image, second: Image, newest: Image, listed: Sequence[ObjectInfo]
    ) -> tuple[Report, WalAudit]:
        async def read_on() -> Image:
            return newest

        report = Report()
        now_ms = self.world.clock.now_ms()
        look = SecondLook()
        job = WalAudit(self.store, first, second, read_on, report, look, now_ms=now_ms)
        logs, _ = held_logs(listed, CLUSTER)
        for held in logs:
            await job.judge(held)
        return report, job

    async def found(self, before: Wal | None, **later: Wal) -> list[tuple[Is, str]]:
        report, _ = await self.audited(before, **later)
        return [(it.what, it.key) for it in report.findings]

    def counts(self, report: Report) -> dict[Is, int]:
        return {what: objects for what, (objects, _) in report.counts.items()}


@virtual
async def test_an_open_log_is_in_order_and_what_it_let_go_is_leaked_an_hour_later() -> None:
    bench = await Logs.written()
    started = replace(OPEN, start=position_at(1, 1))
    report, _ = await bench.audited(started)
    assert bench.counts(report) == {Is.WAL: 3, Is.DOOMED: 1}
    await asyncio.sleep(HOUR_S + 1)
    report, job = await bench.audited(started)
    assert [(it.what, it.key) for it in report.findings] == [(Is.LEAKED, bench.key(0))]
    assert job.leaked == [bench.key(0)]


@virtual
async def test_what_only_the_second_reading_let_go_is_not_judged() -> None:
    bench = await Logs.written()
    await asyncio.sleep(HOUR_S + 1)
    report, _ = await bench.audited(OPEN, replace(ENDED, start=position_at(2)))
    assert bench.counts(report) == {Is.WAL: 4}
    report, _ = await bench.audited(None, OPEN)
    assert bench.counts(report) == {Is.WAL: 4}


@virtual
async def test_a_closed_log_that_was_removed_is_its_fence_and_nothing_is_asked_about_it() -> None:
    bench = await Logs.written()
    await bench.take()
    await bench.home.remove(1)
    bench.store.calls.clear()
    report, _ = await bench.audited(ENDED)
    assert bench.counts(report) == {Is.WAL: 1}
    assert bench.store.calls == []


@virtual
async def test_a_log_that_is_forgotten_keeps_the_mark_that_ended_it() -> None:
    bench = await Logs.written()
    batch = bytes(await bench.store.get(bench.key(2)))
    await bench.take()
    await bench.home.remove(1)

    async def found() -> list[tuple[Is, str]]:
        report, _ = await bench.judged(image(), image(), image(), bench.listed())
        return [(it.what, it.key) for it in report.findings]

    bench.store.calls.clear()
    assert await found() == []
    assert bench.store.calls == []
    await bench.store.put(bench.key(5), [batch])
    assert await found() == [(Is.LEAKED, bench.key(5))]


@virtual
async def test_a_closed_log_is_to_be_deleted_and_leaked_an_hour_later_begin_mark_last() -> None:
    bench = await Logs.written()
    await bench.take()
    report, _ = await bench.audited(ENDED)
    assert bench.counts(report) == {Is.WAL: 1, Is.DOOMED: 4}
    await asyncio.sleep(HOUR_S + 1)
    _, job = await bench.audited(ENDED)
    assert job.leaked == [bench.key(0), bench.key(1), bench.key(2), mark_key(CLUSTER, 1)]


@virtual
async def test_what_arrives_behind_the_fence_of_a_removed_log_is_leaked_at_once() -> None:
    bench = await Logs.written()
    batch = bytes(await bench.store.get(bench.key(2)))
    await bench.take()
    await bench.home.remove(1)
    await bench.store.put(bench.key(5), [batch])
    assert await bench.found(ENDED) == [(Is.LEAKED, bench.key(5))]


@virtual
async def test_what_is_removed_while_the_audit_runs_is_not_named() -> None:
    bench = await Logs.written()
    await bench.take()
    listed = bench.listed("wal/")
    await bench.home.remove(1)
    report, _ = await bench.judged(image(ENDED), image(ENDED), image(ENDED), listed)
    assert report.findings == []
    assert bench.counts(report) == {Is.WAL: 1}


@virtual
async def test_a_log_that_was_given_up_keeps_the_fence_that_lies_behind_its_end() -> None:
    """It was closed at its last readable record: the number there is a batch's."""
    bench = await Logs.written()
    await bench.take()
    given_up = replace(OPEN, closed=True, fence=position_at(1, 1))
    await asyncio.sleep(HOUR_S + 1)
    _, job = await bench.audited(given_up)
    assert job.leaked[:3] == [bench.key(0), bench.key(1), bench.key(2)]
    await bench.home.remove(1)
    assert await bench.found(given_up) == []


@virtual
async def test_a_log_that_was_closed_as_never_written_is_kept_until_it_is_fenced() -> None:
    """Its owner lived on. Whatever it wrote is nobody's, but without a fence it would write on."""
    bench = await Logs.written()
    await asyncio.sleep(HOUR_S + 1)
    unwritten = replace(OPEN, closed=True, fence=0)
    assert await bench.found(unwritten) == []
    await bench.home.remove(1)
    assert await bench.found(unwritten) == []
    assert bench.numbers == [3]


@virtual
async def test_a_log_that_was_never_registered_is_named() -> None:
    bench = await Logs.written()
    other = wal_key(CLUSTER, 2, 0)
    await bench.store.put(other, [b"x"])
    [finding] = (await bench.audited(OPEN))[0].findings
    assert (finding.what, finding.key) == (Is.UNEXPECTED, other)
    assert finding.why == "no write-ahead log 2 was ever registered"


@virtual
async def test_an_open_log_without_the_object_that_its_start_is_in_is_damage_as_takers_say() -> (
    None
):
    bench = await Logs.written()
    started = replace(OPEN, start=position_at(1, 1))
    await bench.store.delete(bench.key(1))
    assert await bench.found(started) == [(Is.MISSING, bench.key(1))]
    # Unless it was let go meanwhile.
    assert await bench.found(started, now=replace(OPEN, start=position_at(2, 1))) == []
    assert await bench.found(started, now=ENDED) == []


@virtual
async def test_what_a_store_hides_of_an_open_log_for_a_moment_is_not_missing() -> None:
    """As stores without a quorum do; the log's start came to it after the listing: seed 410232."""
    bench = await Logs.written()
    started = replace(OPEN, start=position_at(1, 1))
    for key in (bench.key(1), mark_key(CLUSTER, 1)):
        await hide(bench.store, key, 5)
        report, _ = await bench.audited(started)
        assert not report.is_damaged, report.findings


@virtual
async def test_a_batch_that_is_not_there_yet_is_no_damage_however_many_are_behind_it() -> None:
    """Its create may be under way for as long as it takes, and none of them is acknowledged."""
    bench = await Logs.written(batches=40)
    await bench.store.delete(bench.key(2))
    assert await bench.found(OPEN) == []


@virtual
async def test_an_open_log_without_its_begin_mark_is_damage() -> None:
    bench = await Logs.written()
    await bench.store.delete(mark_key(CLUSTER, 1))
    assert await bench.found(OPEN) == [(Is.MISSING, mark_key(CLUSTER, 1))]


@virtual
async def test_what_arrives_behind_a_removed_log_goes_with_the_next_scan_and_its_fence_stays() -> (
    None
):
    machine = AuditedMachine()
    async with virtual_node(machine, STORE, SCANS, wals=wals_of(machine)) as node:
        await node.create_topic("t")
        await say(node, b"a")
        cluster_id = node.parts.metadata.stored.cluster_id
        batch = bytes(await machine.store.get(wal_key(cluster_id, 0, 0)))
    async with virtual_node(machine, STORE, SCANS, wals=wals_of(machine)) as node:
        await say(node, b"b")
        fence, open_log = wal_key(cluster_id, 0, 1), wal_key(cluster_id, 1, 0)
        late = [wal_key(cluster_id, 0, number) for number in (0, 3, 4)]
        for key in late:
            await machine.store.put(key, [batch])
        assert [it for it in await machine.findings() if it[0] is Is.LEAKED] == [
            (Is.LEAKED, key) for key in sorted(late)
        ]
        await asyncio.sleep(PASS_S + 1)
        kept = [it.key for it in machine.store.memory.objects.list("wal/", None)]
        assert fence in kept
        assert open_log in kept
        assert not set(late) & set(kept)
        assert node.parts.delete_metrics.unknown == len(late)


@virtual
async def test_a_node_with_its_log_in_the_store_is_clean_and_what_it_leaks_is_repaired() -> None:
    machine = AuditedMachine()
    for life in range(2):
        async with virtual_node(machine, STORE, UPLOADS, wals=wals_of(machine)) as node:
            if life == 0:
                await node.create_topic("t")
            await say(node, b"a")
            await asyncio.sleep(1)
            await say(node, b"b")
            cluster_id, wal = node.parts.metadata.stored.cluster_id, node.parts.engine.wal
            assert await machine.findings() == []
    gone = wal_key(cluster_id, 0, 17)
    await machine.store.put(gone, [b"late, and broken"])
    job = machine.audit()
    assert [(it.what, it.key) for it in (await job.run()).findings] == [(Is.LEAKED, gone)]
    assert await job.repair() == 1
    assert await machine.findings() == []
    kept = [it.key for it in machine.store.memory.objects.list("wal/", None)]
    assert len([key for key in kept if key.startswith(gone[:-16])]) == 1
    async with virtual_node(machine, STORE, UPLOADS, wals=wals_of(machine)) as node:
        assert await say(node, b"c") == 4
    assert number_at(wal.durable) >= 1
