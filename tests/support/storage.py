"""A node's storage engine in memory and virtual time, assembled as a node does it.

`Machine` is what outlives a node: the disk, the store, the metadata log. `StorageNode` is one
incarnation on it: controller, WAL, engine, uploader. Nothing here stands in for our own code but
the twins of disk and store.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from automq._native import Batch, BlockCache, Buf, LogCache, batches, build_batch, read_records
from automq.config.node_config import NodeConfig
from automq.controller.deleting import DeleteMetrics, Deleter
from automq.controller.leaders import PartitionAt
from automq.controller.local import LocalController
from automq.controller.sweeping import Sweeper
from automq.controller.topics import TopicWish
from automq.metadata.election import Elected, elect
from automq.metadata.log import Author
from automq.metadata.records.cluster import ClusterCreated
from automq.metadata.register import SteadyRegister
from automq.metadata.state import MetadataState, Policy
from automq.node.run import close_wal
from automq.node.takeover import Taker, take_over_own
from automq.objectstore.retry import Retrying
from automq.objectstore.simulated import SimulatedStore
from automq.stream.blocks import ReadLimits
from automq.stream.client import Verdict
from automq.stream.engine import Stream, StreamEngine
from automq.stream.reader import ObjectReader
from automq.stream.recovery import RecoveryLimits
from automq.stream.uploader import Uploader, UploadLimits
from automq.stream.wal import SimulatedDisk, Wal, WalOptions
from automq.world import World
from support.memory_register import MemoryRegister
from support.virtual_time import LoopClock

KIB = 1024
MIB = 1024 * KIB
CLUSTER = b"0123456789abcdef"
NODE_ID = 1
FILLER_STREAM = 1 << 40
GENESIS = [ClusterCreated(CLUSTER, 1, 4096)]
CONFIG = NodeConfig.load(overrides=["automq.data.dir=/nowhere"])


@dataclass(frozen=True)
class Sizes:
    """The budgets of a node, small unless a test wants otherwise."""

    upload_bytes: int = 8 * KIB
    interval_ms: int = 60_000
    inflight_max: int = 4
    cache_bytes: int = 1 * MIB
    block_cache_bytes: int = 1 * MIB
    read_bytes: int = 16 * MIB
    wal: WalOptions = field(
        default_factory=lambda: WalOptions(
            segment_bytes=64 * KIB, capacity_bytes=4 * MIB, inflight_bytes_max=1 * MIB
        )
    )


class Machine:
    """What outlives a node."""

    def __init__(self, seed: int = 1, *, latency_ms: tuple[float, float] = (0.0, 0.0)) -> None:
        self.world = World(clock=LoopClock(), chance=random.Random(seed))
        self.disk = SimulatedDisk(self.world.chance)
        self.store = SimulatedStore(self.world, latency_ms=latency_ms)
        self.register = MemoryRegister()

    def object_keys(self) -> list[str]:
        """The data objects in the store, in the order of their keys."""
        return sorted(info.key for info in self.store.memory.objects.list("data/", None))

    async def metadata(self) -> MetadataState:
        """A new active controller's state; its `serve` is the caller's to run."""
        register = SteadyRegister(self.register, self.world)
        author = Author(NODE_ID, self.world.new_uuid())
        elected = await elect(register, self.world, author, genesis=GENESIS)
        assert isinstance(elected, Elected)
        return MetadataState(elected, register, self.world, Policy(lazy_ms=5, probe_ms=0))


@dataclass
class StorageNode:
    """One incarnation."""

    machine: Machine
    metadata: MetadataState
    controller: LocalController
    wal: Wal
    engine: StreamEngine
    uploader: Uploader
    uploading: "asyncio.Task[None]"
    tasks: asyncio.TaskGroup
    committed: list[tuple[tuple[int, ...], tuple[Verdict, ...]]]
    delete_metrics: DeleteMetrics = field(default_factory=DeleteMetrics)

    async def create_topic(self, name: str, partitions: int = 1) -> list[PartitionAt]:
        wish = TopicWish(name, self.machine.world.new_uuid(), partitions, 1)
        made = await self.controller.create_topic(wish, validate_only=False)
        found = [self.controller.partition_at(made.topic_id, index) for index in range(partitions)]
        return [partition for partition in found if partition is not None]

    def open(self, partition: PartitionAt) -> Stream:
        at = partition.data
        return self.engine.open(at.stream_id, at.epoch, at.start_offset, at.end_offset)

    async def new_stream(self, name: str = "t") -> Stream:
        """A topic of one partition, and its data stream, open."""
        [partition] = await self.create_topic(name)
        return self.open(partition)

    async def append(self, stream: Stream, *values: bytes, timestamp: int = 0) -> int:
        """Append a batch and wait until it is durable; its base offset."""
        done = asyncio.get_running_loop().create_future()
        offset = self.engine.append(stream, batch(*values, timestamp=timestamp), lambda: _end(done))
        await done
        return offset

    async def upload(self) -> None:
        """Upload what there is now, and wait until it is committed."""
        before = self.engine.trimmed_position
        self.uploader._wanted.set()
        while self.engine.trimmed_position == before:  # noqa: ASYNC110 (time is virtual)
            await asyncio.sleep(0.001)

    async def sweep(self, grace_ms: int, *, rate_per_s: int = 1_000) -> None:
        """Trim, and delete what nothing reads, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.controller.keep_trimming())
            tasks.create_task(self.sweeper(grace_ms, rate_per_s).run())

    def sweeper(self, grace_ms: int = 0, rate_per_s: int = 1_000) -> Sweeper:
        clock, metrics = self.machine.world.clock, self.delete_metrics
        deleter = Deleter(self.machine.store, clock, rate_per_s=rate_per_s, metrics=metrics)
        return Sweeper(self.metadata, deleter, clock, grace_ms=grace_ms, metrics=metrics)

    async def read_values(
        self, stream: Stream, start: int = 0, end: int | None = None, bytes_max: int = 64 * KIB
    ) -> list[bytes]:
        """The values of every record in `[start, end)`."""
        found: list[bytes] = []
        offset, end_offset = start, stream.durable_offset if end is None else end
        while offset < end_offset:
            read = await self.engine.read(stream, offset, end_offset, bytes_max, True)
            found += values_of(read.bufs, offset)
            assert read.next_offset > offset, read
            offset = read.next_offset
        return found

    def evict(self) -> None:
        """Push everything that is uploaded out of memory, as later appends would."""
        cache = self.engine.cache
        assert cache.active_bytes == 0, "not uploaded yet"
        at = cache.end_offset(FILLER_STREAM) or 0
        filler = build_batch([(0, None, bytes(cache.bytes_max), [])], base_offset=at)
        cache.append(FILLER_STREAM, at, at, 0, filler)
        sealed = cache.seal()
        assert sealed is not None
        cache.release(sealed)


def _end(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def batch(*values: bytes, timestamp: int = 0, **fields: Any) -> Batch:
    """A checked batch, as an engine takes it."""
    rows: list[tuple[int, None, bytes, list[Any]]] = [
        (timestamp, None, value, []) for value in values
    ]
    return batches(build_batch(rows, **fields))[0]


def values_of(bufs: Sequence[Buf], from_offset: int = 0) -> list[bytes]:
    return [
        record.value or b""
        for buf in bufs
        for record in read_records(buf)
        if record.offset >= from_offset
    ]


class Died(Exception):
    """The node is gone, without a word."""


@asynccontextmanager
async def running(
    machine: Machine, sizes: Sizes | None = None, *, clean: bool = False
) -> AsyncIterator[StorageNode]:
    """One incarnation for the time of a `with` block, which ends as a power cut does.

    `clean`: it ends by uploading all and closing, instead.
    """
    sizes = sizes or Sizes()
    wal_id = -1
    try:
        async with asyncio.TaskGroup() as tasks:
            node = await start(machine, sizes, tasks)
            wal_id = node.wal.wal_id
            yield node
            if clean:
                await stop(node)
            raise Died
    except* Died:
        if not clean:
            machine.disk.crash(wal_id)


async def start(machine: Machine, sizes: Sizes, tasks: asyncio.TaskGroup) -> StorageNode:
    """In the order of `node.parts`."""
    store = Retrying(machine.store, machine.world)
    metadata = await machine.metadata()
    tasks.create_task(metadata.serve())
    controller = LocalController(metadata, NODE_ID, machine.world.clock)
    await controller.register(CONFIG, machine.world.new_uuid())
    limits = RecoveryLimits(sizes.upload_bytes, sizes.inflight_max, sizes.cache_bytes)
    clock = machine.world.clock
    taker = Taker(controller, store, CLUSTER, limits, lambda _: [machine.disk], clock)
    await take_over_own(taker, NODE_ID, machine.disk)
    wal_id = await controller.register_wal("simulated:")
    wal = await machine.disk.open(
        wal_id=wal_id, node_id=NODE_ID, cluster_id=CLUSTER, options=sizes.wal
    )
    reader = ObjectReader(
        store=store,
        client=controller,
        cache=BlockCache(bytes_max=sizes.block_cache_bytes),
        cluster_id=CLUSTER,
        limits=ReadLimits(
            memory_bytes=sizes.read_bytes,
            inflight_max=4,
            ahead_bytes=64 * KIB,
            ahead_total_bytes=sizes.block_cache_bytes // 8,
        ),
        tasks=tasks,
    )
    cache = LogCache(bytes_max=sizes.cache_bytes)
    engine = StreamEngine(wal=wal, options=sizes.wal, cache=cache, reader=reader)
    committed: list[tuple[tuple[int, ...], tuple[Verdict, ...]]] = []
    uploader = Uploader(
        engine=engine,
        store=store,
        client=controller,
        cluster_id=CLUSTER,
        wal_id=wal_id,
        clock=machine.world.clock,
        limits=UploadLimits(sizes.upload_bytes, sizes.interval_ms, sizes.inflight_max),
        on_committed=lambda ids, verdicts: committed.append((tuple(ids), tuple(verdicts))),
    )
    uploading = tasks.create_task(uploader.run())
    await controller.lead()
    await controller.activate()
    return StorageNode(
        machine, metadata, controller, wal, engine, uploader, uploading, tasks, committed
    )


async def stop(node: StorageNode) -> None:
    """In the order of `node.run`."""
    node.uploader.stop()
    await node.uploading
    await close_wal(node.engine)
    await node.controller.close_node(wal_id=node.wal.wal_id, fence=node.wal.end)
    await node.machine.disk.remove(node.wal.wal_id)
