"""SyncGroup, Heartbeat, LeaveGroup: being a member of a generation."""

from dataclasses import replace

from automq.coordinator.group.classic import ClassicGroup, GroupState
from automq.coordinator.group.draft import Draft
from automq.coordinator.group.rebalance import (
    assign,
    clear_pending_syncs,
    complete_if_joined,
    prepare_rebalance,
    remove_member,
    session_key,
)
from automq.coordinator.group.replies import Leaving, Synced
from automq.coordinator.machine import Token
from automq.protocol import errors
from automq.protocol.errors import NONE


def sync(
    draft: Draft,
    *,
    group_id: str,
    member_id: str,
    group_instance_id: str | None,
    generation_id: int,
    protocol_type: str | None,
    protocol_name: str | None,
    assignments: dict[str, bytes],
    token: Token,
) -> None:
    """Release `token` with the member's assignment: now, or when the leader's is stored.

    Raises UnknownMemberId, FencedInstanceId, IllegalGeneration, InconsistentGroupProtocol,
    RebalanceInProgress.
    """
    group = draft.group(group_id)
    if group is None or group.state is GroupState.EMPTY:
        raise errors.UnknownMemberId(f"group {group_id} has no members, so not {member_id}")
    member = group.check_member(member_id, group_instance_id)
    group.check_generation(generation_id)
    _check_protocol(group, protocol_type, protocol_name)
    if group.state is GroupState.PREPARING_REBALANCE:
        raise errors.RebalanceInProgress(f"group {group_id} is rebalancing: join again")
    group.pending_syncs.discard(member_id)
    if not group.pending_syncs:
        clear_pending_syncs(draft, group)
    if group.state is GroupState.STABLE:
        reply = Synced(group.protocol_type, group.protocol_name, member.assignment)
        draft.release(token, reply)
        return
    if member.sync_token is not None:
        why = f"{member_id} asked group {group_id} again on another connection"
        draft.release(member.sync_token, errors.RebalanceInProgress(why))
    group.put(replace(member, sync_token=token))
    if group.leader_id == member_id:
        assign(draft, group, assignments)


def _check_protocol(
    group: ClassicGroup, protocol_type: str | None, protocol_name: str | None
) -> None:
    for given, known in (
        (protocol_type, group.protocol_type),
        (protocol_name, group.protocol_name),
    ):
        if given is not None and known is not None and given != known:
            raise errors.InconsistentGroupProtocol(
                f"group {group.group_id} uses {known!r}, not {given!r}"
            )


def heartbeat(
    draft: Draft,
    *,
    group_id: str,
    member_id: str,
    group_instance_id: str | None,
    generation_id: int,
) -> errors.RebalanceInProgress | None:
    """Prolong the session. Gives RebalanceInProgress to a member that should join again.

    Raises UnknownMemberId, FencedInstanceId, IllegalGeneration.
    """
    group = draft.peek(group_id)
    if group is None:
        raise errors.UnknownMemberId(f"Group {group_id} not found.")
    member = group.check_member(member_id, group_instance_id)
    group.check_generation(generation_id)
    draft.renew_session(group, member)
    if group.state is GroupState.PREPARING_REBALANCE:
        return errors.RebalanceInProgress(f"group {group_id} is rebalancing: join again")
    return None


def leave(draft: Draft, *, group_id: str, leaving: list[Leaving]) -> list[int]:
    """Remove members; one error code each. Raises UnknownMemberId if there is no such group."""
    group = draft.group(group_id)
    if group is None:
        raise errors.UnknownMemberId(f"Group {group_id} not found.")
    codes = [_leave_one(draft, group, one) for one in leaving]
    if NONE in codes:
        if group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            prepare_rebalance(draft, group)
        else:
            complete_if_joined(draft, group)
    return codes


def _leave_one(draft: Draft, group: ClassicGroup, one: Leaving) -> int:
    member_id = one.member_id
    if member_id in group.pending_joins:
        group.remove(member_id)
        draft.cancel(session_key(group, member_id))
        return NONE
    if not member_id:
        member_id = group.static_members.get(one.group_instance_id or "", "")
    try:
        group.check_member(member_id, one.group_instance_id)
    except errors.KafkaError as error:
        return error.code
    remove_member(draft, group, member_id)
    return NONE
