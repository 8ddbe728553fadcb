"""OffsetCommit, OffsetFetch, OffsetDelete and the expiry of offsets.

Invariant: an offset is forgotten only by a tombstone of its own, and a group only after all of its
offsets, so a log that ends between the two never shows offsets without a reason.
"""

from __future__ import annotations

from automq.coordinator.group.classic import ClassicGroup, GroupState
from automq.coordinator.group.draft import Draft
from automq.coordinator.group.records import (
    ZERO_UUID,
    CommittedOffset,
    GroupForgotten,
    OffsetCommitted,
    OffsetForgotten,
)
from automq.coordinator.group.replies import (
    FetchedOffset,
    FetchedTopic,
    FetchTopic,
    OffsetToCommit,
)
from automq.protocol import errors
from automq.protocol.errors import NONE

GROUP_ID_NOT_FOUND_SINCE = 9
DEFAULT_RETENTION = -1


def commit(
    draft: Draft,
    *,
    group_id: str,
    member_id: str,
    group_instance_id: str | None,
    generation_id: int,
    retention_ms: int,
    offsets: list[OffsetToCommit],
    api_version: int,
) -> list[int]:
    """Store offsets; one error code each. A generation of -1 is a client outside of any group.

    Raises UnknownMemberId, FencedInstanceId, IllegalGeneration, RebalanceInProgress, and
    GroupIdNotFound (before OffsetCommit v9: IllegalGeneration) for a member of no group.
    """
    group = draft.peek(group_id)
    if group is None:
        group = _simple_group(draft, group_id, generation_id, api_version)
    _check_commit(group, member_id, group_instance_id, generation_id)
    member = group.members.get(member_id)
    if member is not None:
        draft.renew_session(group, member)
    expires_ms = None if retention_ms == DEFAULT_RETENTION else draft.now.wall_ms + retention_ms
    return [_commit_one(draft, group_id, one, expires_ms) for one in offsets]


def _simple_group(
    draft: Draft, group_id: str, generation_id: int, api_version: int
) -> ClassicGroup:
    if generation_id < 0:
        return draft.create(group_id)
    if api_version >= GROUP_ID_NOT_FOUND_SINCE:
        raise errors.GroupIdNotFound(f"Group {group_id} not found.")
    raise errors.IllegalGeneration(f"group {group_id} does not exist")


def _check_commit(
    group: ClassicGroup, member_id: str, group_instance_id: str | None, generation_id: int
) -> None:
    if generation_id < 0 and group.state is GroupState.EMPTY:
        return
    if generation_id < 0 and not member_id and group_instance_id is None:
        raise errors.UnknownMemberId(
            f"group {group.group_id} has members: only they commit, with id and generation"
        )
    group.check_member(member_id, group_instance_id)
    group.check_generation(generation_id)
    if group.state is GroupState.COMPLETING_REBALANCE:
        raise errors.RebalanceInProgress(f"group {group.group_id} waits for its assignment")


def _commit_one(draft: Draft, group_id: str, one: OffsetToCommit, expires_ms: int | None) -> int:
    metadata = one.metadata or ""
    if _java_length(metadata) > draft.settings.offset_metadata_max_bytes:
        return errors.OffsetMetadataTooLarge.code
    now_ms = draft.now.wall_ms
    committed = CommittedOffset(
        offset=one.offset,
        leader_epoch=one.leader_epoch,
        metadata=metadata,
        commit_timestamp_ms=now_ms if one.commit_timestamp_ms == -1 else one.commit_timestamp_ms,
        expire_timestamp_ms=expires_ms,
        topic_id=one.topic_id,
    )
    draft.records.append(OffsetCommitted(group_id, one.topic, one.partition, committed))
    return NONE


def _java_length(text: str) -> int:
    """UTF-16 units: what Kafka compares with `offset.metadata.max.bytes`, despite the name."""
    return len(text) + sum(ord(c) > 0xFFFF for c in text) if not text.isascii() else len(text)


def fetch(draft: Draft, *, group_id: str, topics: list[FetchTopic]) -> list[FetchedTopic]:
    """The offsets asked for, in order; without one for partitions that were never committed."""
    known = draft.groups.offsets.get(group_id, {})
    return [
        FetchedTopic(
            wanted.topic,
            wanted.topic_id,
            tuple(
                _fetched(p, known.get(wanted.topic, {}).get(p), wanted.topic_id)
                for p in wanted.partitions
            ),
        )
        for wanted in topics
    ]


def fetch_all(draft: Draft, *, group_id: str) -> list[FetchedTopic]:
    """Every offset of the group; nothing for a group that does not exist."""
    return [
        FetchedTopic(
            topic,
            next((c.topic_id for c in partitions.values()), ZERO_UUID),
            tuple(_fetched(p, c, ZERO_UUID) for p, c in partitions.items()),
        )
        for topic, partitions in draft.groups.offsets.get(group_id, {}).items()
    ]


def _fetched(partition: int, committed: CommittedOffset | None, topic_id: bytes) -> FetchedOffset:
    """An offset of an earlier topic of the same name is none."""
    if committed is None or (
        topic_id != committed.topic_id and ZERO_UUID not in (topic_id, committed.topic_id)
    ):
        return FetchedOffset(partition)
    return FetchedOffset(partition, committed.offset, committed.leader_epoch, committed.metadata)


def delete(draft: Draft, *, group_id: str, partitions: list[tuple[str, int]]) -> list[int]:
    """OffsetDelete; one error code each (GROUP_SUBSCRIBED_TO_TOPIC for what is being read).

    Raises GroupIdNotFound; NonEmptyGroup for members whose subscriptions cannot be known.
    """
    group = draft.existing(group_id)
    if group.state is not GroupState.EMPTY and not group.uses_consumer_protocol():
        raise errors.NonEmptyGroup(f"group {group_id} of type {group.protocol_type!r} has members")
    codes = []
    known = draft.groups.offsets.get(group_id, {})
    for topic, partition in partitions:
        if group.is_subscribed_to(topic):
            codes.append(errors.GroupSubscribedToTopic.code)
            continue
        if partition in known.get(topic, {}):
            draft.records.append(OffsetForgotten(group_id, topic, partition))
        codes.append(NONE)
    return codes


def forget_all(draft: Draft, group_id: str) -> None:
    """Tombstones for a group and all its offsets, offsets first."""
    for topic, partitions in draft.groups.offsets.get(group_id, {}).items():
        draft.records += [OffsetForgotten(group_id, topic, p) for p in partitions]
    draft.records.append(GroupForgotten(group_id))
    draft.drop(group_id)


def forget_topics(draft: Draft, topics: list[tuple[str, bytes]]) -> None:
    """The offsets of deleted topics (name, id), but not those of a namesake created since."""
    for group_id, known in draft.groups.offsets.items():
        for topic, topic_id in topics:
            draft.records += [
                OffsetForgotten(group_id, topic, partition)
                for partition, committed in known.get(topic, {}).items()
                if committed.topic_id in (ZERO_UUID, topic_id)
            ]


def expire(draft: Draft, group_id: str) -> None:
    """Forget what nobody has committed for `offsets.retention.minutes`, then an idle group.

    An empty group keeps its offsets that long after its last member left; a stable consumer group
    loses only those of topics it no longer reads; in doubt nothing expires (KIP-211).
    """
    group = draft.peek(group_id)
    if group is None:
        return
    expired, kept = _expired(draft, group)
    draft.records += expired
    if kept == 0 and group.state is GroupState.EMPTY and not group.pending_joins:
        draft.records.append(GroupForgotten(group_id))
        draft.drop(group_id)


def _expired(draft: Draft, group: ClassicGroup) -> tuple[list[OffsetForgotten], int]:
    """The tombstones of what expired, and how many offsets stay."""
    expired: list[OffsetForgotten] = []
    kept = 0
    may_expire = _may_expire(group)
    for topic, partitions in draft.groups.offsets.get(group.group_id, {}).items():
        is_read = group.is_subscribed_to(topic)
        for partition, committed in partitions.items():
            if may_expire and not is_read and _is_expired(draft, group, committed):
                expired.append(OffsetForgotten(group.group_id, topic, partition))
            else:
                kept += 1
    return expired, kept


def _may_expire(group: ClassicGroup) -> bool:
    if group.protocol_type is None or group.state is GroupState.EMPTY:
        return True
    return (
        group.uses_consumer_protocol()
        and group.topics is not None
        and group.state is GroupState.STABLE
    )


def _is_expired(draft: Draft, group: ClassicGroup, committed: CommittedOffset) -> bool:
    now_ms = draft.now.wall_ms
    if committed.expire_timestamp_ms is not None:
        return now_ms >= committed.expire_timestamp_ms
    since_ms = committed.commit_timestamp_ms
    became_empty = group.protocol_type is not None and group.state is GroupState.EMPTY
    if became_empty and group.state_timestamp_ms != -1:
        since_ms = group.state_timestamp_ms
    return now_ms - since_ms >= draft.settings.offsets_retention_ms
