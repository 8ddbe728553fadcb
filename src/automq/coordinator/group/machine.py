"""The groups of one `__consumer_offsets` partition. Pure: no clock, no chance, no await.

`stored` and `offsets` are what the log says, changed by records only. `live` is what happens
between records (who waits, who is late); a load starts it from `stored`. Semantics are those of
Apache Kafka 4.3's classic groups; each command names the errors that it raises.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from automq.coordinator.group import admin, membership, offsets, rebalance
from automq.coordinator.group.classic import ClassicGroup, GroupState
from automq.coordinator.group.draft import Draft, ExpiryQueued, loaded_group
from automq.coordinator.group.join import join
from automq.coordinator.group.offsets import DEFAULT_RETENTION
from automq.coordinator.group.records import CommittedOffset, GroupRecord, GroupStored, parse_record
from automq.coordinator.group.replies import (
    DescribedGroup,
    FetchedTopic,
    FetchTopic,
    JoinGroup,
    Leaving,
    ListedGroup,
    OffsetToCommit,
)
from automq.coordinator.group.settings import GroupSettings
from automq.coordinator.group.timers import TimerKey, TimerKind, Timers
from automq.coordinator.machine import Decision, Moment, Token

R = TypeVar("R")
GroupDecision: TypeAlias = Decision["Groups", R]

RESUMED_GROUPS_MAX = 200
TICK_TIMERS_MAX = 500
TICK_EXPIRING_GROUPS_MAX = 200
EXPIRY_KEY = TimerKey(TimerKind.EXPIRY)


@dataclass(slots=True)
class Groups:
    """All groups of the partition and their offsets."""

    settings: GroupSettings = field(default_factory=GroupSettings)
    stored: dict[str, GroupStored] = field(default_factory=dict)
    offsets: dict[str, dict[str, dict[int, CommittedOffset]]] = field(default_factory=dict)
    live: dict[str, ClassicGroup] = field(default_factory=dict)
    timers: Timers = field(default_factory=Timers)
    expiry_queue: tuple[str, ...] = ()

    # -- loading

    def parse(self, key: bytes, value: bytes | None) -> GroupRecord | None:
        """The record of these bytes; None for a type that a newer Kafka writes."""
        return parse_record(key, value)

    def resume(self, now: Moment) -> Iterator[GroupDecision[None]]:
        """Every loaded member gets a full session; a group over its size limit rebalances."""
        group_ids = list(dict.fromkeys((*self.stored, *self.offsets)))
        for at in range(0, len(group_ids), RESUMED_GROUPS_MAX):
            draft = Draft(self, now)
            for group_id in group_ids[at : at + RESUMED_GROUPS_MAX]:
                self._resume_one(draft, group_id)
            yield draft.decide(None)
        draft = Draft(self, now)
        draft.schedule(EXPIRY_KEY, self.settings.offsets_retention_check_interval_ms)
        yield draft.decide(None)

    def _resume_one(self, draft: Draft, group_id: str) -> None:
        stored = self.stored.get(group_id)
        if stored is None:
            draft.create(group_id)
            return
        group = loaded_group(stored)
        draft.adopt(group)
        for member in group.members.values():
            draft.renew_session(group, member)
        if len(group.members) > self.settings.max_size:
            rebalance.prepare_rebalance(draft, group)

    # -- members

    def join(
        self, request: JoinGroup, *, new_member_id: str, token: Token, now: Moment
    ) -> GroupDecision[object]:
        """JoinGroup: `Joined` now, or when the rebalance is complete."""
        draft = Draft(self, now, token)
        join(draft, request, new_member_id=new_member_id, token=token)
        return draft.wait()

    def sync(
        self,
        *,
        group_id: str,
        member_id: str,
        group_instance_id: str | None = None,
        generation_id: int,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
        assignments: dict[str, bytes] | None = None,
        token: Token,
        now: Moment,
    ) -> GroupDecision[object]:
        """SyncGroup: `Synced` now, or when the leader's assignment has come."""
        draft = Draft(self, now, token)
        membership.sync(
            draft,
            group_id=group_id,
            member_id=member_id,
            group_instance_id=group_instance_id,
            generation_id=generation_id,
            protocol_type=protocol_type,
            protocol_name=protocol_name,
            assignments=assignments or {},
            token=token,
        )
        return draft.wait()

    def heartbeat(
        self,
        *,
        group_id: str,
        member_id: str,
        group_instance_id: str | None = None,
        generation_id: int,
        now: Moment,
    ) -> GroupDecision[None]:
        """Heartbeat: nothing, or RebalanceInProgress (which prolongs the session all the same)."""
        draft = Draft(self, now)
        error = membership.heartbeat(
            draft,
            group_id=group_id,
            member_id=member_id,
            group_instance_id=group_instance_id,
            generation_id=generation_id,
        )
        return draft.decide(error)

    def leave(
        self, *, group_id: str, leaving: list[Leaving], now: Moment
    ) -> GroupDecision[list[int]]:
        """LeaveGroup: an error code for each. Raises UnknownMemberId without such a group."""
        draft = Draft(self, now)
        return draft.decide(membership.leave(draft, group_id=group_id, leaving=leaving))

    # -- offsets

    def commit_offsets(
        self,
        *,
        group_id: str,
        member_id: str = "",
        group_instance_id: str | None = None,
        generation_id: int = -1,
        retention_ms: int = DEFAULT_RETENTION,
        to_commit: list[OffsetToCommit],
        api_version: int,
        now: Moment,
    ) -> GroupDecision[list[int]]:
        """OffsetCommit: an error code for each offset. See `offsets.commit` for what it raises."""
        draft = Draft(self, now)
        codes = offsets.commit(
            draft,
            group_id=group_id,
            member_id=member_id,
            group_instance_id=group_instance_id,
            generation_id=generation_id,
            retention_ms=retention_ms,
            offsets=to_commit,
            api_version=api_version,
        )
        return draft.decide(codes)

    def fetch_offsets(
        self, *, group_id: str, topics: list[FetchTopic] | None, now: Moment
    ) -> GroupDecision[list[FetchedTopic]]:
        """OffsetFetch: offsets of these topics, or of all (None)."""
        draft = Draft(self, now)
        if topics is None:
            return draft.decide(offsets.fetch_all(draft, group_id=group_id))
        return draft.decide(offsets.fetch(draft, group_id=group_id, topics=topics))

    def delete_offsets(
        self, *, group_id: str, partitions: list[tuple[str, int]], now: Moment
    ) -> GroupDecision[list[int]]:
        """OffsetDelete: an error code for each. Raises GroupIdNotFound, NonEmptyGroup."""
        draft = Draft(self, now)
        return draft.decide(offsets.delete(draft, group_id=group_id, partitions=partitions))

    def forget_topics(self, topics: list[tuple[str, bytes]], now: Moment) -> GroupDecision[None]:
        """Topics (name, id) were deleted: so are the offsets in them."""
        draft = Draft(self, now)
        offsets.forget_topics(draft, topics)
        return draft.decide(None)

    # -- tools

    def list_groups(
        self, *, states: Collection[str] = (), types: Collection[str] = (), now: Moment
    ) -> GroupDecision[list[ListedGroup]]:
        """ListGroups."""
        draft = Draft(self, now)
        return draft.decide(admin.list_groups(draft, states=states, types=types))

    def describe(
        self, *, group_ids: list[str], api_version: int, now: Moment
    ) -> GroupDecision[list[DescribedGroup]]:
        """DescribeGroups."""
        draft = Draft(self, now)
        return draft.decide(admin.describe(draft, group_ids=group_ids, api_version=api_version))

    def delete_groups(self, *, group_ids: list[str], now: Moment) -> GroupDecision[list[int]]:
        """DeleteGroups: an error code for each."""
        draft = Draft(self, now)
        return draft.decide(admin.delete_groups(draft, group_ids=group_ids))

    # -- time

    def wake_at_ms(self) -> int | None:
        """When the first deadline passes (monotonic)."""
        return self.timers.next_ms()

    def tick(self, now: Moment) -> GroupDecision[None]:
        """Act on deadlines that have passed, a bounded number of them at a time."""
        draft = Draft(self, now)
        for key in self.timers.due(now.mono_ms, count_max=TICK_TIMERS_MAX):
            if draft.is_due(key):
                draft.cancel(key)
                self._expire(draft, key)
        return draft.decide(None)

    def _expire(self, draft: Draft, key: TimerKey) -> None:
        if key.kind is TimerKind.EXPIRY:
            self._expire_offsets(draft)
            return
        group = draft.group(key.group_id)
        if group is None:
            return
        if key.kind is TimerKind.SESSION:
            rebalance.session_expired(draft, group, key.member_id)
        elif key.kind is TimerKind.SYNC:
            rebalance.sync_expired(draft, group)
        elif group.state is GroupState.PREPARING_REBALANCE:
            rebalance.complete_join(draft, group)

    def _expire_offsets(self, draft: Draft) -> None:
        """One slice of a round through all groups; a round starts every check interval."""
        queue = self.expiry_queue or tuple(self.live)
        for group_id in queue[:TICK_EXPIRING_GROUPS_MAX]:
            offsets.expire(draft, group_id)
        rest = queue[TICK_EXPIRING_GROUPS_MAX:]
        draft.soft.append(ExpiryQueued(rest))
        interval_ms = self.settings.offsets_retention_check_interval_ms
        draft.schedule(EXPIRY_KEY, 0 if rest else interval_ms)
