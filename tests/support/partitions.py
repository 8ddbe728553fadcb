"""Partitions over a storage node, as a broker hosts them, without the broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from automq._native import Buf, build_batch
from automq.broker.partitions import Partitions
from automq.broker.topic_configs import TopicConfigs
from automq.config.effective import BrokerConfigs
from automq.controller.topics import TopicWish
from automq.partition import Appended, Partition
from automq.stream.engine import Stream
from automq.world.background import Background
from support.storage import CONFIG, NODE_ID, Machine, Sizes, StorageNode, running, values_of

PRODUCE_VERSION = 12


@dataclass
class Host:
    """A storage node and the partitions that it leads."""

    node: StorageNode
    partitions: Partitions
    configs: TopicConfigs

    async def create(self, name: str = "t", **configs: str) -> Partition:
        """A topic of one partition, open here; underscores in `configs` stand for dots."""
        world = self.node.machine.world
        texts = {key.replace("_", "."): value for key, value in configs.items()}
        wish = TopicWish(name, world.new_uuid(), 1, 1, configs=texts)
        await self.node.controller.create_topic(wish, validate_only=False)
        return await self.open(name)

    async def open(self, name: str = "t") -> Partition:
        topic_id = self.node.metadata.stored.topic_ids[name]
        at = self.node.controller.partition_at(topic_id, 0)
        assert at is not None
        partition = self.partitions.open(name, at)
        await partition.until_ready()
        return partition

    async def produce(self, partition: Partition, *values: bytes, **fields: Any) -> Appended:
        """Produce one batch and wait for its acknowledgement. `timestamp` is every record's."""
        done: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        records = records_of(*values, **fields)
        partition.append_produced(records, done.set_result, produce_version=PRODUCE_VERSION)
        return await done

    async def upload(self) -> None:
        await self.node.upload()

    def committed(self, ids: Any, verdicts: Any) -> None:
        self.partitions.committed(ids)


def records_of(*values: bytes, timestamp: int | None = None, **fields: Any) -> Buf:
    now_ms = asyncio.get_running_loop().time() * 1000 + 1_700_000_000_000
    stamp = int(now_ms) if timestamp is None else timestamp
    rows: list[tuple[int, None, bytes, list[Any]]] = [(stamp, None, value, []) for value in values]
    return build_batch(rows, **fields)


def reopened(partition: Partition, *, epoch: int) -> None:
    """The partition as if it had been opened again, at `epoch`."""
    was = partition.data
    partition.data = Stream(was.stream_id, epoch, was.start_offset, was.end_offset)


async def values_in(partition: Partition, start: int | None = None) -> list[bytes]:
    """Every value from `start` (the log's start) to the high watermark."""
    offset = partition.log_start_offset if start is None else start
    found: list[bytes] = []
    while offset < partition.high_watermark:
        read = await partition.read(
            offset, end_offset=partition.high_watermark, bytes_max=1 << 20, at_least_one=True
        )
        found += values_of(read.bufs, offset)
        assert read.next_offset > offset
        offset = read.next_offset
    return found


@asynccontextmanager
async def hosting(
    machine: Machine, sizes: Sizes | None = None, *, clean: bool = False
) -> AsyncIterator[Host]:
    """One life of a host, ended by a kill, or (`clean`) by remembering, uploading and closing."""
    async with running(machine, sizes, clean=clean) as node:
        cluster = node.metadata.stored
        configs = TopicConfigs(broker=BrokerConfigs.of(CONFIG), cluster=cluster, node_id=NODE_ID)
        partitions = Partitions(
            engine=node.engine,
            keeper=node.controller,
            cluster=cluster,
            clock=machine.world.clock,
            config_of=configs.of,
            background=Background(node.tasks),
        )
        node.uploader._on_committed = lambda ids, verdicts: partitions.committed(ids)
        yield Host(node, partitions, configs)
        if clean:
            await partitions.close_cleanly()
            for partition in partitions:
                partitions.close(partition)
