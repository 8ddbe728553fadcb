"""What the calls of a store are counted as."""

import asyncio
import random

import pytest

from automq.objectstore import (
    AlreadyExists,
    Counted,
    NotFound,
    ObjectStore,
    StoreMetrics,
    Throttled,
    robust,
)
from automq.objectstore.counting import put_requests, range_requests
from automq.objectstore.memory import MemoryStore
from automq.objectstore.metrics import OPERATIONS, OperationCounts
from automq.objectstore.simulated import Effect, Fault, SimulatedStore
from automq.telemetry import Metrics
from automq.world import World, system_world
from support.virtual_time import LoopClock, run_virtual

MIB = 1 << 20


def counted_memory() -> tuple[StoreMetrics, ObjectStore]:
    clock = system_world().clock
    metrics = StoreMetrics("data")
    return metrics, Counted(MemoryStore(clock), clock, metrics)


async def test_calls_requests_and_bytes_are_counted_by_operation() -> None:
    metrics, store = counted_memory()
    await store.put("a", [b"12345", b"678"])
    await store.put_if_absent("b", [b"1234"])
    await store.get("a")
    await store.get_ranges("a", [(0, 2), (3, 4)])
    await store.get_range("b", 1, 2)
    await store.head("a")
    await store.copy("a", "c")
    await store.delete_many(["a", "b"])
    await store.delete("c")
    counts = metrics.counts()
    assert counts["put"] == OperationCounts(calls=1, requests=1, sent_bytes=8)
    assert counts["create"] == OperationCounts(calls=1, requests=1, sent_bytes=4)
    assert counts["get"] == OperationCounts(calls=3, requests=3, received_bytes=8 + 3 + 1)
    assert counts["head"] == counts["copy"] == OperationCounts(calls=1, requests=1)
    assert counts["delete"] == OperationCounts(calls=2, requests=2)


async def test_what_happened_since_is_a_difference() -> None:
    metrics, store = counted_memory()
    await store.put("a", [b"x"])
    before = metrics.counts()
    await store.put("a", [b"xyz"])
    since = metrics.counts()["put"] - before["put"]
    assert since == OperationCounts(calls=1, requests=1, sent_bytes=3)


async def test_a_thousand_keys_are_one_request() -> None:
    metrics, store = counted_memory()
    names = [f"k/{number:04}" for number in range(2_001)]
    for name in names:
        await store.put(name, [b""])
    assert [known.key async for known in store.list("")] == names
    await store.delete_many(names)
    assert metrics.counts()["list"].requests == 3
    assert metrics.counts()["delete"].requests == 3


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 1), (100 * MIB, 1), (100 * MIB + 1, 2 + 7), (160 * MIB, 2 + 10)]
)
def test_a_large_body_is_a_request_for_each_part_and_two_more(size: int, requests: int) -> None:
    assert put_requests(size) == requests


@pytest.mark.parametrize(
    ("ranges", "requests"),
    [
        ([], 0),
        ([(0, 10)], 1),
        ([(5 * MIB, 6 * MIB), (0, 10)], 2),
        ([(0, 10), (10 + MIB, 11 + MIB)], 1),
        ([(0, 10), (11 + MIB, 12 + MIB)], 2),
        ([(0, 5 * MIB), (7, 8), (6 * MIB, 6 * MIB + 1)], 1),
    ],
)
def test_near_ranges_share_a_request(ranges: list[tuple[int, int]], requests: int) -> None:
    assert range_requests(ranges) == requests


async def test_failures_are_counted_by_kind_and_send_nothing() -> None:
    metrics, store = counted_memory()
    await store.put_if_absent("a", [b"x"])
    with pytest.raises(AlreadyExists):
        await store.put_if_absent("a", [b"x"])
    for _ in range(2):
        with pytest.raises(NotFound):
            await store.get("b")
    assert metrics.failures() == {("create", "AlreadyExists"): 1, ("get", "NotFound"): 2}
    assert metrics.counts()["create"] == OperationCounts(
        calls=2, requests=2, sent_bytes=1, failed=1
    )


def test_repeated_calls_and_their_time_are_counted() -> None:
    async def story() -> None:
        world = World(clock=LoopClock(), chance=random.Random(0))
        simulated = SimulatedStore(world, latency_ms=(15, 15))
        simulated.inject(Fault(Effect.FAIL, times=3, error=Throttled))
        metrics = StoreMetrics("wal")
        await robust(simulated, world, metrics).put("a", [b"x"])
        assert metrics.counts()["put"] == OperationCounts(
            calls=4, requests=4, sent_bytes=1, retries=3, failed=3
        )
        latency = metrics.of("put").latency_ms
        assert sum(latency.counts) == 4
        assert latency.total == pytest.approx(3 * 15 + 30)

    run_virtual(story())


async def test_prometheus_sees_each_role_and_the_failures_that_there_were() -> None:
    metrics, shown = StoreMetrics("metadata"), Metrics()
    clock = system_world().clock
    store = Counted(MemoryStore(clock), clock, metrics)
    metrics.show_in(shown)
    with pytest.raises(NotFound):
        await store.get("a")
    text = shown.exposition().decode()
    for operation in OPERATIONS:
        calls = 1.0 if operation == "get" else 0.0
        line = f'automq_store_calls_total{{operation="{operation}",role="metadata"}} {calls}'
        assert (
            line in text
            or line.replace(
                f'operation="{operation}",role="metadata"',
                f'role="metadata",operation="{operation}"',
            )
            in text
        )
    assert "automq_store_failed_calls_total{" in text
    assert 'error="NotFound"' in text


async def test_a_cancelled_call_is_a_call() -> None:
    world = system_world()
    metrics = StoreMetrics("data")
    store = Counted(SimulatedStore(world, latency_ms=(60_000, 60_000)), world.clock, metrics)
    call = asyncio.ensure_future(store.get("a"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert metrics.counts()["get"] == OperationCounts(calls=1, requests=1)
