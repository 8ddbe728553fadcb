"""Members of a classic group: they join, are assigned partitions, commit, leave and come back."""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from automq.protocol import errors
from automq.protocol.messages.heartbeat_request import HeartbeatRequest
from automq.protocol.messages.heartbeat_response import HeartbeatResponse
from automq.protocol.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from automq.protocol.messages.join_group_response import JoinGroupResponse
from automq.protocol.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from automq.protocol.messages.leave_group_response import LeaveGroupResponse
from automq.protocol.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from automq.protocol.messages.offset_commit_response import OffsetCommitResponse
from automq.protocol.messages.sync_group_request import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from automq.protocol.messages.sync_group_response import SyncGroupResponse
from sim.admin import find_coordinator
from sim.client import Client, Conversation, Lost
from sim.truth import PartitionTruth
from sim.workload import Shop

SHARES = 6
"""What the members of a group divide among themselves: numbers from 0 on."""
EXPECTED = (
    errors.UnknownMemberId.code,
    errors.IllegalGeneration.code,
    errors.RebalanceInProgress.code,
    errors.MemberIdRequired.code,
    errors.FencedInstanceId.code,
    errors.GroupMaxSizeReached.code,
    # After a restart members are known with the protocol that was selected, as in Apache Kafka.
    errors.InconsistentGroupProtocol.code,
)
FORGOTTEN = (errors.UnknownMemberId.code, errors.FencedInstanceId.code)
SHORTEST_SESSION_MS, LONGEST_METADATA = 6_000, 4_096
ABSENT_S = (5, 20)
"""How long a member that is carried away says nothing: longer than some sessions."""


def subscription(topics: Sequence[str]) -> bytes:
    """What a consumer says it reads: version 0 of its protocol, without user data."""
    names = b"".join(struct.pack(">h", len(it)) + it.encode() for it in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


@dataclass(slots=True)
class Group:
    """What its members were told."""

    group_id: str
    at: PartitionTruth
    is_forgotten: bool = False
    """It may expire when nobody is in it, and begins again at generation 1."""
    has_offset: bool = False
    """An offset was committed. A group without one is forgotten as soon as it is empty."""
    stable_generation: int = -1
    """The newest generation whose assignment somebody was given."""
    owners: dict[tuple[int, int], str] = field(default_factory=dict)
    """Who owns a share in a generation."""
    deletes: list[Conversation] = field(default_factory=list)
    """Where somebody has asked to delete it, and may yet succeed."""

    @property
    def is_lasting(self) -> bool:
        """Whether what its members were told before still holds."""
        for asked in list(self.deletes):
            if not asked.incarnation.is_alive:
                # Whatever came of it: nobody is left who could still do it.
                self.note_deleted(asked)
        return self.has_offset and not self.is_forgotten and not self.deletes

    def note_deleted(self, asked: Conversation) -> None:
        """It was deleted, or may have been: it begins again at generation 1, without offsets."""
        self.deletes.remove(asked)
        self.has_offset = False
        self.stable_generation = -1
        self.owners.clear()


class Member:
    """One member. It takes part until the run closes, with breaks."""

    def __init__(self, shop: Shop, name: str, group: Group) -> None:
        self.shop = shop
        chance = shop.chance(f"{name} manners")
        self.instance_id = name if chance.random() < 0.3 else None
        self.protocols = ["range"] if chance.random() < 0.7 else ["roundrobin", "range"]
        self.topics = chance.choice([["plain"], ["plain", "deleted"]])
        self.rebalance_timeout_ms = chance.choice([1_000, 10_000])
        self.name = name
        self.group = group
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)
        self.member_id = ""
        self.generation = -1
        self.commits = 0

    async def run(self) -> None:
        await find_coordinator(self.client, self.group.group_id)
        while not self.shop.is_closing:
            try:
                if self.generation < 0:
                    await self._join()
                else:
                    await self._take_part()
            except Lost:
                await asyncio.sleep(self.chance.uniform(0, 0.5))

    async def _take_part(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.1, 1.5))
        kind = self.chance.random()
        if kind < 0.05:
            await self._leave()
        elif kind < 0.08:
            await asyncio.sleep(self.chance.uniform(*ABSENT_S))
        elif kind < 0.12 and self.instance_id is not None:
            self.member_id, self.generation = "", -1  # started again, under its old name
        elif kind < 0.45:
            await self._commit()
        else:
            await self._heartbeat()

    async def _join(self) -> None:
        stable = self.group.stable_generation
        request = JoinGroupRequest(
            group_id=self.group.group_id,
            session_timeout_ms=self.chance.choice([SHORTEST_SESSION_MS, 30_000]),
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type="consumer",
            protocols=[
                JoinGroupRequestProtocol(it, subscription(self.topics)) for it in self.protocols
            ],
        )
        conversation = await self.client.conversation()
        version = self.chance.choice([7, 9])
        joined = await self.client.ask(request, JoinGroupResponse, version, within_s=30)
        if joined.error_code != 0:
            if joined.error_code == errors.MemberIdRequired.code:
                self.member_id = joined.member_id
            else:
                self._heed(conversation, joined.error_code)
                await asyncio.sleep(0.2)
            return
        is_back = joined.generation_id < stable and self.group.is_lasting
        if conversation.is_current and is_back:
            self.shop.complain(
                f"{self.name}: joined generation {joined.generation_id}, after {stable}"
            )
        self.member_id = joined.member_id
        if self.chance.random() < 0.05:
            await asyncio.sleep(self.chance.uniform(*ABSENT_S))
        await self._sync(joined)

    async def _sync(self, joined: JoinGroupResponse) -> None:
        ids = sorted(member.member_id for member in joined.members)
        if joined.skip_assignment:
            ids = []
        shares: dict[str, list[int]] = {member_id: [] for member_id in ids}
        for share in range(SHARES if ids else 0):
            shares[ids[share % len(ids)]].append(share)
        request = SyncGroupRequest(
            group_id=self.group.group_id,
            generation_id=joined.generation_id,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type="consumer",
            protocol_name=joined.protocol_name,
            assignments=[SyncGroupRequestAssignment(it, bytes(own)) for it, own in shares.items()],
        )
        conversation = await self.client.conversation()
        synced = await self.client.ask(request, SyncGroupResponse, 5, within_s=30)
        if synced.error_code != 0:
            self._heed(conversation, synced.error_code)
            return
        self.generation = joined.generation_id
        self._note_owned(list(synced.assignment))

    def _note_owned(self, shares: list[int]) -> None:
        """No two members own the same in one generation, whatever happened to the coordinator."""
        group = self.group
        if not group.is_lasting:
            return
        me = self.instance_id or self.member_id
        group.stable_generation = max(group.stable_generation, self.generation)
        for share in shares:
            owner = group.owners.setdefault((self.generation, share), me)
            if owner != me:
                self.shop.complain(
                    f"{group.group_id}: {owner} and {me} own {share} in generation "
                    f"{self.generation}"
                )

    async def _heartbeat(self) -> None:
        request = HeartbeatRequest(
            self.group.group_id, self.generation, self.member_id, self.instance_id
        )
        conversation = await self.client.conversation()
        response = await self.client.ask(request, HeartbeatResponse, 4)
        if response.error_code != 0:
            self._heed(conversation, response.error_code)

    async def _commit(self) -> None:
        self.commits += 1
        is_too_long = self.chance.random() < 0.05
        row = OffsetCommitRequestPartition(
            self.group.at.index,
            committed_offset=self.commits,
            committed_metadata="x" * (LONGEST_METADATA + 1) if is_too_long else "",
        )
        request = OffsetCommitRequest(
            group_id=self.group.group_id,
            generation_id_or_member_epoch=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            topics=[OffsetCommitRequestTopic(name=self.group.at.topic, partitions=[row])],
        )
        conversation = await self.client.conversation()
        response = await self.client.ask(request, OffsetCommitResponse, 8)
        code = response.topics[0].partitions[0].error_code
        if is_too_long and code == errors.OffsetMetadataTooLarge.code:
            return
        if code != 0:
            self._heed(conversation, code)
        elif conversation.is_current:
            self.group.has_offset = True

    async def _leave(self) -> None:
        request = LeaveGroupRequest(
            group_id=self.group.group_id,
            members=[MemberIdentity(self.member_id, self.instance_id)],
        )
        self.member_id, self.generation = "", -1
        await self.client.ask(request, LeaveGroupResponse, 4)
        await asyncio.sleep(self.chance.uniform(0, 5))

    def _heed(self, conversation: Conversation, code: int) -> None:
        """Join again, as a client does; with a new name if the old one is not known any more."""
        if code in FORGOTTEN:
            self.member_id = ""
        if code in EXPECTED:
            self.generation = -1
        else:
            self.shop.check_error(self.name, conversation, code)
