"""One broker: what its request handlers work with."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from automq.broker.auto_topics import AutoTopics
from automq.broker.cold_pace import ColdPacing
from automq.broker.features import Features
from automq.broker.fetch_sessions import FetchSessions
from automq.broker.fetches import Fetches
from automq.broker.internal_topics import OFFSETS_TOPIC
from automq.broker.partitions import Partitions
from automq.broker.producer_ids import ProducerIds
from automq.broker.shard_log import PartitionLog
from automq.broker.topic_configs import TopicConfigs
from automq.config.node_config import NodeConfig
from automq.controller.client import ControllerClient
from automq.coordinator.group import GroupCoordinator
from automq.metadata.cluster import Changes, ClusterImage
from automq.metadata.records.registry import Record
from automq.partition import Partition
from automq.protocol import errors
from automq.stream.client import Verdict
from automq.stream.engine import StreamEngine
from automq.world import World
from automq.world.background import Background

if TYPE_CHECKING:
    from automq.metadata.cluster import TopicId

log = logging.getLogger(__name__)


@dataclass(slots=True)
class BrokerMetrics:
    """Plain counters; telemetry reads them when it is asked."""

    unexpected_errors: int = 0


@dataclass(slots=True)
class Broker:
    """The broker's parts. It follows the *stored* cluster part of the metadata, nothing else.

    Invariant: `follow` is given every stored record once and in order; partitions are opened only
    when their opening is stored.
    """

    node_id: int
    config: NodeConfig
    world: World
    cluster: ClusterImage
    engine: StreamEngine
    controller: ControllerClient
    partitions: Partitions
    groups: GroupCoordinator
    configs: TopicConfigs
    producer_ids: ProducerIds
    background: Background
    fetch_sessions: FetchSessions
    features: Features = field(default_factory=Features)
    fetches: Fetches = field(init=False)
    metrics: BrokerMetrics = field(default_factory=BrokerMetrics)
    cold_pacing: ColdPacing = field(init=False)
    auto_topics: AutoTopics = field(init=False)
    _stops: bool = False

    def __post_init__(self) -> None:
        self.partitions.on_closed = self._resign
        self.fetches = Fetches(self.background)
        self.cold_pacing = ColdPacing(self.background, self.world.clock, self.engine.wal)
        self.auto_topics = AutoTopics(
            controller=self.controller,
            config=self.config,
            world=self.world,
            background=self.background,
        )

    # -- following the cluster

    def follow(self, records: Sequence[Record]) -> None:
        """Take in stored records of the cluster part, and act on what they change here."""
        self.react(self.cluster.apply_all(records))

    def react(self, changes: Changes) -> None:
        """Close what is gone, take new configs, open what is led here now."""
        for topic_id, name in changes.removed_topics.items():
            self._drop_topic(topic_id, name)
        if changes.configs:
            self.partitions.configs_changed(self.configs.changed(changes.configs))
        for topic_id, index in changes.partitions:
            self._open_or_close(topic_id, index)

    def _drop_topic(self, topic_id: "TopicId", name: str) -> None:
        for partition in self.partitions.of_topic(topic_id):
            self.partitions.drop(partition)
        self.background.spawn("forget offsets", self._forget_offsets(topic_id, name))

    async def _forget_offsets(self, topic_id: "TopicId", name: str) -> None:
        try:
            await self.groups.forget_topics([(name, topic_id)])
        except errors.KafkaError as error:
            log.info("offsets of the deleted topic %s stay until they expire: %s", name, error)

    def _open_or_close(self, topic_id: "TopicId", index: int) -> None:
        known = self.cluster.topics.get(topic_id)
        row = self.cluster.partition(topic_id, index)
        here = self.partitions.find(topic_id, "", index)
        leads = known is not None and row is not None and row.leader == self.node_id
        if here is not None and not (leads and row and here.leader_epoch == row.leader_epoch):
            self.partitions.close(here)
            here = None
        if not leads or here is not None or self._stops:
            return
        assert known is not None
        opened = self.controller.partition_at(topic_id, index)
        if opened is None or self.engine.was_closed(opened.data.stream_id, opened.data.epoch):
            # Closed here at this epoch, it may still have records that only the WAL holds: what is
            # stored as its end is not its end, and its next epoch is awaited.
            return
        self._lead(known.name, self.partitions.open(known.name, opened))

    def _lead(self, topic: str, partition: Partition) -> None:
        if topic == OFFSETS_TOPIC:
            self.groups.partition_count = self.cluster.partition_count(partition.topic_id)
            self.groups.lead(
                partition.index,
                leader_epoch=partition.leader_epoch,
                log=PartitionLog(partition),
            )

    def _resign(self, partition: Partition) -> None:
        """Its groups have no coordinator here any more: moved, deleted, fenced or damaged."""
        if partition.topic == OFFSETS_TOPIC:
            self.groups.resign(partition.index, leader_epoch=partition.leader_epoch)

    async def keep_retention(self, interval_ms: int) -> None:
        """Look for what has expired, every `log.retention.check.interval.ms`, until cancelled."""
        while True:
            await asyncio.sleep(interval_ms / 1000)
            await self.partitions.expire()

    async def forget_producers(self, interval_ms: int, expiration_ms: int) -> None:
        """Let silent producers go, every `producer.id.expiration.check.interval.ms`."""
        while True:
            await asyncio.sleep(interval_ms / 1000)
            self.partitions.expire_producers(expiration_ms)

    async def stop(self) -> None:
        """Lead nothing any more: coordinators resign, partitions remember, appends end.

        Invariant: nothing is opened from here on, whatever news come, so that nothing is appended
        behind the last upload.
        """
        self._stops = True
        for partition in self.partitions:
            self._resign(partition)
        await self.partitions.close_cleanly()
        for partition in self.partitions:
            self.partitions.close(partition)

    # -- what handlers ask

    def committed(self, stream_ids: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """An upload was committed; a stream that is fenced is not led here any more."""
        for stream_id, verdict in zip(stream_ids, verdicts, strict=True):
            if verdict is Verdict.FENCED:
                log.warning("stream %d was opened elsewhere; closing it here", stream_id)
                self.partitions.close_stream(stream_id)
        self.partitions.committed(stream_ids)
