"""The groups of a broker: which partition a group lives in, and commands on its shard."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from automq.coordinator.group.machine import GroupDecision, Groups
from automq.coordinator.group.offsets import DEFAULT_RETENTION
from automq.coordinator.group.replies import (
    DescribedGroup,
    FetchedTopic,
    FetchTopic,
    Joined,
    JoinGroup,
    Leaving,
    ListedGroup,
    OffsetToCommit,
    Synced,
)
from automq.coordinator.group.settings import GroupSettings
from automq.coordinator.machine import Moment
from automq.coordinator.shard import Shard, ShardLog, ShardSettings, ShardState
from automq.protocol import errors
from automq.world import World

T = TypeVar("T")


def java_hash(text: str) -> int:
    """Java's `String.hashCode`, a signed 32-bit number over the UTF-16 units."""
    value = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(units), 2):
        value = (31 * value + (units[at] << 8) + units[at + 1]) & 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def partition_of(group_id: str, partition_count: int) -> int:
    """The partition of `__consumer_offsets` that holds a group, as Kafka computes it."""
    value = java_hash(group_id)
    return (0 if value == -(2**31) else abs(value)) % partition_count


@dataclass(frozen=True, slots=True)
class _Led:
    """A partition that this node leads: its shard, and the task that runs it."""

    shard: Shard[Groups]
    leader_epoch: int
    task: asyncio.Task[None]


class GroupCoordinator:
    """All shards of this node. `run` owns their tasks; `lead` and `resign` follow leadership.

    Every command raises InvalidGroupId, NotCoordinator, CoordinatorLoadInProgress and
    CoordinatorNotAvailable beside what its command on `Groups` raises.
    """

    def __init__(
        self, *, world: World, partition_count: int, settings: GroupSettings | None = None
    ) -> None:
        self.partition_count = partition_count
        self.settings = settings or GroupSettings()
        self._world = world
        self._led: dict[int, _Led] = {}
        self._tasks: asyncio.TaskGroup | None = None

    # -- life

    async def run(self, *, started: asyncio.Event | None = None) -> None:
        """Own the shards until cancelled; `started` is set when `lead` may be called."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if started is not None:
                    started.set()
                await asyncio.get_running_loop().create_future()
        finally:
            self._tasks = None
            self._led.clear()

    def lead(self, partition: int, *, leader_epoch: int, log: ShardLog) -> None:
        """This node leads the partition: load it and answer for its groups.

        An older epoch than the one being led is ignored, a newer one starts afresh.
        """
        assert self._tasks is not None, "run() has not been started"
        led = self._led.get(partition)
        if led is not None and leader_epoch <= led.leader_epoch:
            return
        self.resign(partition)
        shard = Shard(
            name=f"__consumer_offsets-{partition}",
            log=log,
            new_machine=lambda: Groups(settings=self.settings),
            clock=self._world.clock,
            settings=ShardSettings(reply_timeout_ms=self.settings.offsets_commit_timeout_ms),
        )
        task = self._tasks.create_task(shard.serve(), name=shard.name)
        self._led[partition] = _Led(shard, leader_epoch, task)

    def resign(self, partition: int, *, leader_epoch: int | None = None) -> None:
        """Another node leads the partition (at `leader_epoch`, if known): send everyone there."""
        led = self._led.get(partition)
        if led is None or (leader_epoch is not None and leader_epoch < led.leader_epoch):
            return
        del self._led[partition]
        led.shard.close()
        led.task.cancel()

    def partition_of(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that holds a group."""
        return partition_of(group_id, self.partition_count)

    # -- members

    async def join(self, request: JoinGroup) -> Joined:
        """JoinGroup. Answers when the rebalance is complete. See `Groups.join`."""
        shard = self._member_shard(request.group_id)
        token = shard.new_token()
        prefix = request.group_instance_id or request.client_id
        new_member_id = f"{prefix}-{uuid.UUID(bytes=self._world.new_uuid())}"
        reply = await shard.run(
            lambda groups, now: groups.join(
                request, new_member_id=new_member_id, token=token, now=now
            )
        )
        return cast("Joined", reply)

    async def sync(
        self,
        *,
        group_id: str,
        member_id: str,
        group_instance_id: str | None = None,
        generation_id: int,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
        assignments: dict[str, bytes],
    ) -> Synced:
        """SyncGroup. Answers when the leader's assignment is stored. See `Groups.sync`."""
        shard = self._member_shard(group_id)
        token = shard.new_token()
        reply = await shard.run(
            lambda groups, now: groups.sync(
                group_id=group_id,
                member_id=member_id,
                group_instance_id=group_instance_id,
                generation_id=generation_id,
                protocol_type=protocol_type,
                protocol_name=protocol_name,
                assignments=assignments,
                token=token,
                now=now,
            )
        )
        return cast("Synced", reply)

    async def heartbeat(
        self,
        *,
        group_id: str,
        member_id: str,
        group_instance_id: str | None = None,
        generation_id: int,
    ) -> None:
        """Heartbeat. A coordinator that is loading knows no better than to say yes."""
        shard = self._member_shard(group_id)
        if shard.state is ShardState.LOADING:
            return
        await shard.run(
            lambda groups, now: groups.heartbeat(
                group_id=group_id,
                member_id=member_id,
                group_instance_id=group_instance_id,
                generation_id=generation_id,
                now=now,
            )
        )

    async def leave(self, *, group_id: str, leaving: Sequence[Leaving]) -> list[int]:
        """LeaveGroup: an error code for each; UNKNOWN_MEMBER_ID for all without such a group."""
        shard = self._member_shard(group_id)
        try:
            return await shard.run(
                lambda groups, now: groups.leave(group_id=group_id, leaving=list(leaving), now=now)
            )
        except errors.UnknownMemberId as error:
            return [error.code] * len(leaving)

    # -- offsets. For old clients' sake the empty group id may hold offsets.

    async def commit_offsets(
        self,
        *,
        group_id: str,
        member_id: str = "",
        group_instance_id: str | None = None,
        generation_id: int = -1,
        retention_ms: int = DEFAULT_RETENTION,
        to_commit: list[OffsetToCommit],
        api_version: int,
    ) -> list[int]:
        """OffsetCommit: an error code for each offset, once all are stored."""
        return await self._shard(group_id).run(
            lambda groups, now: groups.commit_offsets(
                group_id=group_id,
                member_id=member_id,
                group_instance_id=group_instance_id,
                generation_id=generation_id,
                retention_ms=retention_ms,
                to_commit=to_commit,
                api_version=api_version,
                now=now,
            )
        )

    async def fetch_offsets(
        self, *, group_id: str, topics: list[FetchTopic] | None
    ) -> list[FetchedTopic]:
        """OffsetFetch: offsets of these topics, or of all (None).

        Only stored offsets are ever answered, so `require_stable` changes nothing here.
        """
        return await self._shard(group_id).run(
            lambda groups, now: groups.fetch_offsets(group_id=group_id, topics=topics, now=now)
        )

    async def delete_offsets(
        self, *, group_id: str, partitions: list[tuple[str, int]]
    ) -> list[int]:
        """OffsetDelete: an error code for each (topic, partition)."""
        return await self._member_shard(group_id).run(
            lambda groups, now: groups.delete_offsets(
                group_id=group_id, partitions=partitions, now=now
            )
        )

    async def forget_topics(self, topics: list[tuple[str, bytes]]) -> None:
        """Topics (name, id) were deleted: forget the offsets in them, wherever this node leads.

        A shard that is not active is left out; what stays expires with its group.
        """
        for led in list(self._led.values()):
            if led.shard.state is ShardState.ACTIVE:
                await led.shard.run(lambda groups, now: groups.forget_topics(topics, now))

    # -- tools

    async def list_groups(
        self, *, states: Sequence[str] = (), types: Sequence[str] = ()
    ) -> list[ListedGroup]:
        """ListGroups, of all partitions that this node leads. Raises while one is loading."""
        listed: list[ListedGroup] = []
        for led in list(self._led.values()):
            if led.shard.state is not ShardState.CLOSED:
                found = await led.shard.run(
                    lambda groups, now: groups.list_groups(states=states, types=types, now=now)
                )
                listed += found
        return listed

    async def describe_groups(
        self, *, group_ids: Sequence[str], api_version: int
    ) -> list[DescribedGroup]:
        """DescribeGroups, in order; a group whose shard is not here carries the reason."""
        return await self._each_group(
            group_ids,
            lambda groups, ids, now: groups.describe(
                group_ids=ids, api_version=api_version, now=now
            ),
            lambda group_id, error: DescribedGroup(group_id=group_id, error=error),
        )

    async def delete_groups(self, *, group_ids: Sequence[str]) -> list[int]:
        """DeleteGroups: an error code for each, in order."""
        return await self._each_group(
            group_ids,
            lambda groups, ids, now: groups.delete_groups(group_ids=ids, now=now),
            lambda _, error: error.code,
        )

    async def _each_group(
        self,
        group_ids: Sequence[str],
        command: Callable[[Groups, list[str], Moment], GroupDecision[list[T]]],
        refuse: Callable[[str, errors.KafkaError], T],
    ) -> list[T]:
        """Run one command per partition on the groups of it; answers in the order of the ids."""
        by_partition: dict[int, list[str]] = {}
        for group_id in dict.fromkeys(group_ids):
            by_partition.setdefault(self.partition_of(group_id), []).append(group_id)
        answers: dict[str, T] = {}
        for ids in by_partition.values():

            def run(groups: Groups, now: Moment, ids: list[str] = ids) -> GroupDecision[list[T]]:
                return command(groups, ids, now)

            try:
                found = await self._shard(ids[0]).run(run)
            except errors.KafkaError as error:
                found = [refuse(group_id, error) for group_id in ids]
            answers.update(zip(ids, found, strict=True))
        return [answers[group_id] for group_id in group_ids]

    # -- shards

    def _member_shard(self, group_id: str) -> Shard[Groups]:
        if not group_id:
            raise errors.InvalidGroupId("a group needs an id of at least one character")
        return self._shard(group_id)

    def _shard(self, group_id: str) -> Shard[Groups]:
        partition = self.partition_of(group_id)
        led = self._led.get(partition)
        if led is None:
            raise errors.NotCoordinator(
                f"group {group_id} belongs to __consumer_offsets-{partition}, "
                "which this node does not lead"
            )
        return led.shard
