"""The group APIs on the wire, in every version: members, offsets, and all that can be refused."""

from typing import Any

import pytest
import pytest_asyncio

from automq.protocol import errors
from automq.protocol.messages.delete_groups_request import DeleteGroupsRequest
from automq.protocol.messages.describe_groups_request import DescribeGroupsRequest
from automq.protocol.messages.find_coordinator_request import FindCoordinatorRequest
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
from support.groups import subscription
from support.messages import only
from support.node import Node, codes

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOADING = (errors.CoordinatorLoadInProgress.code, errors.NotCoordinator.code)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def coordinator(node: Node) -> None:
    """Every group has its coordinator, and it has loaded what it needs."""
    asked = FindCoordinatorRequest(coordinator_keys=["g"])
    await node.ask_until(lambda it: codes(it.coordinators) == [0], asked)
    await node.ask_until(lambda it: it.error_code == 0, ListGroupsRequest())
    for group in ("g", "h"):
        beat = HeartbeatRequest(group, 0, "nobody")
        await node.ask_until(lambda it: it.error_code not in LOADING, beat)


def join(group: str, member_id: str = "", **fields: Any) -> JoinGroupRequest:
    fields.setdefault("session_timeout_ms", 30_000)
    fields.setdefault("protocols", [JoinGroupRequestProtocol("range", subscription("t"))])
    fields.setdefault("protocol_type", "consumer")
    return JoinGroupRequest(group, member_id=member_id, rebalance_timeout_ms=60_000, **fields)


async def stable(node: Node, group: str) -> str:
    """The one member of a group that has just become stable."""
    asked = await node.ask(join(group))
    member_id: str = asked.member_id
    joined = await node.ask(join(group, member_id))
    assert (joined.error_code, joined.generation_id) == (0, 1)
    assignments = [SyncGroupRequestAssignment(member_id, b"all")]
    synced = await node.ask(
        SyncGroupRequest(group, 1, member_id, None, "consumer", "range", assignments)
    )
    assert (synced.error_code, synced.assignment) == (0, b"all")
    return member_id


def refused(answer: Any) -> type[errors.KafkaError]:
    return errors.by_code(answer.error_code)


# -- members


@pytest.mark.parametrize("version", range(10))
async def test_a_member_joins_in_every_version(node: Node, version: int) -> None:
    group = f"join{version}"
    joined = await node.ask(join(group), version)
    if version >= 4:
        assert refused(joined) is errors.MemberIdRequired
        assert (joined.generation_id, joined.leader) == (-1, "")
        joined = await node.ask(join(group, joined.member_id), version)
    assert (joined.error_code, joined.generation_id) == (0, 1)
    assert joined.leader == joined.member_id
    assert joined.protocol_name == "range"
    assert [member.member_id for member in joined.members] == [joined.member_id]


@pytest.mark.parametrize("version", range(10))
async def test_a_join_that_is_refused_in_every_version(node: Node, version: int) -> None:
    unknown = await node.ask(join("refused", "nobody"), version)
    assert refused(unknown) is errors.UnknownMemberId
    assert (unknown.member_id, unknown.generation_id) == ("nobody", -1)
    nameless = await node.ask(join(""), version)
    assert refused(nameless) is errors.InvalidGroupId
    hasty = await node.ask(join("refused", session_timeout_ms=1), version)
    assert refused(hasty) is errors.InvalidSessionTimeout
    idle = await node.ask(join("refused", protocols=[]), version)
    assert refused(idle) is errors.InconsistentGroupProtocol


async def test_members_share_a_protocol(node: Node) -> None:
    await stable(node, "protocol")
    other = await node.ask(join("protocol", protocol_type="connect"), 3)
    assert refused(other) is errors.InconsistentGroupProtocol
    odd = [JoinGroupRequestProtocol("odd", b"")]
    assert refused(await node.ask(join("protocol", protocols=odd), 3)) is (
        errors.InconsistentGroupProtocol
    )


@pytest.mark.parametrize("version", range(6))
async def test_a_sync_in_every_version(node: Node, version: int) -> None:
    group = f"sync{version}"
    member_id = await stable(node, group)
    names: tuple[str | None, str | None] = ("consumer", "range") if version >= 5 else (None, None)
    again = await node.ask(SyncGroupRequest(group, 1, member_id, None, *names), version)
    assert (again.error_code, again.assignment) == (0, b"all")
    old = await node.ask(SyncGroupRequest(group, 0, member_id, None, *names), version)
    assert refused(old) is errors.IllegalGeneration
    nobody = await node.ask(SyncGroupRequest(group, 1, "nobody", None, *names), version)
    assert refused(nobody) is errors.UnknownMemberId


async def test_a_sync_names_the_protocol_of_its_group(node: Node) -> None:
    member_id = await stable(node, "sync-protocol")
    for names in (("consumer", "odd"), ("connect", "range"), (None, None)):
        answer = await node.ask(SyncGroupRequest("sync-protocol", 1, member_id, None, *names))
        assert refused(answer) is errors.InconsistentGroupProtocol


@pytest.mark.parametrize("version", range(5))
async def test_a_heartbeat_in_every_version(node: Node, version: int) -> None:
    group = f"beat{version}"
    member_id = await stable(node, group)
    assert (await node.ask(HeartbeatRequest(group, 1, member_id), version)).error_code == 0
    old = await node.ask(HeartbeatRequest(group, 0, member_id), version)
    assert refused(old) is errors.IllegalGeneration
    nobody = await node.ask(HeartbeatRequest(group, 1, "nobody"), version)
    assert refused(nobody) is errors.UnknownMemberId
    nowhere = await node.ask(HeartbeatRequest("nowhere", 1, "nobody"), version)
    assert refused(nowhere) is errors.UnknownMemberId
    nameless = await node.ask(HeartbeatRequest("", 1, member_id), version)
    assert refused(nameless) is errors.InvalidGroupId


async def test_a_static_member_that_was_replaced_is_fenced(node: Node) -> None:
    first = await node.ask(join("static", group_instance_id="one"))
    second = await node.ask(join("static", group_instance_id="one"))
    assert (first.error_code, second.error_code) == (0, 0)
    assert first.member_id != second.member_id
    beat = HeartbeatRequest("static", second.generation_id, first.member_id, "one")
    assert refused(await node.ask(beat)) is errors.FencedInstanceId
    sync = SyncGroupRequest(
        "static", second.generation_id, first.member_id, "one", "consumer", "range"
    )
    assert refused(await node.ask(sync)) is errors.FencedInstanceId


@pytest.mark.parametrize("version", range(6))
async def test_a_member_leaves_in_every_version(node: Node, version: int) -> None:
    group = f"leave{version}"
    member_id = await stable(node, group)
    request = LeaveGroupRequest(group, member_id)
    if version >= 3:
        request = LeaveGroupRequest(group, members=[MemberIdentity(member_id)])
    left, again = await node.ask(request, version), await node.ask(request, version)
    unknown = errors.UnknownMemberId.code
    if version >= 3:
        assert (left.error_code, codes(left.members)) == (0, [0])
        assert (again.error_code, codes(again.members)) == (0, [unknown])
    else:
        assert (left.error_code, again.error_code) == (0, unknown)


# -- offsets


def commit(group: str, *topics: OffsetCommitRequestTopic, **fields: Any) -> OffsetCommitRequest:
    return OffsetCommitRequest(group, topics=list(topics), **fields)


def at(topic: str, offset: int, *, partition: int = 0, metadata: str = "m") -> Any:
    row = OffsetCommitRequestPartition(partition, offset, committed_metadata=metadata)
    return OffsetCommitRequestTopic(topic, partitions=[row])


@pytest.mark.parametrize("version", range(2, 10))
async def test_offsets_are_committed_in_every_version(node: Node, version: int) -> None:
    if version == 2:
        await node.create_topic("committed")
    answer = await node.ask(commit("g", at("committed", version)), version)
    assert only(answer.topics).error_code == 0
    topics = [OffsetFetchRequestTopics("committed", partition_indexes=[0])]
    asked = OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=topics)])
    row = only((await node.ask(asked, 9)).groups[0].topics)
    assert (row.error_code, row.committed_offset, row.metadata) == (0, version, "m")


@pytest.mark.parametrize("version", range(1, 8))
async def test_offsets_are_fetched_in_every_version(node: Node, version: int) -> None:
    if version == 1:
        await node.create_topic("fetched")
    await node.ask(commit("h", at("fetched", 5)), 9)
    asked = OffsetFetchRequest("h", [OffsetFetchRequestTopic("fetched", [0, 7])])
    answer = await node.ask(asked, version)
    rows = [(it.committed_offset, it.metadata) for it in answer.topics[0].partitions]
    assert rows == [(5, "m"), (-1, "")]
    assert [it.error_code for it in answer.topics[0].partitions] == [0, 0]


async def test_a_commit_to_what_does_not_exist_is_refused(node: Node) -> None:
    await node.create_topic("small")
    unknown = errors.UnknownTopicOrPartition
    for topic in (at("nowhere", 1), at("small", 1, partition=7)):
        answer = await node.ask(commit("g", topic), 9)
        assert refused(only(answer.topics)) is unknown
    by_id = OffsetCommitRequestTopic("", b"?" * 16, at("", 1).partitions)
    assert refused(only((await node.ask(commit("g", by_id), 10)).topics)) is errors.UnknownTopicId


async def test_a_commit_of_a_stranger_is_refused(node: Node) -> None:
    await node.create_topic("guarded")
    member_id = await stable(node, "guarded")

    async def code(member: str, generation: int, group: str = "guarded") -> type[errors.KafkaError]:
        request = commit(
            group, at("guarded", 1), member_id=member, generation_id_or_member_epoch=generation
        )
        return refused(only((await node.ask(request, 9)).topics))

    assert await code("nobody", 1) is errors.UnknownMemberId
    assert await code(member_id, 0) is errors.IllegalGeneration
    assert await code("", -1) is errors.UnknownMemberId
    assert await code(member_id, 1, "nowhere") is errors.GroupIdNotFound


async def test_metadata_of_an_offset_has_a_limit(node: Node) -> None:
    await node.create_topic("talkative")
    answer = await node.ask(commit("g", at("talkative", 1, metadata="x" * 5000)), 9)
    assert refused(only(answer.topics)) is errors.OffsetMetadataTooLarge


def forget(group: str, topic: str, partition: int = 0) -> OffsetDeleteRequest:
    row = OffsetDeleteRequestPartition(partition)
    return OffsetDeleteRequest(group, [OffsetDeleteRequestTopic(topic, [row])])


async def test_offsets_are_deleted_where_nobody_reads(node: Node) -> None:
    await node.create_topic("dropped")
    await node.ask(commit("dropping", at("dropped", 5)), 9)
    answer = await node.ask(forget("dropping", "dropped"))
    assert (answer.error_code, only(answer.topics).error_code) == (0, 0)
    unknown = await node.ask(forget("nowhere", "dropped"))
    assert refused(unknown) is errors.GroupIdNotFound


async def test_offsets_that_are_read_stay(node: Node) -> None:
    await node.create_topic("t")
    member_id = await stable(node, "reading")
    mine = commit("reading", at("t", 5), member_id=member_id, generation_id_or_member_epoch=1)
    assert only((await node.ask(mine, 9)).topics).error_code == 0
    answer = await node.ask(forget("reading", "t"))
    assert refused(only(answer.topics)) is errors.GroupSubscribedToTopic
    missing = await node.ask(forget("reading", "no-topic"))
    assert refused(only(missing.topics)) is errors.UnknownTopicOrPartition


# -- administration


@pytest.mark.parametrize("version", range(6))
async def test_groups_are_listed_in_every_version(node: Node, version: int) -> None:
    if version == 0:
        await stable(node, "listed")
    groups = {it.group_id: it for it in (await node.ask(ListGroupsRequest(), version)).groups}
    row = groups["listed"]
    assert row.protocol_type == "consumer"
    assert row.group_state == ("Stable" if version >= 4 else "")
    assert row.group_type == ("classic" if version >= 5 else "")


async def test_groups_are_listed_by_state_and_type(node: Node) -> None:
    await stable(node, "filtered")

    async def names(**filters: Any) -> set[str]:
        answer = await node.ask(ListGroupsRequest(**filters))
        return {it.group_id for it in answer.groups}

    assert "filtered" in await names(states_filter=["stable"], types_filter=["Classic"])
    assert "filtered" not in await names(states_filter=["Empty"])
    assert "filtered" not in await names(types_filter=["consumer"])
    assert await names(states_filter=["NoSuchState"]) == set()


@pytest.mark.parametrize("version", range(7))
async def test_groups_are_described_in_every_version(node: Node, version: int) -> None:
    if version == 0:
        await stable(node, "described")
    answer = await node.ask(DescribeGroupsRequest(["described", "nowhere"]), version)
    told = {it.group_id: it for it in answer.groups}
    group, missing = told["described"], told["nowhere"]
    assert (group.error_code, group.group_state, group.protocol_data) == (0, "Stable", "range")
    assert (group.protocol_type, len(group.members)) == ("consumer", 1)
    assert group.members[0].member_assignment == b"all"
    assert missing.group_state == "Dead"
    assert missing.error_code == (errors.GroupIdNotFound.code if version >= 6 else 0)


async def test_operations_are_told_to_those_who_ask(node: Node) -> None:
    await stable(node, "allowed")
    asked = DescribeGroupsRequest(["allowed"])
    assert (await node.ask(asked)).groups[0].authorized_operations == -(2**31)
    asked.include_authorized_operations = True
    bits = (await node.ask(asked)).groups[0].authorized_operations
    assert bits == 0b1101_0100_1000


@pytest.mark.parametrize("version", range(3))
async def test_groups_are_deleted_in_every_version(node: Node, version: int) -> None:
    busy, idle = f"busy{version}", f"idle{version}"
    await stable(node, busy)
    member_id = await stable(node, idle)
    await node.ask(LeaveGroupRequest(idle, members=[MemberIdentity(member_id)]))
    answer = await node.ask(DeleteGroupsRequest([busy, idle, "nowhere"]), version)
    told = {it.group_id: it.error_code for it in answer.results}
    assert told == {
        busy: errors.NonEmptyGroup.code,
        idle: 0,
        "nowhere": errors.GroupIdNotFound.code,
    }
