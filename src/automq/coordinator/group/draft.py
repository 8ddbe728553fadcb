"""A command at work: it reads the machine, changes nothing of it, and gathers what will change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from automq.coordinator.group.classic import ClassicGroup, GroupState, Member, MemberProtocol
from automq.coordinator.group.records import GroupRecord, GroupStored, StoredMember
from automq.coordinator.group.timers import TimerKey, TimerKind
from automq.coordinator.machine import Change, Decision, Moment, Token, Waiting
from automq.protocol import errors

if TYPE_CHECKING:
    from automq.coordinator.group.machine import Groups

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class GroupMoved:
    """Soft: this is what the group looks like between its records. None: there is none."""

    group_id: str
    group: ClassicGroup | None

    def apply(self, groups: Groups) -> None:
        if self.group is None:
            groups.live.pop(self.group_id, None)
        else:
            groups.live[self.group_id] = self.group


@dataclass(frozen=True, slots=True)
class TimerMoved:
    """Soft: a deadline is set (monotonic milliseconds), or None cancels it."""

    key: TimerKey
    at_ms: int | None

    def apply(self, groups: Groups) -> None:
        if self.at_ms is None:
            groups.timers.cancel(self.key)
        else:
            groups.timers.set_at(self.key, self.at_ms)


@dataclass(frozen=True, slots=True)
class ExpiryQueued:
    """Soft: the groups whose offsets this round of expiry has yet to look at."""

    group_ids: tuple[str, ...]

    def apply(self, groups: Groups) -> None:
        groups.expiry_queue = self.group_ids


class Draft:
    """The state as it will be. Reads fall through to the machine, writes stay here."""

    def __init__(self, groups: Groups, now: Moment, token: Token | None = None) -> None:
        self.groups = groups
        self.now = now
        self.settings = groups.settings
        self.records: list[GroupRecord] = []
        self.soft: list[Change[Groups]] = []
        self._token = token
        self._own_reply: object = None
        self._touched: dict[str, ClassicGroup | None] = {}
        self._timers: dict[TimerKey, int | None] = {}
        self._released: list[tuple[Token, object]] = []

    # -- groups

    def peek(self, group_id: str) -> ClassicGroup | None:
        """The group as it is, for reading only."""
        if group_id in self._touched:
            return self._touched[group_id]
        return self.groups.live.get(group_id)

    def group(self, group_id: str) -> ClassicGroup | None:
        """The group, to be changed."""
        group = self.peek(group_id)
        if group is not None and group_id not in self._touched:
            group = self._touched[group_id] = group.copy()
        return group

    def existing(self, group_id: str) -> ClassicGroup:
        """The group as it is, for reading only. Raises GroupIdNotFound."""
        group = self.peek(group_id)
        if group is None:
            raise errors.GroupIdNotFound(f"Group {group_id} not found.")
        return group

    def create(self, group_id: str) -> ClassicGroup:
        """A new, empty group."""
        group = ClassicGroup(group_id=group_id, state_timestamp_ms=self.now.wall_ms)
        self._touched[group_id] = group
        return group

    def adopt(self, group: ClassicGroup) -> None:
        """A group made from its record takes its place."""
        self._touched[group.group_id] = group

    def drop(self, group_id: str) -> None:
        """Forget the soft state of a group whose tombstone is among the records."""
        group = self.peek(group_id)
        if group is not None:
            for member_id in (*group.members, *group.pending_joins):
                self.cancel(TimerKey(TimerKind.SESSION, group_id, member_id))
        self.cancel(TimerKey(TimerKind.JOIN, group_id))
        self.cancel(TimerKey(TimerKind.SYNC, group_id))
        self._touched[group_id] = None

    def store(self, group: ClassicGroup) -> None:
        """Add the record of the group as it is in this draft."""
        self.records.append(stored_group(group))

    # -- deadlines

    def schedule(self, key: TimerKey, delay_ms: int) -> None:
        self._timers[key] = self.now.mono_ms + delay_ms

    def cancel(self, key: TimerKey) -> None:
        self._timers[key] = None

    def is_due(self, key: TimerKey) -> bool:
        """Whether this deadline still stands and has passed, counting what this draft changed."""
        at_ms = self._timers.get(key, self.groups.timers.at_ms.get(key))
        return at_ms is not None and at_ms <= self.now.mono_ms

    def renew_session(self, group: ClassicGroup, member: Member) -> None:
        key = TimerKey(TimerKind.SESSION, group.group_id, member.member_id)
        self.schedule(key, member.session_timeout_ms)

    # -- replies

    def release(self, token: Token | None, reply: object) -> None:
        """Answer a caller that waits; nothing for None."""
        if token is None:
            return
        if token == self._token:
            self._own_reply = reply
        else:
            self._released.append((token, reply))

    def wait(self) -> Decision[Groups, object]:
        """Decide now, answer later: unless this very command released its own token."""
        assert self._token is not None
        reply = Waiting(self._token) if self._own_reply is None else self._own_reply
        return self.decide(reply)

    def decide(self, reply: R | Waiting | errors.KafkaError) -> Decision[Groups, R]:
        moves: list[Change[Groups]] = [
            GroupMoved(id_, group) for id_, group in self._touched.items()
        ]
        moves += [TimerMoved(key, at_ms) for key, at_ms in self._timers.items()]
        return Decision(reply, self.records, moves + self.soft, self._released)


def stored_group(group: ClassicGroup) -> GroupStored:
    """The record of a group. Members that wait to join are written as what they were."""
    members = tuple(
        StoredMember(
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            session_timeout_ms=member.session_timeout_ms,
            subscription=member.metadata(group.protocol_name),
            assignment=member.assignment,
        )
        for member in group.members.values()
    )
    return GroupStored(
        group_id=group.group_id,
        protocol_type=group.protocol_type or "",
        generation_id=group.generation_id,
        protocol_name=group.protocol_name,
        leader_id=group.leader_id,
        state_timestamp_ms=group.state_timestamp_ms,
        members=members,
    )


def loaded_group(stored: GroupStored) -> ClassicGroup:
    """The group that a record describes: stable with its members, or empty."""
    group = ClassicGroup(
        group_id=stored.group_id,
        state=GroupState.STABLE if stored.members else GroupState.EMPTY,
        state_timestamp_ms=stored.state_timestamp_ms,
        protocol_type=stored.protocol_type or None,
        protocol_name=stored.protocol_name,
        generation_id=stored.generation_id,
        leader_id=stored.leader_id,
    )
    for member in stored.members:
        protocol = MemberProtocol(stored.protocol_name or "", member.subscription)
        group.put(
            Member(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout_ms=member.rebalance_timeout_ms,
                session_timeout_ms=member.session_timeout_ms,
                protocols=(protocol,),
                assignment=member.assignment,
            )
        )
    group.read_topics()
    return group
