"""JoinGroup: who may take part in the next generation (KIP-62, KIP-134, KIP-345, KIP-394).

Nothing special is done for cooperative rebalancing (KIP-429): its consumers join again once they
have revoked what they must, and a leader that joins again always starts a rebalance.
"""

from dataclasses import replace

from automq.coordinator.group.classic import ClassicGroup, GroupState, Member
from automq.coordinator.group.draft import Draft
from automq.coordinator.group.rebalance import (
    complete_if_joined,
    extend_initial_delay,
    joined,
    joined_members,
    prepare_rebalance,
    rebalance_or_complete,
    remove_member,
    session_key,
)
from automq.coordinator.group.replies import Joined, JoinGroup
from automq.coordinator.machine import Token
from automq.protocol import errors


def join(draft: Draft, request: JoinGroup, *, new_member_id: str, token: Token) -> None:
    """Take the member in and release `token` now or when the rebalance ends.

    Raises InvalidSessionTimeout, UnknownMemberId, FencedInstanceId, InconsistentGroupProtocol. A
    group that is full drops the member with GroupMaxSizeReached; a first join is told its id with
    MemberIdRequired.
    """
    _check_session_timeout(draft, request)
    group = draft.group(request.group_id)
    is_new_group = group is None
    if group is None:
        if request.member_id:
            raise errors.UnknownMemberId(
                f"group {request.group_id} does not exist, so it has no member {request.member_id}"
            )
        group = draft.create(request.group_id)
    if not _has_room(draft, group, request.member_id):
        _turn_away(draft, group, request.member_id, token)
        return
    if not group.supports(request.protocol_type, request.protocols):
        offered = ", ".join(p.name for p in request.protocols)
        raise errors.InconsistentGroupProtocol(
            f"group {group.group_id} is of type {group.protocol_type!r}; offered: "
            f"{request.protocol_type!r} with [{offered}], of which its members support none"
        )
    if request.member_id:
        _join_with_id(draft, group, request, token)
    else:
        _join_without_id(draft, group, request, new_member_id, token)
    if is_new_group and not draft.records:
        # As Kafka does: a group exists in the log from its first member on.
        draft.store(ClassicGroup(group_id=group.group_id, state_timestamp_ms=draft.now.wall_ms))


def _check_session_timeout(draft: Draft, request: JoinGroup) -> None:
    least_ms = draft.settings.min_session_timeout_ms
    most_ms = draft.settings.max_session_timeout_ms
    if not least_ms <= request.session_timeout_ms <= most_ms:
        raise errors.InvalidSessionTimeout(
            f"session.timeout.ms={request.session_timeout_ms}: this broker takes {least_ms} "
            f"(group.min.session.timeout.ms) to {most_ms} (group.max.session.timeout.ms)"
        )


def _has_room(draft: Draft, group: ClassicGroup, member_id: str) -> bool:
    """In a rebalance, those who wait are counted: the last to come are the ones turned away."""
    size_max = draft.settings.max_size
    member = group.members.get(member_id)
    if group.state is GroupState.EMPTY:
        return True
    if group.state is GroupState.PREPARING_REBALANCE:
        is_waiting = member is not None and member.join_token is not None
        return is_waiting or group.awaiting_joins < size_max
    return member is not None or len(group.members) < size_max


def _turn_away(draft: Draft, group: ClassicGroup, member_id: str, token: Token) -> None:
    if member_id in group.members:
        remove_member(draft, group, member_id)
    group.remove(member_id)
    size_max = draft.settings.max_size
    why = f"group {group.group_id} has group.max.size={size_max} members already"
    draft.release(token, errors.GroupMaxSizeReached(why))


def _join_without_id(
    draft: Draft, group: ClassicGroup, request: JoinGroup, new_member_id: str, token: Token
) -> None:
    if request.group_instance_id is not None:
        old_id = group.static_members.get(request.group_instance_id)
        if old_id is not None:
            _replace_static(draft, group, request, old_id, new_member_id, token)
            return
    elif request.requires_known_member_id:
        # KIP-394: a client that never hears this answer leaves no member behind for long.
        group.pending_joins.add(new_member_id)
        draft.schedule(session_key(group, new_member_id), request.session_timeout_ms)
        why = f"join group {group.group_id} again as {new_member_id}"
        draft.release(token, Joined(member_id=new_member_id, error=errors.MemberIdRequired(why)))
        return
    _add_member(draft, group, request, new_member_id, token)


def _join_with_id(draft: Draft, group: ClassicGroup, request: JoinGroup, token: Token) -> None:
    member_id = request.member_id
    if member_id in group.pending_joins:
        if request.group_instance_id is not None:
            raise errors.UnknownMemberId(
                f"{member_id} was given to a dynamic member of group {group.group_id}, "
                f"not to instance id {request.group_instance_id}"
            )
        _add_member(draft, group, request, member_id, token)
        return
    member = group.check_member(member_id, request.group_instance_id)
    if group.state is GroupState.PREPARING_REBALANCE or _changes_group(group, member, request):
        _update_member(draft, group, member, request, token)
        rebalance_or_complete(draft, group)
    else:
        # It may have missed the answer, or asks out of caution: this generation still holds.
        is_sync_due = group.state is GroupState.COMPLETING_REBALANCE
        reply = joined(group, member)
        draft.release(token, reply if is_sync_due else replace(reply, members=()))


def _changes_group(group: ClassicGroup, member: Member, request: JoinGroup) -> bool:
    """Whether the others must join again: new metadata, or a leader that wants to assign anew."""
    leads_stable_group = group.state is GroupState.STABLE and group.leader_id == member.member_id
    return leads_stable_group or member.protocols != request.protocols


def _add_member(
    draft: Draft, group: ClassicGroup, request: JoinGroup, member_id: str, token: Token
) -> None:
    member = Member(
        member_id=member_id,
        group_instance_id=request.group_instance_id,
        client_id=request.client_id,
        client_host=request.client_host,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        session_timeout_ms=request.session_timeout_ms,
        protocols=request.protocols,
        join_token=token,
        is_new=True,
    )
    if group.in_initial_rebalance():
        extend_initial_delay(draft, group)
    if not group.members:
        group.protocol_type = request.protocol_type
    group.put(member)
    # A new member sends no heartbeats while it waits, and a client that gave up may leave many
    # of them behind: each gets a fixed time, after which a client that is still there retries.
    draft.schedule(session_key(group, member_id), draft.settings.new_member_join_timeout_ms)
    rebalance_or_complete(draft, group)


def _update_member(
    draft: Draft, group: ClassicGroup, member: Member, request: JoinGroup, token: Token | None
) -> Member:
    if member.join_token is not None:
        why = f"{member.member_id} joined group {group.group_id} again on another connection"
        draft.release(member.join_token, errors.RebalanceInProgress(why))
    updated = replace(
        member,
        protocols=request.protocols,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        session_timeout_ms=request.session_timeout_ms,
        join_token=token,
    )
    group.put(updated)
    return updated


def _replace_static(
    draft: Draft,
    group: ClassicGroup,
    request: JoinGroup,
    old_id: str,
    new_member_id: str,
    token: Token,
) -> None:
    """A static member came back (KIP-345): it takes its old place under a new id.

    A stable group whose strategy stays the same is not disturbed; the new id is stored before the
    member hears of it, so that after a failover the old one stays fenced. The leader is told
    not to assign again (KIP-814), or, before JoinGroup v9, that it does not lead.
    """
    old, old_leader = group.members[old_id], group.leader_id
    fenced = errors.FencedInstanceId(
        f"{request.group_instance_id} of group {group.group_id} is now {new_member_id}"
    )
    draft.release(old.join_token, fenced)
    draft.release(old.sync_token, fenced)
    draft.cancel(session_key(group, old_id))
    heir = replace(old, member_id=new_member_id, join_token=None, sync_token=None, is_new=False)
    group.replace(old_id, heir)
    heir = _update_member(draft, group, heir, request, token)
    draft.schedule(session_key(group, new_member_id), old.session_timeout_ms)
    if group.state is GroupState.COMPLETING_REBALANCE:
        # The leader may be assigning to the old id right now.
        prepare_rebalance(draft, group)
    elif group.state is GroupState.PREPARING_REBALANCE:
        complete_if_joined(draft, group)
    elif group.select_protocol() != group.protocol_name:
        prepare_rebalance(draft, group)
    else:
        heir = replace(heir, join_token=None)
        group.put(heir)
        group.read_topics()
        draft.store(group)
        draft.release(token, _rejoined(group, heir, request, old_leader))


def _rejoined(
    group: ClassicGroup, heir: Member, request: JoinGroup, old_leader: str | None
) -> Joined:
    reply = replace(joined(group, heir), members=())
    if not request.supports_skipping_assignment:
        return replace(reply, leader=old_leader or "")
    is_leader = group.leader_id == heir.member_id
    members = joined_members(group) if is_leader else ()
    return replace(reply, skip_assignment=is_leader, members=members)
