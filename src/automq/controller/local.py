"""The active controller in this process, as brokers and storage engines of this process see it."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from automq import __version__
from automq.config import keys
from automq.config.node_config import NodeConfig
from automq.controller import configs, leaders, merging, nodes, objects, takeovers, topics
from automq.controller.configs import ConfigWish
from automq.controller.leaders import PartitionAt, StreamAt
from automq.controller.takeovers import OpenStream
from automq.controller.topics import TopicDefaults, TopicMade, TopicWish
from automq.metadata.decision import Command, Decision
from automq.metadata.image import Image
from automq.metadata.log import DamagedLog
from automq.metadata.records.nodes import NodeListener
from automq.metadata.records.wals import WalKind
from automq.metadata.state import MetadataState, Stopped
from automq.metadata.storage import Range, Wal
from automq.metadata.writer import Deposed
from automq.protocol import errors
from automq.stream.client import (
    FoundRange,
    Merge,
    MergeLimits,
    ObjectCommit,
    ObjectReplacement,
    ReplaceVerdict,
    Verdict,
)
from automq.world import Clock
from automq.world.probe import probe

R = TypeVar("R")

BROKER_ROLE, CONTROLLER_ROLE = 1, 2
UPLOAD_DEADLINE_MS = 3_600_000
TRIM_EVERY_MS = 1_000
RANGES_TO_SEARCH = 1_000
GONE = (Deposed, Stopped, DamagedLog)
"""This controller is about to end, and its node with it: who asks looks for another one."""


class LocalController:
    """Runs the controller's commands on this process's metadata; implements `ControllerClient`,
    `StorageClient` and what starting and stopping a node needs.
    """

    def __init__(self, metadata: MetadataState, node_id: int, clock: Clock) -> None:
        self._metadata = metadata
        self._node_id = node_id
        self._node_epoch = -1
        self._clock = clock
        self._defaults = TopicDefaults(1, 1)
        self._trims: dict[int, int] = {}
        # Soft: the streams of each merge in work, by the id of its new object. What keeps the
        # data safe is that a replace names what it takes out.
        self._merging: dict[int, frozenset[int]] = {}

    @property
    def _image(self) -> Image:
        return self._metadata.image

    @property
    def me(self) -> tuple[int, int]:
        """This node's id, and the epoch of this incarnation."""
        return self._node_id, self._node_epoch

    async def _run(self, command: Command[R]) -> R:
        try:
            return await self._metadata.run(command)
        except GONE as error:
            raise errors.NotController(str(error)) from error

    async def _run_lazy(self, command: Command[R]) -> R:
        try:
            return await self._metadata.run_lazy(command)
        except GONE as error:
            raise errors.NotController(str(error)) from error

    async def _run_together(self, commands: Sequence[Command[Any]]) -> list[Any]:
        try:
            return await self._metadata.run_together(commands)
        except GONE as error:
            raise errors.NotController(str(error)) from error

    # -- this node

    async def register(self, config: NodeConfig, incarnation: bytes) -> None:
        """Register this incarnation; from here on older ones can commit nothing."""
        roles = BROKER_ROLE * config.is_broker + CONTROLLER_ROLE * config.is_controller
        wish = nodes.NodeWish(
            node_id=self._node_id,
            incarnation=incarnation,
            roles=roles,
            rack=config.get(keys.kafka.BROKER_RACK),
            host=config.advertised_listeners[0].host,
            listeners=[
                NodeListener(it.name, it.host, it.port, int(it.protocol))
                for it in config.advertised_listeners
            ],
            software=f"automq {__version__}",
        )
        self._defaults = TopicDefaults(
            config.get(keys.kafka.NUM_PARTITIONS),
            config.get(keys.kafka.DEFAULT_REPLICATION_FACTOR),
        )
        self._node_epoch = await self._run(lambda image: nodes.register_node(image, wish))

    async def activate(self) -> None:
        await self._run(lambda image: nodes.activate_node(image, *self.me))

    async def lead(self) -> int:
        """Lead what this node led, and what nobody else can, at new epochs; how many those are."""
        return await self._run(lambda image: leaders.lead_at(image, *self.me))

    def may_hold_data(self, wal: Wal) -> bool:
        """Whether something acknowledged may be in a WAL of an earlier incarnation, and nowhere
        else. Its owner appended only to streams that it had open.
        """
        return wal.start > 0 or nodes.has_led(self._image, wal.node_id, wal.node_epoch)

    def is_wal_closed(self, wal_id: int) -> bool:
        """Whether a stored record says that a WAL is closed (or it was forgotten since)."""
        return self._image.storage.is_wal_closed(wal_id)

    def is_wal_open(self, wal_id: int) -> bool:
        """Whether a WAL is registered, and not closed yet."""
        wal = self._image.storage.wals.get(wal_id)
        return wal is not None and not wal.closed

    async def register_wal(self, uri: str, kind: WalKind = WalKind.FILE) -> int:
        return await self._run(lambda image: nodes.register_wal(image, *self.me, uri, kind))

    # -- WALs whose owner is gone

    def unfinished_wals(self, node_id: int) -> list[Wal]:
        return takeovers.unfinished_wals(self._image, node_id)

    def is_mine(self, wal: Wal) -> bool:
        """Whether an earlier incarnation of this node wrote it."""
        return wal.node_id == self._node_id

    def open_streams(self, wal: Wal) -> list[OpenStream]:
        """The streams that its owner had open, with what of them is committed."""
        return takeovers.open_streams(self._image, wal)

    def stream_ends(self, streams: Sequence[int]) -> dict[int, int]:
        """What is committed of each of these that still is."""
        found = ((stream_id, self._image.storage.stream(stream_id)) for stream_id in streams)
        return {stream_id: it.end for stream_id, it in found if it is not None}

    def topic_names(self) -> dict[bytes, str]:
        """By topic id."""
        return {topic_id: it.name for topic_id, it in self._image.cluster.topics.items()}

    async def fence_and_take_over(self, node_id: int) -> list[Wal]:
        """Take every WAL that a node left, in one entry, in which another node is fenced as well.

        Their starts are final when this returns. Raises InvalidRequest.
        """
        commands: list[Command[Any]] = []
        if node_id != self._node_id:
            commands.append(lambda image: takeovers.fence_node(image, self.me, node_id))
        commands.append(lambda image: takeovers.take_over_all(image, self.me, node_id))
        wals: list[Wal] = (await self._run_together(commands))[-1]
        return wals

    async def finish_wal(self, wal_id: int, *, last: ObjectCommit | None, fence: int) -> int:
        """Commit the last of a WAL, close its owner's streams and itself, in one entry; how many
        streams.
        """
        commands: list[Command[Any]] = []
        if last is not None:
            commands.append(self._commit(last))
        commands.append(lambda image: takeovers.finish_wal(image, wal_id, self.me, fence))
        closed: int = (await self._run_together(commands))[-1]
        return closed

    async def stop_node(self) -> None:
        """Say that this node, which had no stream open, has stopped."""
        await self._run(lambda image: takeovers.stop_node(image, self.me))

    # -- the end

    async def close_node(self, *, wal_id: int, fence: int) -> None:
        """Everything is uploaded: close streams and WAL, and say that this node has stopped."""
        await self._trim_now()
        await self._run(lambda image: nodes.close_node(image, *self.me, wal_id, fence))

    # -- ControllerClient

    async def create_topic(self, wish: TopicWish, *, validate_only: bool) -> TopicMade:
        def command(image: Image) -> Decision[TopicMade]:
            decision = topics.create_topic(image, wish, self._defaults)
            return Decision((), decision.reply) if validate_only else decision

        return await self._run(command)

    async def delete_topic(self, topic_id: bytes) -> None:
        await self._run(lambda image: topics.delete_topic(image, topic_id))

    async def create_partitions(
        self,
        name: str,
        count: int,
        assignments: Sequence[Sequence[int]] | None,
        *,
        validate_only: bool,
    ) -> None:
        def command(image: Image) -> Decision[None]:
            decision = topics.create_partitions(image, name, count, assignments)
            return Decision((), None) if validate_only else decision

        await self._run(command)

    async def set_configs(self, wish: ConfigWish) -> bool:
        return await self._run(lambda image: configs.set_configs(image, wish))

    async def create_state_stream(self, topic_id: bytes, index: int) -> StreamAt:
        return await self._run(lambda image: leaders.create_state_stream(image, topic_id, index))

    def partition_at(self, topic_id: bytes, index: int) -> PartitionAt | None:
        return leaders.partition_at(self._image, topic_id, index)

    def trim_later(self, stream_id: int, start_offset: int) -> None:
        """Many streams to a record, in a while (HAZARDS 15)."""
        self._trims[stream_id] = max(self._trims.get(stream_id, 0), start_offset)

    async def reserve_producer_ids(self) -> range:
        return await self._run(lambda image: nodes.reserve_producer_ids(image, *self.me))

    # -- StorageClient

    async def prepare_objects(self, count: int) -> int:
        deadline_ms = self._clock.now_ms() + UPLOAD_DEADLINE_MS
        return await self._run(
            lambda image: objects.prepare_objects(image, *self.me, count, deadline_ms)
        )

    async def commit_object(self, commit: ObjectCommit, *, urgent: bool) -> Sequence[Verdict]:
        run = self._metadata.run if urgent else self._metadata.run_lazy
        return await run(self._commit(commit))

    async def commit_objects(self, commits: Sequence[ObjectCommit]) -> None:
        await self._metadata.run_together([self._commit(commit) for commit in commits])

    def _commit(self, commit: ObjectCommit) -> Command[list[Verdict]]:
        return lambda image: objects.commit_object(image, *self.me, commit)

    async def locate(self, stream_id: int, offset: int, limit: int) -> Sequence[FoundRange]:
        return [found(row) for row in self._image.storage.locate(stream_id, offset, limit)]

    async def confirm(self) -> None:
        try:
            await self._metadata.confirm()
        except GONE as error:
            raise errors.NotLeaderOrFollower(str(error)) from error

    async def locate_timestamp(
        self, stream_id: int, timestamp: int, offset: int
    ) -> FoundRange | None:
        while True:
            ranges = self._image.storage.locate(stream_id, offset, RANGES_TO_SEARCH)
            for row in ranges:
                if row.max_timestamp >= timestamp and row.end > offset:
                    return found(row)
            if len(ranges) < RANGES_TO_SEARCH:
                return None
            offset = ranges[-1].end

    async def next_merge(
        self, limits: MergeLimits, objects_left_out: Sequence[int]
    ) -> Merge | None:
        deadline_ms = self._clock.now_ms() + UPLOAD_DEADLINE_MS

        def command(image: Image) -> Decision[Merge | None]:
            for object_id in list(self._merging):
                if not merging.is_in_work(image, object_id):
                    del self._merging[object_id]
            decision = merging.plan_merge(
                image,
                *self.me,
                limits,
                objects_left_out=objects_left_out,
                streams_left_out=frozenset().union(*self._merging.values()),
                deadline_ms=deadline_ms,
            )
            if decision.reply is not None:
                streams = frozenset(decision.reply.parts.column(0))
                self._merging[decision.reply.object_id] = streams
            return decision

        return await self._run_lazy(command)

    async def replace_extents(self, replacement: ObjectReplacement) -> Sequence[ReplaceVerdict]:
        return await self._run_lazy(
            lambda image: merging.replace_extents(image, *self.me, replacement)
        )

    async def give_up_object(self, object_id: int) -> None:
        await self._run_lazy(lambda image: merging.give_up_object(image, self._node_id, object_id))

    # -- what goes on by itself

    async def keep_trimming(self) -> None:
        """Let streams start where partitions said (`trim_later`), until cancelled."""
        while True:
            await asyncio.sleep(TRIM_EVERY_MS / 1000)
            await self._trim_now()

    async def _trim_now(self) -> None:
        trims, self._trims = self._trims, {}
        if not trims:
            return
        rows = list(trims.items())
        await self._metadata.run_lazy(lambda image: objects.trim_streams(image, rows))
        for stream_id, start_offset in rows:
            stream = self._image.storage.stream(stream_id)
            if stream is not None and stream.end < start_offset:
                # It was clamped: the rest goes when it has been committed.
                probe("storage: records are deleted that are not committed yet")
                self.trim_later(stream_id, start_offset)


def found(row: Range) -> FoundRange:
    return FoundRange(
        object_id=row.object,
        object_bytes=row.object_bytes,
        index_position=row.index_position,
        index_bytes=row.index_bytes,
        start_offset=row.start,
        end_offset=row.end,
        size_bytes=row.bytes,
        max_timestamp=row.max_timestamp,
    )
