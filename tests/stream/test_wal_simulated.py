"""The simulated WAL: what a crash takes, and that a seed decides it."""

import asyncio
import random

import pytest

from automq._native import Buf
from automq.stream.wal import (
    SimulatedDisk,
    SimulatedWal,
    WalDamaged,
    WalFailed,
    WalFailure,
    WalOptions,
)

CLUSTER = b"0123456789abcdef"


async def new(disk: SimulatedDisk, wal_id: int = 1) -> SimulatedWal:
    return await disk.open(wal_id=wal_id, node_id=0, cluster_id=CLUSTER, options=WalOptions())


def put(wal: SimulatedWal, numbers: range) -> list[int]:
    ends = [wal.append(1, 1, number, number, Buf(b"x" * 40)) for number in numbers]
    wal.submit()
    return ends


async def settle(wal: SimulatedWal) -> None:
    async with asyncio.timeout(10):
        while wal.durable < wal.end:  # noqa: ASYNC110 (steps of the loop's time)
            await asyncio.sleep(0.001)


async def survivors(disk: SimulatedDisk) -> list[int]:
    recovery = disk.recover(wal_id=1, start=0)
    return [record.base_offset async for chunk in recovery for record in chunk]


async def crashed(seed: int) -> tuple[SimulatedDisk, int]:
    disk = SimulatedDisk(random.Random(seed))
    wal = await new(disk)
    put(wal, range(5))
    await settle(wal)
    put(wal, range(5, 15))
    disk.crash(1)
    return disk, wal.durable


async def test_a_crash_keeps_what_was_synced_and_some_of_the_rest() -> None:
    kept = [await survivors((await crashed(seed))[0]) for seed in range(30)]
    assert all(numbers == list(range(len(numbers))) for numbers in kept)
    assert min(len(numbers) for numbers in kept) == 5
    assert max(len(numbers) for numbers in kept) > 5


async def test_the_same_seed_crashes_the_same_way() -> None:
    (first, _), (second, _) = await crashed(7), await crashed(7)
    assert await survivors(first) == await survivors(second)


async def test_a_dead_node_hears_nothing_more() -> None:
    disk = SimulatedDisk(random.Random(1))
    wal = await new(disk)
    heard: list[int] = []
    wal.on_durable(heard.append)
    put(wal, range(3))
    disk.crash(1)
    await asyncio.sleep(0.02)
    assert heard == []


async def test_damage_below_the_synced_position_is_damage() -> None:
    disk = SimulatedDisk(random.Random(1))
    wal = await new(disk)
    put(wal, range(3))
    await settle(wal)
    put(wal, range(3, 6))
    await settle(wal)
    await wal.close(clean=False)
    disk.damage(1, 104)
    with pytest.raises(WalDamaged, match="position 104"):
        await survivors(disk)


async def test_a_failed_sync_acknowledges_nothing_more() -> None:
    disk = SimulatedDisk(random.Random(1))
    wal = await new(disk)
    failures: list[WalFailure] = []
    wal.on_failure(failures.append)
    disk.failing = True
    put(wal, range(3))
    await asyncio.sleep(0.02)
    assert [failure.operation for failure in failures] == ["fdatasync"]
    assert wal.durable == 0
    with pytest.raises(WalFailed):
        put(wal, range(3, 4))


async def test_a_full_disk_makes_appends_wait() -> None:
    disk = SimulatedDisk(random.Random(1))
    wal = await new(disk)
    disk.full = True
    ends = put(wal, range(3))
    await asyncio.sleep(0.03)
    assert wal.durable == 0
    assert wal.full is not None
    disk.full = False
    await settle(wal)
    assert wal.durable == ends[-1]
    assert wal.full is None
