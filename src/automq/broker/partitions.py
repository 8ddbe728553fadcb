"""The partitions that this broker leads: found by requests, opened as the cluster says."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from automq.config.effective import TopicConfig
from automq.controller.leaders import PartitionAt, StreamAt
from automq.metadata.cluster import ClusterImage
from automq.partition import Partition
from automq.partition.epochs import LeaderEpochs
from automq.partition.opening import load
from automq.partition.remembering import remember
from automq.protocol import errors
from automq.stream.engine import Stream, StreamEngine
from automq.world import Clock
from automq.world.background import Background
from automq.world.probe import probe

log = logging.getLogger(__name__)

K = TypeVar("K")

LOADS_AT_ONCE = 32
LOAD_AGAIN_FIRST_S, LOAD_AGAIN_LAST_S = 1.0, 60.0
RANGES_BETWEEN_SNAPSHOTS = 64


class PartitionKeeper(Protocol):
    """What a host asks of the controller on behalf of its partitions."""

    async def create_state_stream(self, topic_id: bytes, index: int) -> StreamAt:
        """Give the partition a state stream, open at this node."""
        ...

    def trim_later(self, stream_id: int, start_offset: int) -> None:
        """The stream's data below `start_offset` is no longer needed; no hurry."""
        ...


class Partitions:
    """The partitions led here. A partition that is opening is here already, and not `ready`."""

    def __init__(
        self,
        *,
        engine: StreamEngine,
        keeper: PartitionKeeper,
        cluster: ClusterImage,
        clock: Clock,
        config_of: Callable[[str], TopicConfig],
        background: Background,
    ) -> None:
        self._engine = engine
        self._keeper = keeper
        self._cluster = cluster
        self._clock = clock
        self._config_of = config_of
        self._background = background
        self._by_name: dict[str, dict[int, Partition]] = {}
        self._by_id: dict[bytes, dict[int, Partition]] = {}
        self._by_stream: dict[int, Partition] = {}
        self._ranges: dict[int, int] = {}
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self.on_closed: Callable[[Partition], None] = lambda partition: None
        """Told once of each partition that is not led here any more, for whatever reason."""
        self.opening = 0
        """How many partitions are not ready yet."""

    def __iter__(self) -> Iterator[Partition]:
        for rows in list(self._by_id.values()):
            yield from list(rows.values())

    def __len__(self) -> int:
        return sum(map(len, self._by_id.values()))

    # -- finding

    def find(self, topic_id: bytes, name: str, index: int) -> Partition | None:
        """The partition if it is led here; by id if there is no name."""
        rows = self._by_name.get(name) if name else self._by_id.get(topic_id)
        return rows.get(index) if rows else None

    def of_topic(self, topic_id: bytes) -> list[Partition]:
        """Those of one topic that are led here."""
        return list(self._by_id.get(topic_id, {}).values())

    def leader_of(
        self, topic_id: bytes, name: str, index: int, *, by_id: bool = False
    ) -> Partition:
        """The partition, led here.

        Raises UnknownTopicId (asked by id), UnknownTopicOrPartition, NotLeaderOrFollower.
        """
        rows = self._by_id.get(topic_id) if by_id else self._by_name.get(name)
        partition = rows.get(index) if rows else None
        if partition is None:
            raise self._why_not(topic_id, name, index, by_id=by_id)
        if partition.damage is not None:
            partition.check_damage()
        return partition

    def _why_not(self, topic_id: bytes, name: str, index: int, *, by_id: bool) -> errors.KafkaError:
        cluster = self._cluster
        known_id = topic_id if by_id else cluster.topic_ids.get(name)
        if known_id is None or known_id not in cluster.topics:
            if by_id:
                return errors.UnknownTopicId(f"no topic has the id {topic_id.hex()}")
            return errors.UnknownTopicOrPartition(f"there is no topic {name!r}")
        count = cluster.partition_count(known_id)
        name = cluster.topics[known_id].name
        if not 0 <= index < count:
            return errors.UnknownTopicOrPartition(f"{name} has partitions 0 to {count - 1}")
        return errors.NotLeaderOrFollower(f"{name}-{index} is led by another node")

    # -- opening and closing

    def open(self, topic: str, opened: PartitionAt) -> Partition:
        """Take over a partition. It is ready at once when there is nothing to load."""
        data = self._open_stream(opened.data)
        partition = Partition(
            topic=topic,
            topic_id=opened.topic_id,
            index=opened.index,
            data=data,
            engine=self._engine,
            clock=self._clock,
            config=self._config_of(topic),
            epochs=LeaderEpochs(opened.opens, log_start_offset=data.start_offset),
        )
        if opened.state is not None:
            partition.state = self._open_stream(opened.state)
        self._by_name.setdefault(topic, {})[opened.index] = partition
        self._by_id.setdefault(opened.topic_id, {})[opened.index] = partition
        self._by_stream[data.stream_id] = partition
        self._engine.producing.add(topic, opened.topic_id, opened.index, data)
        if data.start_offset == data.end_offset and partition.state is None:
            partition.become_ready()
        else:
            self.opening += 1
            self._background.spawn(f"load {partition}", self._load(partition))
        return partition

    def close(self, partition: Partition) -> None:
        """It is not led here any more, or deleted: nothing is appended, waiting readers go.

        Closing it again does nothing, also when it is open here again at another epoch.
        """
        was_open = partition.data.is_open
        self._engine.close(partition.data)
        if partition.state is not None:
            self._engine.close(partition.state)
        self._engine.producing.remove(
            partition.topic, partition.topic_id, partition.index, partition.data
        )
        _remove(self._by_name, partition.topic, partition)
        _remove(self._by_id, partition.topic_id, partition)
        if self._by_stream.get(partition.data.stream_id) is partition:
            del self._by_stream[partition.data.stream_id]
            self._ranges.pop(partition.data.stream_id, None)
        partition.wake_readers(2**62)
        partition.become_ready()
        if was_open:
            self.on_closed(partition)

    def close_stream(self, stream_id: int) -> None:
        """Close the partition of a data stream that is open elsewhere now."""
        partition = self._by_stream.get(stream_id)
        if partition is not None:
            self.close(partition)

    def drop(self, partition: Partition) -> None:
        """Its topic is deleted: close it and forget its data."""
        self.close(partition)
        self._engine.forget(partition.data.stream_id)
        if partition.state is not None:
            self._engine.forget(partition.state.stream_id)

    def configs_changed(self, topics: Sequence[str] | None) -> None:
        """The effective configs of these topics (None: of all) are others now."""
        for name in self._by_name if topics is None else topics:
            config = self._config_of(name)
            for partition in self._by_name.get(name, {}).values():
                partition.set_config(config)

    def _open_stream(self, opened: StreamAt) -> Stream:
        return self._engine.open(
            opened.stream_id, opened.epoch, opened.start_offset, opened.end_offset
        )

    async def _load(self, partition: Partition) -> None:
        """Load until it is ready or closed: what the store does not find now, it may find again.

        One damaged partition must not take the node along; its clients get an error.
        """
        pause_s = LOAD_AGAIN_FIRST_S
        while not await self._load_once(partition):
            await asyncio.sleep(pause_s)
            if not partition.data.is_open:
                probe("partition: closed before it could be opened")
                return
            pause_s = min(pause_s * 2, LOAD_AGAIN_LAST_S)
            self.opening += 1

    async def _load_once(self, partition: Partition) -> bool:
        """False if it has to be tried again."""
        try:
            async with self._loads:
                await load(partition)
        except errors.NotLeaderOrFollower as error:
            # What is missing was deleted by who has taken this process's place.
            log.info("%s is not led here any more: %s", partition, error)
            self.close(partition)
        except Exception as error:
            if partition.damage is None:
                log.exception("cannot open %s; trying again until it is repaired", partition)
            partition.stay_unready(str(error))
            return False
        finally:
            self.opening -= 1
        return True

    # -- what must be remembered

    async def delete_records(self, partition: Partition, before_offset: int) -> int:
        """Let the log start at `before_offset` (-1: the high watermark); returns its start.

        Raises PolicyViolation, OffsetOutOfRange, NotLeaderOrFollower.
        """
        if not partition.config.is_deleted:
            raise errors.PolicyViolation(f"{partition}: cleanup.policy is compact, not delete")
        wanted = partition.high_watermark if before_offset == -1 else before_offset
        if not 0 <= wanted <= partition.high_watermark:
            raise errors.OffsetOutOfRange(
                f"{partition}: {wanted} is not in [0, {partition.high_watermark}]"
            )
        if wanted > partition.log_start_offset:
            await self.remember(partition, wanted)
        return partition.log_start_offset

    async def remember(self, partition: Partition, log_start_offset: int) -> None:
        """Store a snapshot, and let the controller know what is not needed any more."""
        async with partition.remembering:
            if partition.state is None:
                opened = await self._keeper.create_state_stream(partition.topic_id, partition.index)
                if not partition.data.is_open:
                    raise errors.NotLeaderOrFollower(f"{partition} has moved")
                partition.state = self._open_stream(opened)
            await remember(partition, log_start_offset)
        self._ranges[partition.data.stream_id] = 0
        self._keeper.trim_later(partition.data.stream_id, partition.log_start_offset)
        self._keeper.trim_later(partition.state.stream_id, partition.state.start_offset)

    def committed(self, stream_ids: Sequence[int]) -> None:
        """An object with these streams is committed: some of them want a snapshot now.

        Bounds what opening has to look at: at most 64 digests behind the newest snapshot.
        """
        for stream_id in stream_ids:
            partition = self._by_stream.get(stream_id)
            if partition is None:
                continue
            count = self._ranges.get(stream_id, 0) + 1
            self._ranges[stream_id] = count
            if count >= RANGES_BETWEEN_SNAPSHOTS:
                self._ranges[stream_id] = 0
                self._background.spawn("snapshot", self._remember_as_is(partition))

    async def _remember_as_is(self, partition: Partition) -> None:
        try:
            await self.remember(partition, partition.log_start_offset)
        except errors.KafkaError as error:
            log.info("no snapshot of %s: %s", partition, error)

    async def close_cleanly(self) -> None:
        """Store a snapshot of every partition that has something to remember."""
        async with asyncio.TaskGroup() as tasks:
            for partition in self:
                if partition.ready and partition.has_news:
                    tasks.create_task(self._remember_as_is(partition))

    # -- retention

    async def expire(self) -> None:
        """Apply `retention.ms` and `retention.bytes` to every partition once."""
        for partition in self:
            if partition.ready and partition.config.is_deleted:
                await self._expire(partition)

    async def _expire(self, partition: Partition) -> None:
        end_offset = partition.log_end_offset
        start = partition.segments.expired(
            end_offset=end_offset,
            now_ms=self._clock.now_ms(),
            retention_ms=partition.config.retention_ms,
            retention_bytes=partition.config.retention_bytes,
        )
        if start is None or start > partition.high_watermark:
            return
        if start == end_offset:
            # All of it: an empty segment takes the place of the active one, as in Apache Kafka.
            partition.segments.roll(end_offset)
        if start <= partition.log_start_offset:
            partition.segments.trim(start)
            return
        try:
            await self.remember(partition, start)
        except errors.KafkaError as error:
            log.info("retention of %s put off: %s", partition, error)
        else:
            log.info("%s starts at %d now (retention)", partition, start)

    def expire_producers(self, expiration_ms: int) -> None:
        """Forget producers that were silent for `producer.id.expiration.ms` (KIP-98)."""
        now_ms = self._clock.now_ms()
        for partition in self:
            if partition.ready:
                partition.producers.expire(now_ms, expiration_ms=expiration_ms)


def _remove(table: dict[K, dict[int, Partition]], key: K, partition: Partition) -> None:
    rows = table.get(key)
    if rows is None or rows.get(partition.index) is not partition:
        return
    del rows[partition.index]
    if not rows:
        del table[key]
