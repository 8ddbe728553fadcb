"""What many small uploads come to: real objects, small ones, in simulated time."""

import asyncio

import pytest

from automq.stream.client import MergeLimits
from automq.stream.compactor import Compactor
from automq.stream.engine import Stream
from support.compaction import MIB, compactor, held
from support.storage import Machine, Sizes, StorageNode, running
from support.virtual_time import run_virtual, virtual

SIZES = Sizes(upload_bytes=1 << 20, interval_ms=10**9)
AS_IN_FORCE = MergeLimits(32, 8, 64 * MIB, 5_000, 256 * MIB)
MINUTES_A_DAY = 24 * 60
RECORD_BYTES_MAX = 100
"""Of a batch of one record."""
BLOCK_BYTES = 512 << 10


async def write_a_minute(node: StorageNode, streams: list[Stream], minute: int) -> None:
    for stream in streams:
        await node.append(stream, b"%d" % minute, timestamp=minute)
    await node.upload()


async def live(node: StorageNode, streams: list[Stream], minutes: int) -> Compactor:
    """A record of each stream a minute, uploaded, while the node merges and sweeps as it does."""
    working = compactor(node, merges=AS_IN_FORCE)
    sweeping = asyncio.create_task(node.sweep(600_000))
    merging = asyncio.create_task(working.run())
    most = 0
    for minute in range(minutes):
        await write_a_minute(node, streams, minute)
        working.wake()
        await asyncio.sleep(60)
        uploads = node.metadata.image.storage.tables.uploads_by_node()
        most = max([most, *uploads.values()])
    merging.cancel()
    sweeping.cancel()
    assert most <= AS_IN_FORCE.objects_max, "uploads that small ranges are read from"
    return working


async def check(minutes: int, streams: int) -> None:
    machine = Machine()
    async with running(machine, SIZES) as node:
        opened = [await node.new_stream(f"t{number}") for number in range(streams)]
        working = await live(node, opened, minutes)
        node.evict()
        for stream in opened:
            ranges = await held(node, stream)
            assert len(ranges) <= AS_IN_FORCE.objects_max + 2 * 4 * AS_IN_FORCE.fan_in
            before = len(machine.store.calls)
            values = await node.read_values(stream, bytes_max=1 << 20)
            assert values == [b"%d" % minute for minute in range(minutes)]
            # An index and the data of each range, of which so much is asked for at once.
            reads = minutes * RECORD_BYTES_MAX // BLOCK_BYTES
            assert len(machine.store.calls) - before <= 2 * len(ranges) + reads
        # Nothing of a stream is large here, so a byte goes up a level with each eightfold.
        assert working.metrics.removed_ranges <= 3 * minutes * streams
        assert len(machine.object_keys()) < 2 * AS_IN_FORCE.objects_max + 64


@virtual
async def test_a_day_of_uploads_every_minute_stays_few_ranges_and_few_requests() -> None:
    await check(MINUTES_A_DAY, streams=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_month_of_uploads_every_minute_stays_few_ranges_and_few_requests() -> None:
    run_virtual(check(30 * MINUTES_A_DAY, streams=2))


@virtual
async def test_days_without_writes_cost_nothing() -> None:
    machine = Machine()
    async with running(machine, SIZES) as node:
        stream = await node.new_stream()
        await live(node, [stream], 100)
        await asyncio.sleep(3600)
        merging = asyncio.create_task(compactor(node, merges=AS_IN_FORCE).run())
        entries, calls = len(machine.register.data), len(machine.store.calls)
        await asyncio.sleep(7 * 24 * 3600)
        assert (len(machine.register.data), len(machine.store.calls)) == (entries, calls)
        merging.cancel()
