"""The group APIs: from a request to what Kafka answers, in every version that differs."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from automq.broker.apis.delete_groups import delete_groups
from automq.broker.apis.describe_groups import describe_groups
from automq.broker.apis.heartbeat import heartbeat
from automq.broker.apis.join_group import join_group
from automq.broker.apis.leave_group import leave_group
from automq.broker.apis.list_groups import list_groups
from automq.broker.apis.offset_commit import offset_commit
from automq.broker.apis.offset_delete import offset_delete
from automq.broker.apis.offset_fetch import offset_fetch
from automq.broker.apis.sync_group import sync_group
from automq.broker.dispatch import Call
from automq.coordinator.group import GroupCoordinator, GroupSettings
from automq.protocol import errors
from automq.protocol.codec import encode
from automq.protocol.messages.delete_groups_request import DeleteGroupsRequest
from automq.protocol.messages.describe_groups_request import DescribeGroupsRequest
from automq.protocol.messages.heartbeat_request import HeartbeatRequest
from automq.protocol.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from automq.protocol.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from automq.protocol.messages.list_groups_request import ListGroupsRequest
from automq.protocol.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from automq.protocol.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from automq.protocol.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from automq.protocol.messages.sync_group_request import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from automq.world import World
from support.groups import subscription
from support.shard_log import MemoryLog
from support.virtual_time import LoopClock, run_virtual

TOPIC_ID = b"t" * 16
OTHER_ID = b"o" * 16


@dataclass
class Topics:
    """The part of the cluster image that these handlers ask: topic `t` of two partitions."""

    topics: dict[bytes, Any] = field(
        default_factory=lambda: {TOPIC_ID: SimpleNamespace(topic_id=TOPIC_ID, name="t")}
    )

    @property
    def topic_ids(self) -> dict[str, bytes]:
        return {topic.name: topic.topic_id for topic in self.topics.values()}

    def topic(self, name: str) -> Any:
        return self.topics.get(self.topic_ids.get(name, b""))

    def partition(self, topic_id: bytes, partition: int) -> Any:
        return True if topic_id in self.topics and 0 <= partition < 2 else None


class Client:
    """Sends requests to the handlers; every answer must be encodable in its version."""

    def __init__(self, groups: GroupCoordinator) -> None:
        self.broker: Any = SimpleNamespace(groups=groups, cluster=Topics())
        self.slot: Any = SimpleNamespace(
            head=SimpleNamespace(client_id="client"),
            connection=SimpleNamespace(peer_host="127.0.0.1"),
        )

    async def send(
        self, handler: Callable[[Any], Awaitable[Any]], request: Any, version: int
    ) -> Any:
        answer = await handler(Call(request, version, self.broker, self.slot))
        encode(answer, version)
        return answer

    async def join(self, member_id: str = "", version: int = 9, **fields: Any) -> Any:
        request = JoinGroupRequest(
            group_id="g",
            member_id=member_id,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=60_000,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol("range", subscription("t"))],
            **fields,
        )
        return await self.send(join_group, request, version)

    async def stable(self) -> str:
        """The one member of the stable group `g`."""
        asked = await self.join()
        member_id: str = asked.member_id
        await self.join(member_id)
        assignments = [SyncGroupRequestAssignment(member_id, b"all")]
        request = SyncGroupRequest("g", 1, member_id, None, "consumer", "range", assignments)
        await self.send(sync_group, request, 5)
        return member_id

    async def commit(
        self, *topics: OffsetCommitRequestTopic, version: int = 9, **fields: Any
    ) -> Any:
        request = OffsetCommitRequest(group_id="g", topics=list(topics), **fields)
        return await self.send(offset_commit, request, version)


def to_commit(name: str, *partitions: int, topic_id: bytes = bytes(16)) -> OffsetCommitRequestTopic:
    rows = [OffsetCommitRequestPartition(p, 5, 1, "m") for p in partitions]
    return OffsetCommitRequestTopic(name, topic_id, rows)


@asynccontextmanager
async def connected(*, leads: bool = True) -> AsyncIterator[Client]:
    groups = GroupCoordinator(
        world=World(clock=LoopClock(), chance=random.Random(1)),
        partition_count=1,
        settings=GroupSettings(initial_rebalance_delay_ms=0),
    )
    started = asyncio.Event()
    running = asyncio.get_running_loop().create_task(groups.run(started=started))
    await started.wait()
    if leads:
        groups.lead(0, leader_epoch=0, log=MemoryLog())
        await asyncio.sleep(0.1)
    try:
        yield Client(groups)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def codes(answer: Any) -> list[list[int]]:
    return [[row.error_code for row in topic.partitions] for topic in answer.topics]


def test_a_client_is_given_its_id_then_joins_and_syncs() -> None:
    async def story() -> None:
        async with connected() as client:
            asked = await client.join()
            assert asked.error_code == errors.MemberIdRequired.code
            joined = await client.join(asked.member_id)
            assert (joined.error_code, joined.generation_id) == (0, 1)
            assert (joined.protocol_type, joined.protocol_name) == ("consumer", "range")
            assert [m.metadata for m in joined.members] == [subscription("t")]

    run_virtual(story())


def test_before_version_4_a_member_joins_without_an_id() -> None:
    async def story() -> None:
        async with connected() as client:
            joined = await client.join(version=0)
            assert (joined.error_code, joined.generation_id) == (0, 1)

    run_virtual(story())


def test_a_refused_join_repeats_the_member_id() -> None:
    async def story() -> None:
        async with connected() as client:
            refused = await client.join("nobody", version=6)
            assert refused.error_code == errors.UnknownMemberId.code
            assert (refused.member_id, refused.protocol_name) == ("nobody", "")

    run_virtual(story())


def test_a_sync_from_version_5_on_names_its_protocol() -> None:
    async def story() -> None:
        async with connected() as client:
            member_id = await client.stable()
            with pytest.raises(errors.InconsistentGroupProtocol):
                await client.send(sync_group, SyncGroupRequest("g", 1, member_id), 5)
            synced = await client.send(sync_group, SyncGroupRequest("g", 1, member_id), 4)
            assert synced.assignment == b"all"

    run_virtual(story())


def test_heartbeats_are_answered() -> None:
    async def story() -> None:
        async with connected() as client:
            member_id = await client.stable()
            request = HeartbeatRequest("g", 1, member_id)
            assert (await client.send(heartbeat, request, 4)).error_code == 0
            with pytest.raises(errors.IllegalGeneration):
                await client.send(heartbeat, HeartbeatRequest("g", 2, member_id), 4)

    run_virtual(story())


def test_members_leave_alone_or_together() -> None:
    async def story() -> None:
        async with connected() as client:
            member_id = await client.stable()
            several = LeaveGroupRequest("g", members=[MemberIdentity("x"), MemberIdentity("y")])
            answer = await client.send(leave_group, several, 5)
            assert (answer.error_code, [m.error_code for m in answer.members]) == (0, [25, 25])
            alone = LeaveGroupRequest("g", member_id)
            assert (await client.send(leave_group, alone, 2)).error_code == 0
            assert (await client.send(leave_group, alone, 2)).error_code == 25

    run_virtual(story())


def test_commits_to_partitions_that_do_not_exist_are_refused_alone() -> None:
    async def story() -> None:
        async with connected() as client:
            answer = await client.commit(to_commit("t", 0, 7), to_commit("x", 0))
            assert codes(answer) == [[0, 3], [3]]

    run_virtual(story())


def test_commits_by_topic_id() -> None:
    async def story() -> None:
        async with connected() as client:
            known = to_commit("", 0, topic_id=TOPIC_ID)
            unknown = to_commit("", 0, topic_id=OTHER_ID)
            answer = await client.commit(known, unknown, version=10)
            assert codes(answer) == [[0], [errors.UnknownTopicId.code]]
            assert [topic.topic_id for topic in answer.topics] == [TOPIC_ID, OTHER_ID]

    run_virtual(story())


def test_a_refused_commit_is_refused_for_every_partition_that_exists() -> None:
    async def story() -> None:
        async with connected() as client:
            topic = to_commit("t", 0, 1, 2)
            answer = await client.commit(topic, generation_id_or_member_epoch=1, member_id="m")
            assert codes(answer) == [[69, 69, 3]]
            old = await client.commit(
                topic, generation_id_or_member_epoch=1, member_id="m", version=8
            )
            assert codes(old) == [[22, 22, 3]]

    run_virtual(story())


def test_offsets_are_fetched_by_name_in_every_version() -> None:
    async def story() -> None:
        async with connected() as client:
            await client.commit(to_commit("t", 0))
            old = OffsetFetchRequest("g", [OffsetFetchRequestTopic("t", [0, 1])])
            for version in (1, 5, 7):
                answer = await client.send(offset_fetch, old, version)
                assert [p.committed_offset for p in answer.topics[0].partitions] == [5, -1]
            topics = [OffsetFetchRequestTopics("t", partition_indexes=[0])]
            wanted = OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=topics)])
            answer = await client.send(offset_fetch, wanted, 9)
            (row,) = answer.groups[0].topics[0].partitions
            assert (row.committed_offset, row.committed_leader_epoch, row.metadata) == (5, 1, "m")

    run_virtual(story())


def test_offsets_are_fetched_by_topic_id() -> None:
    async def story() -> None:
        async with connected() as client:
            await client.commit(to_commit("", 0, topic_id=TOPIC_ID), version=10)
            topics = [
                OffsetFetchRequestTopics(topic_id=TOPIC_ID, partition_indexes=[0]),
                OffsetFetchRequestTopics(topic_id=OTHER_ID, partition_indexes=[0]),
            ]
            wanted = OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=topics)])
            answer = await client.send(offset_fetch, wanted, 10)
            rows = {t.topic_id: t.partitions[0] for t in answer.groups[0].topics}
            assert rows[TOPIC_ID].committed_offset == 5
            assert rows[OTHER_ID].error_code == errors.UnknownTopicId.code

    run_virtual(story())


def test_all_offsets_are_fetched_and_deleted_topics_have_no_id() -> None:
    async def story() -> None:
        async with connected() as client:
            await client.commit(to_commit("t", 0))
            wanted = OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=None)])
            answer = await client.send(offset_fetch, wanted, 10)
            assert [topic.topic_id for topic in answer.groups[0].topics] == [TOPIC_ID]
            client.broker.cluster.topics.clear()
            assert (await client.send(offset_fetch, wanted, 10)).groups[0].topics == []
            answer = await client.send(offset_fetch, wanted, 9)
            assert [topic.name for topic in answer.groups[0].topics] == ["t"]

    run_virtual(story())


def test_without_a_coordinator_each_version_finds_a_place_for_the_error() -> None:
    async def story() -> None:
        async with connected(leads=False) as client:
            not_here = errors.NotCoordinator.code
            old = OffsetFetchRequest("g", [OffsetFetchRequestTopic("t", [0])])
            assert codes(await client.send(offset_fetch, old, 1)) == [[not_here]]
            assert (await client.send(offset_fetch, old, 2)).error_code == not_here
            wanted = OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=None)])
            answer = await client.send(offset_fetch, wanted, 9)
            assert answer.groups[0].error_code == not_here
            assert codes(await client.commit(to_commit("t", 0))) == [[not_here]]
            described = await client.send(describe_groups, DescribeGroupsRequest(["g"]), 5)
            assert (described.groups[0].error_code, described.groups[0].group_state) == (
                not_here,
                "",
            )
            deleted = await client.send(delete_groups, DeleteGroupsRequest(["g"]), 2)
            assert deleted.results[0].error_code == not_here
            assert (await client.join("m")).error_code == not_here

    run_virtual(story())


def test_offsets_of_topics_that_are_read_stay() -> None:
    async def story() -> None:
        async with connected() as client:
            member_id = await client.stable()
            await client.commit(
                to_commit("t", 0), generation_id_or_member_epoch=1, member_id=member_id
            )
            topics = [
                OffsetDeleteRequestTopic("t", [OffsetDeleteRequestPartition(0)]),
                OffsetDeleteRequestTopic("x", [OffsetDeleteRequestPartition(0)]),
            ]
            answer = await client.send(offset_delete, OffsetDeleteRequest("g", topics), 0)
            assert codes(answer) == [[errors.GroupSubscribedToTopic.code], [3]]
            with pytest.raises(errors.GroupIdNotFound):
                await client.send(offset_delete, OffsetDeleteRequest("x", topics), 0)

    run_virtual(story())


def test_groups_are_listed_with_state_and_type() -> None:
    async def story() -> None:
        async with connected() as client:
            await client.stable()
            for version in (0, 5):
                (group,) = (await client.send(list_groups, ListGroupsRequest(), version)).groups
                assert (group.group_id, group.protocol_type) == ("g", "consumer")
                assert (group.group_state, group.group_type) == ("Stable", "classic")
            empty = ListGroupsRequest(states_filter=["Empty"])
            assert (await client.send(list_groups, empty, 5)).groups == []

    run_virtual(story())


def test_groups_are_described_with_what_a_client_may_do() -> None:
    async def story() -> None:
        async with connected() as client:
            await client.stable()
            request = DescribeGroupsRequest(["g", "x"], include_authorized_operations=True)
            found, missing = (await client.send(describe_groups, request, 6)).groups
            assert (found.group_state, found.protocol_data) == ("Stable", "range")
            assert found.authorized_operations == 3_400
            (member,) = found.members
            assert (member.client_id, member.client_host) == ("client", "/127.0.0.1")
            assert (missing.error_code, missing.group_state) == (69, "Dead")
            assert missing.error_message == "Group x not found."
            older = (await client.send(describe_groups, request, 5)).groups[1]
            assert (older.error_code, older.group_state) == (0, "Dead")

    run_virtual(story())


def test_groups_are_deleted_one_by_one() -> None:
    async def story() -> None:
        async with connected() as client:
            await client.stable()
            answer = await client.send(delete_groups, DeleteGroupsRequest(["g", "x"]), 2)
            assert [row.error_code for row in answer.results] == [
                errors.NonEmptyGroup.code,
                errors.GroupIdNotFound.code,
            ]

    run_virtual(story())
