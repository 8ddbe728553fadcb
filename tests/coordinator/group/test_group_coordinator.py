"""What a broker holds: the right partition, the right shard, the right answer without one."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from automq.coordinator.group.classic import GroupState
from automq.coordinator.group.coordinator import GroupCoordinator, java_hash, partition_of
from automq.coordinator.group.replies import FetchTopic, JoinGroup, Leaving, OffsetToCommit
from automq.coordinator.group.settings import GroupSettings
from automq.protocol import errors
from automq.world import World
from support.groups import protocols
from support.shard_log import MemoryLog
from support.virtual_time import LoopClock, run_virtual


def request(group_id: str, member_id: str = "", group_instance_id: str | None = None) -> JoinGroup:
    return JoinGroup(
        group_id=group_id,
        member_id=member_id,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=protocols("range"),
        client_id="client",
        group_instance_id=group_instance_id,
    )


@asynccontextmanager
async def coordinating(*logs: MemoryLog) -> AsyncIterator[GroupCoordinator]:
    """A coordinator of two partitions that leads as many as there are logs."""
    world = World(clock=LoopClock(), chance=random.Random(1))
    settings = GroupSettings(initial_rebalance_delay_ms=0)
    coordinator = GroupCoordinator(world=world, partition_count=2, settings=settings)
    started = asyncio.Event()
    running = asyncio.ensure_future(coordinator.run(started=started))
    await started.wait()
    for partition, log in enumerate(logs):
        coordinator.lead(partition, leader_epoch=0, log=log)
    await asyncio.sleep(0.1)
    try:
        yield coordinator
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def on(partition: int) -> str:
    """A group of this partition, of two."""
    return next(name for name in "abcdef" if partition_of(name, 2) == partition)


def test_strings_are_hashed_as_java_does() -> None:
    assert java_hash("") == 0
    assert java_hash("hello") == 99162322
    assert java_hash("polygenelubricants") == -(2**31)
    assert java_hash("\N{GRINNING FACE}") == 1772899


def test_a_group_belongs_where_kafka_puts_it() -> None:
    assert partition_of("hello", 50) == 22
    assert partition_of("polygenelubricants", 50) == 0
    assert partition_of("console-consumer-1", 50) == abs(java_hash("console-consumer-1")) % 50


def test_two_members_share_a_group() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            asked = await groups.join(request("g"))
            assert isinstance(asked.error, errors.MemberIdRequired)
            assert asked.member_id.startswith("client-")
            leader = await groups.join(request("g", asked.member_id))
            assert leader.leader == leader.member_id
            synced = await groups.sync(
                group_id="g",
                member_id=leader.member_id,
                generation_id=1,
                assignments={leader.member_id: b"all"},
            )
            assert synced.assignment == b"all"
            await groups.heartbeat(group_id="g", member_id=leader.member_id, generation_id=1)
            assert await groups.leave(group_id="g", leaving=[Leaving(leader.member_id)]) == [0]

    run_virtual(story())


def test_an_instance_gives_its_name_to_the_member_id() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            joined = await groups.join(request("g", group_instance_id="i"))
            assert joined.member_id.startswith("i-")

    run_virtual(story())


def test_offsets_are_committed_and_fetched() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            to_commit = [OffsetToCommit("t", 0, 5)]
            assert await groups.commit_offsets(
                group_id="g", to_commit=to_commit, api_version=9
            ) == [0]
            (fetched,) = await groups.fetch_offsets(group_id="g", topics=[FetchTopic("t", (0,))])
            assert fetched.partitions[0].offset == 5
            assert await groups.delete_offsets(group_id="g", partitions=[("t", 0)]) == [0]
            assert await groups.fetch_offsets(group_id="g", topics=None) == []

    run_virtual(story())


def test_a_deleted_topic_is_forgotten_in_every_partition() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            for group_id in (on(0), on(1)):
                await groups.commit_offsets(
                    group_id=group_id, to_commit=[OffsetToCommit("t", 0, 5)], api_version=9
                )
            await groups.forget_topics([("t", bytes(16))])
            assert await groups.fetch_offsets(group_id=on(0), topics=None) == []
            assert await groups.fetch_offsets(group_id=on(1), topics=None) == []

    run_virtual(story())


def test_groups_elsewhere_are_refused_one_by_one() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog()) as groups:
            here, there = on(0), on(1)
            await groups.commit_offsets(
                group_id=here, to_commit=[OffsetToCommit("t", 0, 5)], api_version=9
            )
            with pytest.raises(errors.NotCoordinator, match="__consumer_offsets-1"):
                await groups.join(request(there))
            described = await groups.describe_groups(group_ids=[there, here], api_version=6)
            assert [group.group_id for group in described] == [there, here]
            assert isinstance(described[0].error, errors.NotCoordinator)
            assert described[1].state is GroupState.EMPTY
            deleted = await groups.delete_groups(group_ids=[there, here])
            assert deleted == [errors.NotCoordinator.code, 0]

    run_virtual(story())


def test_an_empty_group_id_may_hold_offsets_but_no_members() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            with pytest.raises(errors.InvalidGroupId):
                await groups.join(request(""))
            with pytest.raises(errors.InvalidGroupId):
                await groups.heartbeat(group_id="", member_id="m", generation_id=1)
            with pytest.raises(errors.InvalidGroupId):
                await groups.delete_offsets(group_id="", partitions=[])
            to_commit = [OffsetToCommit("t", 0, 5)]
            assert await groups.commit_offsets(group_id="", to_commit=to_commit, api_version=9) == [
                0
            ]

    run_virtual(story())


def test_while_it_loads_heartbeats_are_fine_and_the_rest_is_told_so() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.read_gate = asyncio.Event()
        async with coordinating(log) as groups:
            await groups.heartbeat(group_id=on(0), member_id="m", generation_id=1)
            with pytest.raises(errors.CoordinatorLoadInProgress):
                await groups.join(request(on(0)))
            with pytest.raises(errors.CoordinatorLoadInProgress):
                await groups.list_groups()

    run_virtual(story())


def test_what_one_leader_stored_the_next_one_knows() -> None:
    async def story() -> None:
        log = MemoryLog()
        async with coordinating(log) as groups:
            await groups.commit_offsets(
                group_id=on(0), to_commit=[OffsetToCommit("t", 0, 5)], api_version=9
            )
            groups.resign(0)
            with pytest.raises(errors.NotCoordinator):
                await groups.fetch_offsets(group_id=on(0), topics=None)
            groups.lead(0, leader_epoch=2, log=log)
            await asyncio.sleep(0.1)
            (fetched,) = await groups.fetch_offsets(group_id=on(0), topics=None)
            assert fetched.partitions[0].offset == 5

    run_virtual(story())


def test_late_news_of_leadership_changes_nothing() -> None:
    async def story() -> None:
        log = MemoryLog()
        async with coordinating() as groups:
            groups.lead(0, leader_epoch=5, log=log)
            groups.lead(0, leader_epoch=4, log=MemoryLog())
            groups.resign(0, leader_epoch=4)
            await asyncio.sleep(0.1)
            await groups.commit_offsets(
                group_id=on(0), to_commit=[OffsetToCommit("t", 0, 5)], api_version=9
            )
            assert log.stored

    run_virtual(story())


def test_resigning_sends_waiting_members_away() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            joined = await groups.join(request("g", group_instance_id="i"))
            waiting = asyncio.ensure_future(groups.join(request("g", group_instance_id="j")))
            await asyncio.sleep(0.1)
            assert joined.generation_id == 1
            groups.resign(groups.partition_of("g"))
            with pytest.raises(errors.NotCoordinator):
                await waiting

    run_virtual(story())


def test_sessions_end_on_the_shards_own_clock() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            joined = await groups.join(request("g", group_instance_id="i"))
            await groups.sync(
                group_id="g", member_id=joined.member_id, generation_id=1, assignments={}
            )
            await asyncio.sleep(11)
            with pytest.raises(errors.UnknownMemberId):
                await groups.heartbeat(group_id="g", member_id=joined.member_id, generation_id=1)
            (group,) = await groups.list_groups(states=["Empty"], types=["classic"])
            assert group.group_id == "g"

    run_virtual(story())


def test_leaving_a_group_that_does_not_exist_says_so_for_each() -> None:
    async def story() -> None:
        async with coordinating(MemoryLog(), MemoryLog()) as groups:
            codes = await groups.leave(group_id="g", leaving=[Leaving("a"), Leaving("b")])
            assert codes == [25, 25]

    run_virtual(story())
