"""The WAL in an object store: how it is fenced, taken over, ended and removed."""

import asyncio

import pytest

from automq._native import Buf
from automq.objectstore.simulated import Effect
from automq.stream.wal import (
    WalDamaged,
    WalFailed,
    WalMissing,
    WalOwner,
    WalUsed,
)
from automq.stream.wal.object_keys import mark_key, number_at
from support.virtual_time import virtual
from support.wal_bench import CLUSTER, KIB, Bench, now, put, until_durable

# -- fences


@virtual
async def test_an_owner_that_sleeps_with_a_create_in_flight_acknowledges_nothing_more() -> None:
    """HAZARDS 1: the fence stays, even when the WAL was taken over and removed long ago."""
    bench = Bench(put_s=0)
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    bench.inject(Effect.DELAY, "create", wait_ms=(3_600_000, 3_600_000))
    heard: list[int] = []
    wal.on_durable(heard.append)
    end = put(wal, 1)
    await asyncio.sleep(1)
    offsets, taken = await bench.take()
    assert offsets == [0]
    assert await bench.home.remove(1)
    assert await bench.home.wal_ids() == []
    assert bench.numbers == [number_at(taken.position)]
    await asyncio.sleep(2 * 3_600)
    assert wal.durable < end
    assert wal.failure is not None
    assert "node 8 has taken it over" in str(wal.failure)
    assert not heard
    with pytest.raises(WalFailed):
        put(wal, 2)
    await wal.close(clean=False)


@virtual
async def test_nothing_from_the_fence_on_counts_even_if_it_was_stored() -> None:
    """HAZARDS 2b: batches that overtook the one which the fence has kept out."""
    bench = Bench(put_s=0)
    bench.inject(Effect.DELAY, "create", bench.key(1), wait_ms=(60_000, 60_000))
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    for offset in range(1, 4):
        put(wal, offset)
        await asyncio.sleep(0.3)
    assert bench.numbers == [0, 2, 3]
    offsets, end = await bench.take()
    assert offsets == [0]
    assert number_at(end.position) == 1
    await until_durable(wal, wal.end)
    assert "has taken it over" in str(wal.failure)
    await wal.close(clean=False)
    assert (await bench.take())[0] == [0]
    await bench.home.remove(1)
    assert bench.numbers == [1]


@virtual
async def test_a_fencer_that_meets_a_running_owner_wins_in_the_end() -> None:
    bench = Bench()
    wal = await bench.open()
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        offset = 0
        while wal.failure is None:
            wal.append(7, 2, offset, offset, Buf(bytes(70 * KIB)))
            wal.submit()
            offset += 1
            await asyncio.sleep(0.02)

    wal.on_durable(lambda durable: None)
    writing = asyncio.create_task(write())
    await asyncio.sleep(2)
    offsets, end = await bench.take()
    await writing
    acknowledged = number_at(wal.durable) + 1
    assert offsets == list(range(len(offsets)))
    assert number_at(end.position) >= acknowledged
    assert len(offsets) >= acknowledged > 20
    assert now() < 4
    await bench.home.remove(1)
    assert bench.numbers == [number_at(end.position)]
    await wal.close(clean=False)


@virtual
async def test_a_second_taker_finds_the_fence_of_the_first_and_reads_the_same() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, *range(5)))
    await wal.close(clean=False)
    first, second = await bench.take(), await bench.take()
    assert first[0] == second[0] == list(range(5))
    assert first[1].position == second[1].position
    assert bench.numbers == [0, 1]


@virtual
async def test_takers_at_the_same_time_agree_on_the_end() -> None:
    for seed in range(20):
        bench = Bench(seed, put_s=0)
        bench.inject(Effect.DELAY, "create", wait_ms=(0, 300), times=None)
        bench.inject(Effect.LOSE_ANSWER, "create", times=4, probability=0.5)
        wal = await bench.open()
        for offset in range(6):
            put(wal, offset)
            await asyncio.sleep(0.1)
        takers = await asyncio.gather(*(bench.take() for _ in range(3)))
        ends = {number_at(end.position) for _, end in takers}
        assert len(ends) == 1, seed
        assert len({tuple(offsets) for offsets, _ in takers}) == 1, seed
        durable = number_at(wal.durable)
        await asyncio.sleep(5)
        assert durable <= ends.pop(), seed
        await wal.close(clean=False)


@virtual
async def test_a_taker_in_the_wrong_store_creates_no_fence() -> None:
    """HAZARDS 2a: a fence where the owner does not write would fence nobody."""
    bench, elsewhere = Bench(), Bench()
    wal = await bench.open()
    end = put(wal, 0)
    await until_durable(wal, end)
    with pytest.raises(WalMissing, match="is this the store"):
        await elsewhere.take()
    await elsewhere.open()
    with pytest.raises(WalDamaged, match="is missing"):
        await elsewhere.take(start=end)
    assert elsewhere.numbers == []
    await wal.close(clean=False)


@virtual
async def test_the_object_that_the_start_is_in_stays_whatever_is_trimmed() -> None:
    bench = Bench()
    wal = await bench.open()
    ends = []
    for offset in range(5):
        ends.append(put(wal, offset))
        await until_durable(wal, ends[-1])
    wal.trim(ends[3])
    await asyncio.sleep(1)
    assert bench.numbers == [3, 4]
    wal.trim(ends[4])
    await asyncio.sleep(1)
    assert bench.numbers == [4]
    assert wal.used_bytes == 0
    await wal.close(clean=False)
    offsets, end = await bench.take(start=ends[4])
    assert offsets == []
    assert number_at(end.position) == 5


@virtual
async def test_a_start_in_the_middle_of_a_batch_leaves_out_what_is_before_it() -> None:
    bench = Bench()
    wal = await bench.open()
    ends = [wal.append(7, 2, offset, offset, Buf(b"x")) for offset in range(10)]
    wal.submit()
    await until_durable(wal, ends[-1])
    wal.trim(ends[3])
    await wal.close(clean=False)
    assert (await bench.take(start=ends[3]))[0] == list(range(4, 10))


@virtual
async def test_a_wal_that_was_ended_by_its_owner_needs_no_fence() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    await wal.close(clean=True)
    _, end = await bench.take()
    assert end.clean
    assert (bench.numbers, number_at(end.position), wal.end) == ([0, 1], 1, end.position)


@virtual
async def test_an_owner_that_was_fenced_does_not_close_cleanly() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    await bench.take()
    with pytest.raises(WalFailed, match="node 8 has taken it over"):
        await wal.close(clean=True)


# -- a home


@virtual
async def test_a_lost_answer_to_the_begin_mark_is_no_second_use() -> None:
    bench = Bench()
    bench.inject(Effect.LOSE_ANSWER, "create", "wals/", times=2)
    wal = await bench.open()
    with pytest.raises(WalUsed):
        await bench.open()
    assert await bench.home.owner_of(1) == WalOwner(CLUSTER, 3)
    await wal.close(clean=False)


@virtual
async def test_a_removal_that_dies_anywhere_is_repeated() -> None:
    for failing in ("list", "delete"):
        bench = Bench()
        wal = await bench.open()
        for offset in range(3):
            await until_durable(wal, put(wal, offset))
        await wal.close(clean=False)
        await bench.take()
        prefix = "wals/" if failing == "delete" else ""
        bench.inject(Effect.FAIL, failing, prefix, times=None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await bench.home.remove(1)
        bench.store.heal()
        assert await bench.home.wal_ids() == [1]
        assert await bench.home.remove(1)
        assert not await bench.home.remove(1)
        assert bench.numbers == [3]


@virtual
async def test_a_wal_that_is_removed_without_a_fence_gets_one() -> None:
    """It was believed not to be there when it was closed; its owner may yet wake up."""
    bench = Bench()
    wal = await bench.open()
    assert await bench.home.remove(1)
    assert bench.numbers == [0]
    await until_durable(wal, put(wal, 0))
    assert wal.failure is not None
    await wal.close(clean=False)


@virtual
async def test_a_begin_mark_that_comes_late_is_removed_again() -> None:
    bench = Bench()
    wal = await bench.open()
    await wal.close(clean=True)
    mark = bytes(await bench.store.get(mark_key(CLUSTER, 1)))
    await bench.home.remove(1)
    await bench.store.put(mark_key(CLUSTER, 1), [mark])
    assert await bench.home.wal_ids() == [1]
    assert await bench.home.remove(1)
    assert (await bench.home.wal_ids(), bench.numbers) == ([], [0])


@virtual
async def test_only_what_came_after_a_removal_is_tidied_and_the_fence_stays() -> None:
    bench = Bench(put_s=0)
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    batch = bytes(await bench.store.get(bench.key(0)))
    await wal.close(clean=False)
    await bench.take()
    assert await bench.home.tidy(1) == 0, "what was not removed is not touched"
    assert bench.numbers == [0, 1]
    await bench.home.remove(1)
    assert await bench.home.crowded(128) == [], "its id's last byte, with its bits reversed"
    for number in (0, 2, 3):
        await bench.store.put(bench.key(number), [batch])
    assert await bench.home.crowded(128) == [1]
    assert await bench.home.tidy(1) == 3
    assert bench.numbers == [1]


@virtual
async def test_without_a_fence_nothing_is_tidied() -> None:
    bench = Bench(put_s=0)
    wal = await bench.open()
    for offset in range(2):
        await until_durable(wal, put(wal, offset))
    await wal.close(clean=False)
    await bench.store.delete(mark_key(CLUSTER, 1))
    assert await bench.home.tidy(1) == 0
    assert bench.numbers == [0, 1]
