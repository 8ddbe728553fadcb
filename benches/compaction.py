"""`python -m benches.compaction`: what merging objects costs, on real files, without a broker.

Many streams are written slowly: each upload holds a little of each. The uploads are put into a
directory and committed; then one compactor merges until nothing is left to merge. Told are, of the
bytes uploaded: requests and CPU to merge them, how often they are written again, and what reading
one stream from its start takes, before and after.
"""

import argparse
import asyncio
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benches import ROOT, machine

sys.path.insert(0, str(ROOT / "tests"))

from automq._native import LogCache, build_batch, build_object
from automq.config.node_config import NodeConfig
from automq.controller.deleting import DeleteMetrics, Deleter
from automq.controller.local import LocalController
from automq.controller.sweeping import Sweeper
from automq.controller.topics import TopicWish
from automq.metadata.election import Elected, elect
from automq.metadata.log import Author
from automq.metadata.records.cluster import ClusterCreated
from automq.metadata.register import SteadyRegister
from automq.metadata.state import MetadataState, Policy
from automq.node.parts import compaction_limits
from automq.objectstore import ObjectStore, open_store
from automq.stream.client import ObjectCommit
from automq.stream.compactor import Compactor
from automq.stream.keys import data_key
from automq.world import SystemClock, World
from support.memory_register import MemoryRegister

CLUSTER = b"benchmark-of-mer"
GB, MIB = 10**9, 1 << 20
READ_BYTES = 2 * MIB
SETTINGS = (
    "automq.data.dir=/nowhere",
    "automq.object.compaction.bytes.per.second=1000000000000",
)


@dataclass(frozen=True, slots=True)
class Load:
    """What is written: in each upload, `range_bytes` of each stream in batches of `batch_bytes`."""

    streams: int
    uploads: int
    range_bytes: int
    batch_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.streams * self.uploads * self.range_bytes

    def __str__(self) -> str:
        return (
            f"{self.uploads} uploads of {self.streams} streams, {self.range_bytes} bytes of each "
            f"in batches of {self.batch_bytes}: {self.size_bytes / GB:.2f} GB"
        )


async def new_controller(
    world: World, store: ObjectStore, tasks: asyncio.TaskGroup
) -> tuple[LocalController, Sweeper]:
    """A controller whose metadata log is in memory, for what is measured is the data; and what
    deletes for it, as fast as it can.
    """
    register = SteadyRegister(MemoryRegister(), world)
    genesis = [ClusterCreated(CLUSTER, 1, 4096)]
    elected = await elect(register, world, Author(1, world.new_uuid()), genesis=genesis)
    assert isinstance(elected, Elected)
    metadata = MetadataState(elected, register, world, Policy(lazy_ms=1, probe_ms=0))
    tasks.create_task(metadata.serve())
    controller = LocalController(metadata, 1, world.clock)
    await controller.register(NodeConfig.load(overrides=SETTINGS), world.new_uuid())
    metrics = DeleteMetrics()
    deleter = Deleter(store, world.clock, rate_per_s=1_000_000, metrics=metrics)
    return controller, Sweeper(metadata, deleter, world.clock, grace_ms=0, metrics=metrics)


class Writer:
    """Uploads what the streams were sent, as a node does, without its WAL."""

    def __init__(self, load: Load, store: ObjectStore, controller: LocalController) -> None:
        self.load = load
        self._store = store
        self._controller = controller
        self._value = random.Random(1).randbytes(max(load.batch_bytes - 80, 1))
        self.streams: list[int] = []
        self._wal_id = -1

    async def begin(self, world: World) -> None:
        wish = TopicWish("t", world.new_uuid(), self.load.streams, 1)
        made = await self._controller.create_topic(wish, validate_only=False)
        for index in range(self.load.streams):
            at = self._controller.partition_at(made.topic_id, index)
            assert at is not None
            self.streams.append(at.data.stream_id)
        self._wal_id = await self._controller.register_wal("file:///nowhere")

    async def upload(self, number: int) -> None:
        object_id = await self._controller.prepare_objects(1)
        cache = LogCache(bytes_max=1 << 40)
        batches = max(1, self.load.range_bytes // self.load.batch_bytes)
        for stream_id in self.streams:
            for offset in range(number * batches, (number + 1) * batches):
                records = build_batch([(number, None, self._value, [])], base_offset=offset)
                cache.append(stream_id, offset, offset, number, records)
        sealed = cache.seal()
        assert sealed is not None
        built = build_object(cache, sealed, object_id=object_id, cluster_id=CLUSTER)
        assert built is not None
        await self._store.put(data_key(CLUSTER, object_id), built.parts)
        commit = ObjectCommit(
            object_id=object_id,
            size_bytes=built.size_bytes,
            index_position=built.index_position,
            index_bytes=built.index_bytes,
            wal_id=self._wal_id,
            wal_start=0,
            ranges=[row[:5] for row in built.ranges],
            epochs=[0] * len(built.ranges),
        )
        await self._controller.commit_object(commit, urgent=True)


async def requests_to_read(controller: LocalController, stream_id: int) -> tuple[int, int]:
    """Ranges of a stream; requests for their indexes and blocks, in reads of 2 MiB."""
    found = await controller.locate(stream_id, 0, 1_000_000)
    reads = sum(1 + -(-range_.size_bytes // READ_BYTES) for range_ in found)
    return len(found), reads


async def measure(load: Load, directory: Path) -> None:
    world = World(clock=SystemClock(), chance=random.Random(1))
    store = open_store(f"file://{directory}", world)
    config = NodeConfig.load(overrides=SETTINGS)
    async with asyncio.TaskGroup() as tasks:
        controller, sweeper = await new_controller(world, store, tasks)
        writer = Writer(load, store, controller)
        await writer.begin(world)
        compactor = Compactor(
            store=store,
            client=controller,
            cluster_id=CLUSTER,
            clock=world.clock,
            limits=compaction_limits(config),
            is_pressed=lambda: False,
        )
        stream_id, cpu_s, wall_s = writer.streams[load.streams // 2], 0.0, 0.0
        for number in range(load.uploads):
            await writer.upload(number)
            cpu_before, before = cpu(), time.monotonic()
            while await compactor.merge_next():
                pass
            cpu_s += cpu() - cpu_before
            wall_s += time.monotonic() - before
            # Nobody reads what was merged: a node deletes it after its grace.
            await sweeper.sweep()
        tell(load, compactor, cpu_s, wall_s, await requests_to_read(controller, stream_id))
        raise Measured


class Measured(Exception):
    """The end."""


def tell(
    load: Load, compactor: Compactor, cpu_s: float, wall_s: float, reading: tuple[int, int]
) -> None:
    gb, merged = load.size_bytes / GB, compactor.metrics
    ranges, reads = reading
    before = 2 * load.uploads
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{load}")
    print(f"  written again: {merged.written_bytes / load.size_bytes:.2f} times")
    print(
        f"  requests for each GB uploaded: {merged.requests / gb:.0f}, {merged.merges / gb:.0f} PUT"
    )
    print(f"  CPU s for each GB merged: {cpu_s / (merged.written_bytes / GB):.2f}")
    print(f"  MB/s of merged bytes, alone: {merged.written_bytes / 1e6 / wall_s:.0f}")
    print(f"  one stream: {ranges} ranges, {reads} requests to read it; unmerged {before}")
    print(f"  peak RSS of this process, the writer included: {peak_mib} MiB")


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.compaction", description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--uploads", type=int, default=256)
    parser.add_argument("--range-bytes", type=int, default=60_000)
    parser.add_argument("--batch-bytes", type=int, nargs="*", default=[1_000, 15_000])
    parser.add_argument("--dir", type=Path, help="where the objects are put meanwhile")
    arguments = parser.parse_args()
    load_average = os.getloadavg()[0]
    print(f"{machine.processor()}, {len(os.sched_getaffinity(0))} cores, load {load_average:.2f}")
    for batch_bytes in arguments.batch_bytes:
        load = Load(arguments.streams, arguments.uploads, arguments.range_bytes, batch_bytes)
        directory = Path(tempfile.mkdtemp(dir=arguments.dir))
        try:
            asyncio.run(measure(load, directory))
        except* Measured:
            pass
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
