"""What every WAL promises, run on all of them."""

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from automq._native import Buf
from automq.metadata.registered_store import RegisteredStore
from automq.objectstore import Retrying
from automq.objectstore.memory import MemoryStore
from automq.stream.wal import (
    FileWals,
    ObjectWals,
    SimulatedDisk,
    Wal,
    WalClosed,
    WalEnd,
    WalFailed,
    WalHome,
    WalLocked,
    WalMissing,
    WalOptions,
    WalQueueFull,
    WalRecord,
    WalSpaceFull,
    WalTaker,
    WalTooLarge,
    WalUsed,
)
from automq.stream.wal.object_keys import number_at
from automq.world import system_world
from support.loose_tasks import LooseTasks
from support.memory_register import MemoryRegister

KIB = 1024
CLUSTER = b"0123456789abcdef"
SMALL = WalOptions(
    segment_bytes=64 * KIB,
    capacity_bytes=256 * KIB,
    inflight_bytes_max=200 * KIB,
    batch_interval_ms=2,
)


@pytest.fixture(
    params=["file", "shared file", "simulated", "shared simulated", "object", "registered"]
)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> WalHome:
    is_shared = request.param.startswith("shared")
    if request.param.endswith("file"):
        return FileWals(tmp_path / "wal", shared=is_shared)
    if request.param == "object":
        return objects()
    if request.param == "registered":
        world = system_world()
        store = RegisteredStore(MemoryStore(world.clock), MemoryRegister())
        return ObjectWals(Retrying(store, world), world, CLUSTER, LooseTasks())
    return SimulatedDisk(random.Random(7), shared=is_shared)


@pytest.fixture(params=["file", "simulated", "object"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> WalHome:
    """A home whose WALs are taken over while their writers live."""
    if request.param == "file":
        return FileWals(tmp_path / "wal", shared=True)
    if request.param == "object":
        return objects()
    return SimulatedDisk(random.Random(7), shared=True)


def objects() -> ObjectWals:
    world = system_world()
    return ObjectWals(Retrying(MemoryStore(world.clock), world), world, CLUSTER, LooseTasks())


@pytest.fixture
def disk(home: WalHome) -> WalHome:
    """One whose WALs are held by a lock and paced by syncs."""
    if isinstance(home, ObjectWals):
        pytest.skip("an object store has neither locks nor syncs")
    return home


async def new(home: WalHome, wal_id: int = 1, options: WalOptions = SMALL) -> Wal:
    return await home.open(wal_id=wal_id, node_id=3, cluster_id=CLUSTER, options=options)


def is_end(home: WalHome, end: WalEnd, last: int) -> bool:
    """Whether a WAL that ends at `end` has nothing behind the record that ends at `last`."""
    if isinstance(home, ObjectWals):
        return number_at(end.position) == number_at(last) + 1
    return end.position == last


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (the disk is a thread of its own)
            await asyncio.sleep(0.001)


def put(wal: Wal, number: int, payload: bytes = b"") -> int:
    return wal.append(7, 2, number, number, Buf(payload or b"record %d" % number))


async def settle(wal: Wal) -> None:
    wal.submit()
    await until(lambda: wal.durable == wal.end)


async def read(
    home: WalHome, wal_id: int = 1, start: int = 0, taker: WalTaker | None = None
) -> tuple[list[WalRecord], WalEnd]:
    recovery = home.recover(wal_id=wal_id, start=start, cluster_id=CLUSTER, taker=taker)
    records = [record async for chunk in recovery for record in chunk]
    return records, recovery.end


async def test_what_is_durable_is_read_back_after_a_crash(home: WalHome) -> None:
    wal = await new(home)
    ends = [put(wal, number) for number in range(100)]
    await settle(wal)
    await wal.close(clean=False)
    records, end = await read(home)
    assert [bytes(record.payload) for record in records] == [b"record %d" % n for n in range(100)]
    assert [record.end_position for record in records] == ends
    assert is_end(home, end, ends[-1])
    assert not end.clean


async def test_a_record_keeps_all_its_fields(home: WalHome) -> None:
    wal = await new(home)
    end = wal.append(1 << 40, 5, 1 << 50, (1 << 50) + 9, Buf(b"payload"))
    await settle(wal)
    await wal.close(clean=True)
    (record,), _ = await read(home)
    assert (record.position, record.end_position) == (0, end)
    assert (record.stream_id, record.epoch) == (1 << 40, 5)
    assert (record.base_offset, record.last_offset) == (1 << 50, (1 << 50) + 9)


async def test_a_clean_close_writes_all_that_was_appended_and_says_so(home: WalHome) -> None:
    wal = await new(home)
    last = [put(wal, number) for number in range(10)][-1]
    await wal.close(clean=True)
    records, end = await read(home)
    assert len(records) == 10
    assert is_end(home, end, last)
    assert (end.clean, end.torn) == (True, False)


async def test_a_wal_without_a_record_is_empty(home: WalHome) -> None:
    await (await new(home)).close(clean=True)
    records, end = await read(home)
    assert records == []
    assert end.position == 0


async def test_nothing_is_durable_before_it_is_submitted(home: WalHome) -> None:
    wal = await new(home)
    put(wal, 0)
    await asyncio.sleep(0.02)
    assert wal.durable == 0
    await settle(wal)
    await wal.close(clean=False)


async def test_the_callback_hears_of_every_move_and_of_the_end(home: WalHome) -> None:
    wal = await new(home)
    heard: list[int] = []
    wal.on_durable(heard.append)
    for number in range(50):
        put(wal, number)
        wal.submit()
        await asyncio.sleep(0)
    await until(lambda: wal.durable == wal.end)
    assert heard == sorted(set(heard))
    assert heard[-1] == wal.end
    await wal.close(clean=False)


async def test_an_empty_payload_proves_that_the_wal_can_be_written(home: WalHome) -> None:
    wal = await new(home)
    wal.append(-1, -1, -1, -1, Buf(b""))
    await settle(wal)
    await wal.close(clean=False)
    (record,), _ = await read(home)
    assert bytes(record.payload) == b""


async def test_too_much_in_flight_is_refused_until_durable_moves(home: WalHome) -> None:
    wal = await new(home, options=replace(SMALL, inflight_bytes_max=8 * KIB))
    put(wal, 0, b"x" * 6 * KIB)
    with pytest.raises(WalQueueFull):
        put(wal, 1, b"x" * 6 * KIB)
    await settle(wal)
    put(wal, 1, b"x" * 6 * KIB)
    await settle(wal)
    await wal.close(clean=True)
    records, _ = await read(home)
    assert len(records) == 2


async def test_a_record_larger_than_a_segment_and_than_the_queue_is_taken(home: WalHome) -> None:
    wal = await new(home, options=replace(SMALL, inflight_bytes_max=KIB))
    payload = random.Random(1).randbytes(150 * KIB)
    put(wal, 0, payload)
    await settle(wal)
    await wal.close(clean=False)
    (record,), _ = await read(home)
    assert bytes(record.payload) == payload


async def test_what_can_never_fit_is_refused_for_good(home: WalHome) -> None:
    wal = await new(home)
    with pytest.raises(WalTooLarge):
        put(wal, 0, b"x" * 300 * KIB)
    await wal.close(clean=False)


async def fill(wal: Wal) -> list[int]:
    ends: list[int] = []
    try:
        while True:
            ends.append(put(wal, len(ends), b"x" * 20 * KIB))
            await settle(wal)
    except WalSpaceFull:
        return ends


async def test_a_full_wal_takes_appends_again_after_a_trim(home: WalHome) -> None:
    wal = await new(home)
    ends = await fill(wal)
    wal.trim(ends[-1])
    put(wal, 1000)
    await settle(wal)
    await wal.close(clean=False)
    records, _ = await read(home, start=ends[-1])
    assert [record.base_offset for record in records] == [1000]


async def test_recovery_starts_where_the_caller_stored_the_start(home: WalHome) -> None:
    wal = await new(home)
    ends = [put(wal, number) for number in range(10)]
    await settle(wal)
    wal.trim(ends[3])
    await wal.close(clean=False)
    records, _ = await read(home, start=ends[3])
    assert [record.base_offset for record in records] == list(range(4, 10))


async def test_many_rounds_of_trim_never_bring_old_records_back(home: WalHome) -> None:
    wal = await new(home)
    ends = [0]
    for number in range(60):
        ends.append(put(wal, number, b"%d" % (number % 10) * 20 * KIB))
        await settle(wal)
        wal.trim(ends[max(0, number - 3)])
    await wal.close(clean=False)
    start = ends[56]
    records, end = await read(home, start=start)
    assert [record.base_offset for record in records] == [56, 57, 58, 59]
    assert is_end(home, end, ends[-1])


async def test_a_trim_above_what_is_durable_is_our_mistake(home: WalHome) -> None:
    wal = await new(home)
    end = put(wal, 0)
    with pytest.raises(ValueError, match="durable"):
        wal.trim(end)
    await wal.close(clean=False)


async def test_a_closed_wal_takes_nothing(home: WalHome) -> None:
    wal = await new(home)
    await wal.close(clean=True)
    with pytest.raises(WalClosed):
        put(wal, 0)


async def test_a_wal_id_serves_once(home: WalHome) -> None:
    wal = await new(home)
    put(wal, 0)
    await wal.close(clean=True)
    with pytest.raises(WalUsed):
        await new(home)


async def test_a_wal_in_use_is_neither_opened_read_nor_removed(disk: WalHome) -> None:
    home = disk
    wal = await new(home)
    with pytest.raises(WalLocked):
        await new(home)
    with pytest.raises(WalLocked):
        await read(home)
    with pytest.raises(WalLocked):
        await home.remove(1)
    await wal.close(clean=False)


async def test_a_missing_wal_is_told_from_an_empty_one(home: WalHome) -> None:
    with pytest.raises(WalMissing):
        await read(home, wal_id=9)


async def test_wals_are_listed_and_removed(home: WalHome) -> None:
    for wal_id in (12, 3):
        wal = await new(home, wal_id)
        put(wal, 0)
        await wal.close(clean=True)
    assert await home.wal_ids() == [3, 12]
    assert await home.remove(3)
    assert not await home.remove(3)
    assert await home.wal_ids() == [12]


async def test_the_counters_count(home: WalHome) -> None:
    wal = await new(home)
    for number in range(10):
        put(wal, number)
    assert wal.stats().inflight_records == 10
    await settle(wal)
    stats = wal.stats()
    assert (stats.records, stats.inflight_bytes) == (10, 0)
    assert stats.written_bytes > 10 * len(b"record 0")
    assert sum(stats.sync_counts) >= stats.commits >= 1
    await wal.close(clean=False)


async def test_syncs_are_paced_by_their_budget(disk: WalHome) -> None:
    wal = await new(disk, options=replace(SMALL, iops_max=50))
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(100):
        put(wal, number)
        wal.submit()
        await asyncio.sleep(0.002)
    await settle(wal)
    rate_max = 50 * (loop.time() - started) + 4
    assert wal.stats().commits <= rate_max
    await wal.close(clean=False)


SECOND = WalTaker(node_id=2, node_epoch=40)


async def test_a_taker_reads_what_a_crashed_writer_left(home: WalHome) -> None:
    wal = await new(home)
    put(wal, 0)
    await settle(wal)
    await wal.close(clean=False)
    records, _ = await read(home, taker=SECOND)
    assert [record.base_offset for record in records] == [0]
    assert await home.remove(1)


async def test_a_writer_that_lives_acknowledges_nothing_after_a_takeover(shared: WalHome) -> None:
    wal = await new(shared)
    put(wal, 0)
    await settle(wal)
    durable = wal.durable

    records, _ = await read(shared, taker=SECOND)
    put(wal, 1)
    wal.submit()
    await until(lambda: wal.failure is not None)

    assert [record.base_offset for record in records] == [0]
    assert re.search("node 2 has taken (this log|it) over", str(wal.failure))
    assert wal.durable == durable
    with pytest.raises(WalFailed):
        await wal.close(clean=True)


async def ended_by_taker(wal: Wal) -> None:
    """Once its next group was refused, if one before was not."""
    if wal.failure is None:
        put(wal, 99)
        wal.submit()
    await until(lambda: wal.failure is not None)


async def test_whatever_was_acknowledged_is_read_by_a_taker_that_comes_in_between(
    shared: WalHome,
) -> None:
    for round_ in range(20):
        wal = await new(shared, wal_id=round_)
        for number in range(40):
            put(wal, number)
            wal.submit()
            await asyncio.sleep(0.0001 * (round_ % 5))
        records, end = await read(shared, wal_id=round_, taker=SECOND)
        await ended_by_taker(wal)
        assert end.position >= wal.durable
        assert [record.base_offset for record in records] == list(range(len(records)))


async def test_a_clean_close_after_a_takeover_is_a_failure(shared: WalHome) -> None:
    wal = await new(shared)
    put(wal, 0)
    await settle(wal)
    await read(shared, taker=SECOND)
    with pytest.raises(WalFailed):
        await wal.close(clean=True)


async def test_a_wal_that_was_taken_is_removed_under_its_writer(shared: WalHome) -> None:
    wal = await new(shared)
    put(wal, 0)
    await settle(wal)
    await read(shared, taker=SECOND)

    assert await shared.remove(1)
    assert await shared.wal_ids() == []

    put(wal, 1)
    wal.submit()
    await until(lambda: wal.failure is not None)
