"""A classic group and its members (the JoinGroup protocol), as values that commands redraft.

A `ClassicGroup` in `Groups.live` is never changed in place: a command works on a `copy()` and its
decision puts the copy there. The names of states are Kafka's, as clients see them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from automq.coordinator.group.subscription import subscribed_topics
from automq.coordinator.machine import Token
from automq.protocol import errors

CONSUMER_PROTOCOL_TYPE = "consumer"


class GroupState(StrEnum):
    """Where a group stands between two generations."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(frozen=True, slots=True)
class MemberProtocol:
    """One assignment strategy that a member supports, with what it tells the leader."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a generation, or one that joins the next. Tokens and `is_new` are soft."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocols: tuple[MemberProtocol, ...]
    assignment: bytes = b""
    join_token: Token | None = None
    sync_token: Token | None = None
    is_new: bool = False

    @property
    def is_static(self) -> bool:
        return self.group_instance_id is not None

    def metadata(self, protocol_name: str | None) -> bytes:
        """What the member said about this strategy; empty if it does not support it."""
        return next((p.metadata for p in self.protocols if p.name == protocol_name), b"")

    def satisfies_heartbeat(self) -> bool:
        """Whoever waits for a rebalance need not send heartbeats, unless it never finished one."""
        return not self.is_new and (self.join_token is not None or self.sync_token is not None)

    def vote(self, candidates: frozenset[str]) -> str:
        """The first of the member's strategies that everyone supports."""
        return next(p.name for p in self.protocols if p.name in candidates)


@dataclass(slots=True, kw_only=True)
class ClassicGroup:
    """All of a group but its offsets. `protocol_type` is None for a group that only has those.

    `initial_until_ms` is set during the first rebalance after the group was empty: the monotonic
    time up to which members that keep coming may hold it up.
    """

    group_id: str
    state: GroupState = GroupState.EMPTY
    state_timestamp_ms: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = None
    generation_id: int = 0
    leader_id: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    pending_joins: set[str] = field(default_factory=set)
    pending_syncs: set[str] = field(default_factory=set)
    topics: frozenset[str] | None = None
    initial_until_ms: int | None = None
    awaiting_joins: int = 0
    protocol_support: Counter[str] = field(default_factory=Counter)

    def copy(self) -> ClassicGroup:
        """A draft that shares nothing which a command may change."""
        return ClassicGroup(
            group_id=self.group_id,
            state=self.state,
            state_timestamp_ms=self.state_timestamp_ms,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            generation_id=self.generation_id,
            leader_id=self.leader_id,
            members=dict(self.members),
            static_members=dict(self.static_members),
            pending_joins=set(self.pending_joins),
            pending_syncs=set(self.pending_syncs),
            topics=self.topics,
            initial_until_ms=self.initial_until_ms,
            awaiting_joins=self.awaiting_joins,
            protocol_support=Counter(self.protocol_support),
        )

    # -- questions

    def uses_consumer_protocol(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    def in_initial_rebalance(self) -> bool:
        """Whether the rebalance under way is the first after the group was empty."""
        return self.state is GroupState.PREPARING_REBALANCE and self.initial_until_ms is not None

    def has_all_joined(self) -> bool:
        return len(self.members) == self.awaiting_joins and not self.pending_joins

    def rebalance_timeout_ms(self) -> int:
        """The longest that a member asked for."""
        return max((m.rebalance_timeout_ms for m in self.members.values()), default=0)

    def supports(self, protocol_type: str, protocols: Iterable[MemberProtocol]) -> bool:
        """Whether a member that offers these could take part."""
        if self.state is GroupState.EMPTY:
            return bool(protocol_type) and any(True for _ in protocols)
        size = len(self.members)
        return self.protocol_type == protocol_type and any(
            self.protocol_support[p.name] == size for p in protocols
        )

    def check_member(self, member_id: str, group_instance_id: str | None) -> Member:
        """The member. Raises UnknownMemberId, or FencedInstanceId for a replaced static member."""
        if group_instance_id is not None:
            current_id = self.static_members.get(group_instance_id)
            if current_id is None:
                raise errors.UnknownMemberId(
                    f"group {self.group_id} has no member with instance id {group_instance_id}"
                )
            if current_id != member_id:
                raise errors.FencedInstanceId(
                    f"{group_instance_id} of group {self.group_id} is now {current_id}, "
                    f"not {member_id}"
                )
        member = self.members.get(member_id)
        if member is None:
            raise errors.UnknownMemberId(f"group {self.group_id} has no member {member_id}")
        return member

    def check_generation(self, generation_id: int) -> None:
        """Raises IllegalGeneration."""
        if generation_id != self.generation_id:
            raise errors.IllegalGeneration(
                f"group {self.group_id} is at generation {self.generation_id}, not {generation_id}"
            )

    def is_subscribed_to(self, topic: str) -> bool:
        """Also when the subscriptions of a consumer group cannot be read."""
        if self.topics is None:
            return self.uses_consumer_protocol()
        return topic in self.topics

    # -- changes of a draft

    def move_to(self, state: GroupState, *, wall_ms: int) -> None:
        self.state = state
        self.state_timestamp_ms = wall_ms

    def put(self, member: Member) -> None:
        """Add a member, or replace the one with its id."""
        self._forget_counts(self.members.get(member.member_id))
        self.members[member.member_id] = member
        self.protocol_support.update({p.name for p in member.protocols})
        self.awaiting_joins += member.join_token is not None
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.pending_joins.discard(member.member_id)

    def remove(self, member_id: str) -> None:
        """Forget a member or a pending one; the longest-standing member succeeds a leader."""
        member = self.members.pop(member_id, None)
        self._forget_counts(member)
        if member is not None and member.group_instance_id is not None:
            del self.static_members[member.group_instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_joins.discard(member_id)
        self.pending_syncs.discard(member_id)

    def replace(self, old_id: str, member: Member) -> None:
        """Give a static member its new id, and with it its place and its leadership."""
        was_leader = self.leader_id == old_id
        self.remove(old_id)
        self.put(member)
        if was_leader:
            self.leader_id = member.member_id

    def elect_joined_leader(self) -> bool:
        """Make sure that a member which waits for the rebalance leads; False if none does."""
        leader = self.members.get(self.leader_id) if self.leader_id is not None else None
        if leader is not None and leader.join_token is not None:
            return True
        joined = (m.member_id for m in self.members.values() if m.join_token is not None)
        successor = next(joined, None)
        if successor is not None:
            self.leader_id = successor
        return successor is not None

    def select_protocol(self) -> str:
        """The strategy with the most votes among those that every member supports."""
        size = len(self.members)
        candidates = frozenset(name for name, n in self.protocol_support.items() if n == size)
        votes = Counter(member.vote(candidates) for member in self.members.values())
        return max(votes, key=votes.__getitem__)

    def read_topics(self) -> None:
        """Learn from the members' metadata which topics the group reads; None if unknown."""
        self.topics = None
        if not self.uses_consumer_protocol():
            return
        if not self.members:
            self.topics = frozenset()
        elif self.protocol_name is not None:
            self.topics = subscribed_topics(
                m.metadata(self.protocol_name) for m in self.members.values()
            )

    def _forget_counts(self, member: Member | None) -> None:
        if member is None:
            return
        self.protocol_support.subtract({p.name for p in member.protocols})
        self.awaiting_joins -= member.join_token is not None
