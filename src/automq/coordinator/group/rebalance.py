"""From one generation to the next: preparing, completing, and what runs out on the way.

    Empty ---> PreparingRebalance ---> CompletingRebalance ---> Stable
                 ^  everyone joins       the leader assigns       |
                 +------------------------------------------------+

A generation is stored once, with its assignment, when the leader's SyncGroup arrives (or when the
group became empty). Until then the members' answers are the only trace of it, so a coordinator
that dies forgets it and the members join again.
"""

from dataclasses import replace

from automq.coordinator.group.classic import ClassicGroup, GroupState, Member
from automq.coordinator.group.draft import Draft
from automq.coordinator.group.replies import Joined, JoinedMember, Synced
from automq.coordinator.group.timers import TimerKey, TimerKind
from automq.protocol import errors

REBALANCEABLE = (GroupState.STABLE, GroupState.COMPLETING_REBALANCE, GroupState.EMPTY)


def rebalance_or_complete(draft: Draft, group: ClassicGroup) -> None:
    """Start a rebalance; if one is under way, see whether it can end."""
    if group.state in REBALANCEABLE:
        prepare_rebalance(draft, group)
    else:
        complete_if_joined(draft, group)


def prepare_rebalance(draft: Draft, group: ClassicGroup) -> None:
    """Ask everyone to join again. A first rebalance waits a little for more members to come."""
    if group.state is GroupState.COMPLETING_REBALANCE:
        refuse_syncs(draft, group, "is rebalancing")
    clear_pending_syncs(draft, group)
    is_initial = group.state is GroupState.EMPTY
    group.move_to(GroupState.PREPARING_REBALANCE, wall_ms=draft.now.wall_ms)
    if is_initial:
        delay_ms = draft.settings.initial_rebalance_delay_ms
        group.initial_until_ms = draft.now.mono_ms + max(group.rebalance_timeout_ms(), delay_ms)
        draft.schedule(join_key(group), delay_ms)
    elif group.has_all_joined():
        complete_join(draft, group)
    else:
        draft.schedule(join_key(group), group.rebalance_timeout_ms())


def extend_initial_delay(draft: Draft, group: ClassicGroup) -> None:
    """One more member came to a first rebalance: the delay begins anew, up to its bound.

    Kafka lets the delay run out and then adds a whole one if anyone came meanwhile, so that members
    that start together wait twice as long. That nobody came for the length of the delay is what it
    is for, and is known this early.
    """
    assert group.initial_until_ms is not None, group.group_id
    left_ms = max(group.initial_until_ms - draft.now.mono_ms, 0)
    draft.schedule(join_key(group), min(draft.settings.initial_rebalance_delay_ms, left_ms))


def complete_if_joined(draft: Draft, group: ClassicGroup) -> None:
    """End the joining once everyone is there; a first rebalance waits for its delay."""
    preparing = group.state is GroupState.PREPARING_REBALANCE
    if preparing and not group.in_initial_rebalance() and group.has_all_joined():
        complete_join(draft, group)


def complete_join(draft: Draft, group: ClassicGroup) -> None:
    """Begin the next generation with those who came.

    Dynamic members who did not come are removed; static ones may stay away until their session
    ends. If nobody came at all, everyone gets another rebalance time-out.
    """
    draft.cancel(join_key(group))
    for member in list(group.members.values()):
        if member.join_token is None and not member.is_static:
            group.remove(member.member_id)
            draft.cancel(session_key(group, member.member_id))
    if group.members and not group.elect_joined_leader():
        draft.schedule(join_key(group), group.rebalance_timeout_ms())
        return
    group.initial_until_ms = None
    group.generation_id += 1
    if group.members:
        _begin_sync(draft, group)
    else:
        group.protocol_name = None
        group.read_topics()
        group.move_to(GroupState.EMPTY, wall_ms=draft.now.wall_ms)
        clear_pending_syncs(draft, group)
        draft.store(group)


def _begin_sync(draft: Draft, group: ClassicGroup) -> None:
    group.protocol_name = group.select_protocol()
    group.read_topics()
    group.move_to(GroupState.COMPLETING_REBALANCE, wall_ms=draft.now.wall_ms)
    for member in list(group.members.values()):
        draft.release(member.join_token, joined(group, member))
        group.put(replace(member, join_token=None, is_new=False))
        draft.renew_session(group, member)
    group.pending_syncs = set(group.members)
    draft.schedule(sync_key(group), group.rebalance_timeout_ms())


def joined(group: ClassicGroup, member: Member) -> Joined:
    """The answer to a member's JoinGroup in this generation; only the leader sees the others."""
    is_leader = member.member_id == group.leader_id
    return Joined(
        member_id=member.member_id,
        generation_id=group.generation_id,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        leader=group.leader_id or "",
        members=joined_members(group) if is_leader else (),
    )


def joined_members(group: ClassicGroup) -> tuple[JoinedMember, ...]:
    """Everyone, for the leader to assign."""
    return tuple(
        JoinedMember(m.member_id, m.group_instance_id, m.metadata(group.protocol_name))
        for m in group.members.values()
    )


def assign(draft: Draft, group: ClassicGroup, assignments: dict[str, bytes]) -> None:
    """Store what the leader assigned, and answer everyone who waits for it.

    The record is the generation's only one: no member learns its assignment before it is stored.
    """
    assert group.state is GroupState.COMPLETING_REBALANCE, group.state
    group.move_to(GroupState.STABLE, wall_ms=draft.now.wall_ms)
    for member in list(group.members.values()):
        assignment = assignments.get(member.member_id, b"")
        group.put(replace(member, assignment=assignment, sync_token=None))
        if member.sync_token is not None:
            reply = Synced(group.protocol_type, group.protocol_name, assignment)
            draft.release(member.sync_token, reply)
            draft.renew_session(group, member)
    draft.store(group)


def refuse_syncs(draft: Draft, group: ClassicGroup, why: str) -> None:
    """Send those who wait for an assignment back to join; all assignments are void."""
    error = errors.RebalanceInProgress(f"group {group.group_id} {why}")
    for member in list(group.members.values()):
        group.put(replace(member, assignment=b"", sync_token=None))
        if member.sync_token is not None:
            draft.release(member.sync_token, error)
            draft.renew_session(group, member)


def remove_member(draft: Draft, group: ClassicGroup, member_id: str) -> None:
    """Forget a member, wherever it waits: it is told to join as a new one."""
    member = group.members[member_id]
    error = errors.UnknownMemberId(f"{member_id} was removed from group {group.group_id}")
    draft.release(member.join_token, error)
    draft.release(member.sync_token, error)
    group.remove(member_id)
    draft.cancel(session_key(group, member_id))


def clear_pending_syncs(draft: Draft, group: ClassicGroup) -> None:
    """Stop waiting for SyncGroup requests."""
    group.pending_syncs = set()
    draft.cancel(sync_key(group))


# -- what runs out


def session_expired(draft: Draft, group: ClassicGroup, member_id: str) -> None:
    """No heartbeat in time: a member is removed, unless it waits for a rebalance."""
    member = group.members.get(member_id)
    draft.cancel(session_key(group, member_id))
    if member_id in group.pending_joins:
        group.remove(member_id)
        complete_if_only_missing(draft, group)
    elif member is not None and not member.satisfies_heartbeat():
        remove_member(draft, group, member_id)
        if group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            prepare_rebalance(draft, group)
        else:
            complete_if_only_missing(draft, group)


def complete_if_only_missing(draft: Draft, group: ClassicGroup) -> None:
    """End the joining if whoever just vanished was the last one missing."""
    if group.state is GroupState.PREPARING_REBALANCE and group.has_all_joined():
        complete_join(draft, group)


def sync_expired(draft: Draft, group: ClassicGroup) -> None:
    """Members that joined and never asked for their assignment are removed."""
    late = [member_id for member_id in group.members if member_id in group.pending_syncs]
    for member_id in late:
        remove_member(draft, group, member_id)
    if late:
        prepare_rebalance(draft, group)


def session_key(group: ClassicGroup, member_id: str) -> TimerKey:
    return TimerKey(TimerKind.SESSION, group.group_id, member_id)


def join_key(group: ClassicGroup) -> TimerKey:
    return TimerKey(TimerKind.JOIN, group.group_id)


def sync_key(group: ClassicGroup) -> TimerKey:
    return TimerKey(TimerKind.SYNC, group.group_id)
