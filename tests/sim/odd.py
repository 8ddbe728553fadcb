"""Members of a group that do it all wrong: each mistake has its error, and disturbs nobody."""

from collections.abc import Callable, Sequence
from typing import Any

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
from automq.protocol.messages.sync_group_request import SyncGroupRequest
from automq.protocol.messages.sync_group_response import SyncGroupResponse
from sim.admin import find_coordinator
from sim.client import Client, Conversation, Lost
from sim.members import Group, subscription
from sim.truth import PartitionTruth
from sim.workload import Shop

STRANGER = "nobody-00000000-0000-0000-0000-000000000000"
OWN_GROUP = "odd"
"""A group of its own, which holds nothing that is checked."""
REFUSED = (
    errors.UnknownMemberId.code,
    errors.IllegalGeneration.code,
    errors.InconsistentGroupProtocol.code,
    errors.InvalidSessionTimeout.code,
    errors.GroupIdNotFound.code,
    errors.GroupMaxSizeReached.code,
    errors.FencedInstanceId.code,
    errors.RebalanceInProgress.code,
)
WEEK_MS = 7 * 86_400_000


class OddMember:
    """Asks as one that is no member, or no longer, of the group that others are in."""

    def __init__(self, shop: Shop, name: str, group: Group) -> None:
        self.shop = shop
        self.name = name
        self.group_id = group.group_id
        self.at: PartitionTruth = group.at
        self.chance = shop.chance(name)
        self.client = Client(shop.node, name)
        self.asks = [
            self._join_as_stranger,
            self._join_for_a_week,
            self._join_with_other_protocols,
            self._join_unread,
            self._sync,
            self._heartbeat,
            self._leave,
            self._commit,
            self._commit_for_a_while,
        ]

    async def run(self) -> None:
        await find_coordinator(self.client, self.group_id)
        while not self.shop.is_closing:
            await self.shop.think(self.chance)
            try:
                await self.chance.choice(self.asks)()
            except Lost:
                continue

    async def _refused(
        self,
        request: object,
        response: type[Any],
        version: int,
        code_of: Callable[[Any], int] = lambda answer: answer.error_code,
        *,
        may_be_fine: bool = False,
    ) -> None:
        """What is wrong is refused by an error that says so."""

        def check(conversation: Conversation, answer: Any) -> None:
            code = code_of(answer)
            if code == 0 and not may_be_fine:
                self.shop.complain(f"{self.name}: {type(request).__name__} was taken")
            elif code not in (0, *REFUSED):
                self.shop.check_error(f"{self.name}, {type(request).__name__}", conversation, code)

        await self.client.ask(request, response, version, within_s=30, check=check)

    def _join(
        self,
        group_id: str,
        *,
        member_id: str = "",
        session_ms: int = 10_000,
        protocol_type: str = "consumer",
        protocols: Sequence[JoinGroupRequestProtocol] = (),
    ) -> JoinGroupRequest:
        return JoinGroupRequest(
            group_id=group_id,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=1_000,
            member_id=member_id,
            protocol_type=protocol_type,
            protocols=list(protocols) or [JoinGroupRequestProtocol("range", subscription(["odd"]))],
        )

    async def _join_as_stranger(self) -> None:
        request = self._join(self.group_id, member_id=STRANGER)
        await self._refused(request, JoinGroupResponse, 9)

    async def _join_for_a_week(self) -> None:
        request = self._join(self.group_id, session_ms=WEEK_MS)
        await self._refused(request, JoinGroupResponse, 9)

    async def _join_with_other_protocols(self) -> None:
        """Where nobody is in the group it is told an id first, and forgotten."""
        request = self._join(
            self.group_id,
            protocol_type="connect",
            protocols=[JoinGroupRequestProtocol("sessioned", b"")],
        )
        known_first = errors.MemberIdRequired.code
        await self._refused(
            request,
            JoinGroupResponse,
            9,
            lambda it: 0 if it.error_code == known_first else it.error_code,
            may_be_fine=True,
        )

    async def _join_unread(self) -> None:
        """Its subscription cannot be read: nothing expires by it, and nobody minds."""
        data = bytes(self.chance.randrange(256) for _ in range(self.chance.randrange(12)))
        request = self._join(OWN_GROUP, protocols=[JoinGroupRequestProtocol("range", data)])
        await self._refused(request, JoinGroupResponse, 3, may_be_fine=True)

    async def _sync(self) -> None:
        request = SyncGroupRequest(
            group_id=self.chance.choice([self.group_id, OWN_GROUP, "nobody"]),
            generation_id=1,
            member_id=STRANGER,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[],
        )
        await self._refused(request, SyncGroupResponse, 5)

    async def _heartbeat(self) -> None:
        instance_id = self.chance.choice([None, "member-0", "nobody"])
        request = HeartbeatRequest(self.group_id, 1, STRANGER, instance_id)
        # A coordinator that is loading knows no better than to say yes.
        await self._refused(request, HeartbeatResponse, 4, may_be_fine=True)

    async def _leave(self) -> None:
        group_id = self.chance.choice([self.group_id, OWN_GROUP, "nobody"])
        instance_id = self.chance.choice([None, "nobody"])
        request = LeaveGroupRequest(group_id, members=[MemberIdentity(STRANGER, instance_id)])
        await self._refused(
            request,
            LeaveGroupResponse,
            4,
            lambda it: it.error_code or it.members[0].error_code,
        )

    async def _commit(self) -> None:
        """As a member of a generation; and as one of none, where there are members."""
        version = self.chance.choice([8, 9])
        request = self._offsets(self.group_id, generation=3, member_id=STRANGER)
        await self._refused(request, OffsetCommitResponse, version, _code_of_commit)

    async def _commit_for_a_while(self) -> None:
        """Old clients say themselves for how long an offset is good."""
        request = self._offsets(OWN_GROUP, generation=-1, member_id="")
        request.retention_time_ms = self.chance.choice([1_000, 60_000])
        await self._refused(request, OffsetCommitResponse, 4, _code_of_commit, may_be_fine=True)

    def _offsets(self, group_id: str, *, generation: int, member_id: str) -> OffsetCommitRequest:
        row = OffsetCommitRequestPartition(self.at.index, committed_offset=1)
        return OffsetCommitRequest(
            group_id=group_id,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            topics=[OffsetCommitRequestTopic(name=self.at.topic, partitions=[row])],
        )


def _code_of_commit(answer: OffsetCommitResponse) -> int:
    return answer.topics[0].partitions[0].error_code
