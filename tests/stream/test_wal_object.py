"""The WAL in an object store: batches, fences, and what a store does to both."""

import asyncio

import pytest

from automq._native import Buf, WalBatch, wal_object_read
from automq.objectstore import Retrying
from automq.objectstore.simulated import Effect
from automq.stream.wal import ObjectWals, WalDamaged
from automq.stream.wal.object_keys import number_at
from support.virtual_time import virtual
from support.wal_bench import CLUSTER, KIB, OPTIONS, PUT_S, Bench, now, put, until_durable

# -- when it writes


@virtual
async def test_the_first_append_after_a_pause_goes_at_once_and_those_after_it_share_a_batch() -> (
    None
):
    bench = Bench()
    wal = await bench.open()
    began = now()
    first = await until_durable(wal, put(wal, 0))
    assert first - began == pytest.approx(PUT_S, abs=0.01)
    began = now()
    for offset in range(1, 11):
        last = put(wal, offset)
        await asyncio.sleep(0.01)
    assert await until_durable(wal, last) - began == pytest.approx(0.25, abs=0.02)
    assert bench.numbers == [0, 1]
    await wal.close(clean=False)


@virtual
async def test_an_idle_wal_writes_nothing() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    calls = len(bench.store.calls)
    await asyncio.sleep(3600)
    assert len(bench.store.calls) == calls
    await wal.close(clean=False)


@virtual
async def test_a_full_batch_does_not_wait_for_the_interval() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    began = now()
    last = put(wal, *range(1, 40), size_bytes=10 * KIB)
    assert await until_durable(wal, wal.end) - began < 0.25 + PUT_S + 0.01
    assert number_at(last) >= 5
    await wal.close(clean=False)


@virtual
async def test_what_a_coordinator_waits_for_does_not_wait_for_the_interval() -> None:
    bench = Bench()
    wal = await bench.open()
    took = []
    for offset in range(4):
        began = now()
        end = wal.append(7, 2, offset, offset, Buf(b"x"))
        wal.hurry()
        wal.submit()
        took.append(await until_durable(wal, end) - began)
    assert max(took) == pytest.approx(PUT_S, abs=0.03)
    await wal.close(clean=False)


@virtual
async def test_many_in_a_hurry_share_a_batch_every_25_ms() -> None:
    bench = Bench()
    wal = await bench.open()
    for offset in range(100):
        wal.append(7, 2, offset, offset, Buf(b"x"))
        wal.hurry()
        wal.submit()
        await asyncio.sleep(0.005)
    await until_durable(wal, wal.end)
    assert len(bench.numbers) <= 0.5 / 0.025 + 2
    await wal.close(clean=False)


@virtual
async def test_batches_overlap_and_are_acknowledged_in_order() -> None:
    bench = Bench(put_s=0)
    bench.inject(Effect.DELAY, "create", bench.key(0), wait_ms=(900, 900))
    wal = await bench.open()
    heard: list[int] = []
    wal.on_durable(heard.append)
    first = put(wal, 0)
    await asyncio.sleep(0.3)
    second = put(wal, 1)
    await asyncio.sleep(0.3)
    assert bench.numbers == [1]
    assert wal.durable == 0
    await until_durable(wal, second)
    assert heard == [second]
    assert first < second
    await wal.close(clean=False)


# -- what a store may do


@virtual
async def test_a_create_is_repeated_with_the_same_bytes_until_it_has_a_verdict() -> None:
    for effect in (Effect.FAIL, Effect.LOSE_ANSWER, Effect.APPLY_LATE):
        bench = Bench()
        wal = await bench.open()
        bench.inject(effect, "create", times=3, wait_ms=(2_000, 2_000))
        end = put(wal, 0, 1, 2)
        await until_durable(wal, end)
        assert wal.durable == end, effect
        await wal.close(clean=False)
        assert (await bench.take())[0] == [0, 1, 2], effect


@virtual
async def test_a_404_after_exists_is_no_verdict() -> None:
    bench = Bench()
    wal = await bench.open()
    bench.inject(Effect.LOSE_ANSWER, "create")
    bench.inject(Effect.HIDE, "get", times=3)
    end = put(wal, 0)
    await until_durable(wal, end)
    assert wal.failure is None
    await wal.close(clean=False)


@virtual
async def test_a_store_that_is_down_for_ten_minutes_holds_back_and_loses_nothing() -> None:
    bench = Bench()
    wal = await bench.open()
    bench.inject(Effect.FAIL, "create", times=None)
    end = put(wal, *range(50))
    await asyncio.sleep(600)
    assert wal.durable == 0
    bench.store.heal()
    await until_durable(wal, end)
    await wal.close(clean=True)
    assert (await bench.take())[0] == list(range(50))


@virtual
async def test_a_batch_whose_bytes_changed_is_damage_and_names_the_object() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    await until_durable(wal, put(wal, 1))
    await wal.close(clean=False)
    data = bytearray(bytes(await bench.store.get(bench.key(0))))
    data[-1] ^= 1
    await bench.store.put(bench.key(0), [bytes(data)])
    with pytest.raises(WalDamaged, match=f"{bench.key(0)}: its checksum"):
        await bench.take()


@virtual
async def test_a_batch_below_the_fence_that_is_gone_is_damage_after_some_patience() -> None:
    bench = Bench()
    wal = await bench.open()
    for offset in range(3):
        await until_durable(wal, put(wal, offset))
    await wal.close(clean=True)
    bench.inject(Effect.HIDE, "get", bench.key(1), times=4)
    assert (await bench.take())[0] == [0, 1, 2]
    await bench.store.delete(bench.key(0))
    bench.inject(Effect.HIDE, "get", bench.key(1), times=4)
    found, _ = await bench.take(start=wal.durable - (wal.durable % (1 << 24)) - (1 << 24) + 1)
    assert found == []


@virtual
async def test_a_batch_that_is_gone_from_a_log_without_an_end_is_damage_once_the_rest_is_read() -> (
    None
):
    bench = Bench()
    wal = await bench.open()
    for offset in range(4):
        await until_durable(wal, put(wal, offset))
    await wal.close(clean=False)
    await bench.store.delete(bench.key(2))
    for _ in range(2):  # the second finds the fence of the first
        found: list[int] = []
        with pytest.raises(WalDamaged, match=f"{bench.key(2)} held a batch that was acknowledged"):
            await bench.take(found=found)
        assert found == [0, 1]


@virtual
async def test_what_lies_behind_a_batch_that_never_arrived_is_no_damage() -> None:
    bench = Bench()
    wal = await bench.open()
    await until_durable(wal, put(wal, 0))
    bench.inject(Effect.FAIL, "create", bench.key(1), times=None)
    for offset in range(1, 40):
        put(wal, offset)
        await asyncio.sleep(0.3)
    assert len(bench.numbers) > 30
    assert wal.durable < wal.end
    await wal.close(clean=False)
    bench.store.heal()
    assert (await bench.take())[0] == [0]


def test_an_object_of_a_wal_is_what_it_was() -> None:
    """The bytes of format version 1: what an earlier release wrote must be read."""
    batch = WalBatch()
    batch.append(1 << 40, 5, 7, 9, b"payload")
    batch.append(2, 1, 0, 0, b"")
    pieces = batch.encode(
        "batch",
        wal_id=6,
        number=3,
        cluster_id=CLUSTER,
        nonce=b"nonce-nonce-nonc",
        node_id=3,
        node_epoch=9,
        acknowledged=1,
    )
    golden = (
        "415157414c4f424a8ea7086e01000200"  # magic, checksum, version, kind
        "06000000000000000300000000000000"  # WAL id, number
        "30313233343536373839616263646566"  # cluster id
        "6e6f6e63652d6e6f6e63652d6e6f6e63"  # nonce
        "03000000020000004700000000000000"  # node id, count, size of the rest
        "d91cf829030000000900000000000000"  # its checksum, two were not acknowledged, node epoch
        "0000000000010000070000000000000009000000000000000500000007000000"
        "0200000000000000000000000000000000000000000000000100000000000000"
        "7061796c6f6164"
    )
    assert b"".join(bytes(piece) for piece in pieces).hex() == golden
    header, records = wal_object_read(bytes.fromhex(golden))
    assert (header.kind, header.wal_id, header.number) == ("batch", 6, 3)
    assert header.acknowledged == 1
    unsaid = golden.replace("8ea7086e", "dedb9a3d").replace("d91cf82903", "d91cf82900")
    assert wal_object_read(bytes.fromhex(unsaid))[0].acknowledged is None
    assert [bytes(record.payload) for record in records] == [b"payload", b""]


@virtual
async def test_what_is_appended_while_the_node_ends_is_not_acknowledged() -> None:
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        home = ObjectWals(Retrying(bench.store, bench.world), bench.world, CLUSTER, tasks)
        wal = await home.open(wal_id=1, node_id=3, cluster_id=CLUSTER, options=OPTIONS)
    put(wal, 0)
    assert "the node is ending" in str(wal.failure)
    assert wal.durable == 0
