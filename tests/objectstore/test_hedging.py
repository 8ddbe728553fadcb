"""When a read is sent a second time, and that nothing else ever is."""

import asyncio
import random

import pytest

from automq.objectstore import Hedged, NotFound, StoreMetrics, Unavailable
from automq.objectstore.hedging import HEDGES_SAVED_MAX, LATENCIES_NEEDED
from automq.objectstore.simulated import Effect, Fault, SimulatedStore
from automq.world import World
from support.virtual_time import LoopClock, run_virtual

SLOW = Fault(Effect.DELAY, frozenset({"get"}), wait_ms=(3_000, 3_000))


async def warm() -> tuple[SimulatedStore, Hedged, StoreMetrics]:
    """A store whose reads take 20 to 80 ms, and which is known to."""
    world = World(clock=LoopClock(), chance=random.Random(1))
    store = SimulatedStore(world, latency_ms=(10, 40))
    metrics = StoreMetrics("data")
    hedged = Hedged(store, world.clock, metrics)
    await store.put("a", [bytes(1_000)])
    for _ in range(4 * LATENCIES_NEEDED):
        await hedged.get_range("a", 0, 100)
    store.calls.clear()
    metrics.of("get").hedges = 0
    metrics.of("get").hedge_wins = 0
    return store, hedged, metrics


def elapsed_ms() -> float:
    return asyncio.get_running_loop().time() * 1000


def test_a_slow_read_is_overtaken_by_a_second_one() -> None:
    async def story() -> None:
        store, hedged, metrics = await warm()
        store.inject(SLOW)
        began_ms = elapsed_ms()
        assert bytes(await hedged.get_range("a", 0, 100)) == bytes(100)
        assert elapsed_ms() - began_ms < 200
        assert store.calls == [("get", "a")] * 2
        assert metrics.counts()["get"].hedges == metrics.counts()["get"].hedge_wins == 1
        assert len(asyncio.all_tasks()) == 1

    run_virtual(story())


def test_few_known_reads_are_no_measure() -> None:
    async def story() -> None:
        world = World(clock=LoopClock(), chance=random.Random(1))
        store = SimulatedStore(world)
        hedged = Hedged(store, world.clock, StoreMetrics("data"))
        await store.put("a", [b"x"])
        store.calls.clear()
        store.inject(SLOW)
        await hedged.get_range("a", 0, 1)
        assert store.calls == [("get", "a")]

    run_virtual(story())


def test_a_store_that_is_slow_as_a_whole_is_not_asked_twice_as_much() -> None:
    async def story() -> None:
        store, hedged, metrics = await warm()
        store._latency_ms = (2_000, 2_500)
        await asyncio.gather(*(hedged.get_range("a", 0, 100) for _ in range(400)))
        assert metrics.counts()["get"].hedges <= HEDGES_SAVED_MAX
        assert len(store.calls) <= 400 + HEDGES_SAVED_MAX

    run_virtual(story())


def test_at_most_one_read_in_twenty_is_sent_twice() -> None:
    async def story() -> None:
        store, hedged, metrics = await warm()
        store.inject(Fault(Effect.DELAY, times=None, probability=0.3, wait_ms=(1_000, 1_000)))
        for _ in range(1_000):
            await hedged.get_range("a", 0, 100)
        assert 20 < metrics.counts()["get"].hedges <= 1_000 * 0.05 + HEDGES_SAVED_MAX

    run_virtual(story())


def test_an_error_is_the_first_reads_answer() -> None:
    async def story() -> None:
        store, hedged, metrics = await warm()
        with pytest.raises(NotFound):
            await hedged.get_range("b", 0, 100)
        store.inject(SLOW)
        call = asyncio.ensure_future(hedged.get_range("a", 0, 100))
        await asyncio.sleep(0.001)
        store.inject(Fault(Effect.FAIL, error=Unavailable))
        assert bytes(await call) == bytes(100)
        assert metrics.counts()["get"].hedge_wins == 0

    run_virtual(story())


def test_a_cancelled_read_leaves_none_behind() -> None:
    async def story() -> None:
        store, hedged, _ = await warm()
        store.inject(Fault(Effect.DELAY, times=None, wait_ms=(9_000, 9_000)))
        call = asyncio.ensure_future(hedged.get_range("a", 0, 100))
        await asyncio.sleep(1)
        assert len(store.calls) == 2
        call.cancel()
        await asyncio.wait([call])
        assert len(asyncio.all_tasks()) == 1

    run_virtual(story())


def test_writes_are_never_sent_twice() -> None:
    async def story() -> None:
        store, hedged, _ = await warm()
        store.inject(Fault(Effect.DELAY, times=None, wait_ms=(9_000, 9_000)))
        await hedged.put("b", [b"x"])
        await hedged.put_if_absent("c", [b"x"])
        await hedged.copy("b", "d")
        await hedged.delete("b")
        await hedged.delete_many(["d"])
        assert [operation for operation, _ in store.calls] == [
            "put",
            "create",
            "copy",
            "delete",
            "delete",
        ]

    run_virtual(story())
