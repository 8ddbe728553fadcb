"""ListGroups, DescribeGroups, DeleteGroups: what tools see of groups."""

from collections.abc import Collection

from automq.coordinator.group.classic import ClassicGroup, GroupState
from automq.coordinator.group.draft import Draft
from automq.coordinator.group.offsets import forget_all
from automq.coordinator.group.replies import DescribedGroup, DescribedMember, ListedGroup
from automq.protocol import errors
from automq.protocol.errors import NONE

CLASSIC = "classic"
DESCRIBE_ERRORS_SINCE = 6


def list_groups(
    draft: Draft, *, states: Collection[str], types: Collection[str]
) -> list[ListedGroup]:
    """All groups in one of the states and of one of the types; an empty filter lets all pass.

    Filters do not care for case, and a name that is no state or type matches nothing (KIP-518,
    KIP-848).
    """
    wanted = {state.strip().lower() for state in states}
    if types and CLASSIC not in {kind.strip().lower() for kind in types}:
        return []
    return [
        ListedGroup(group.group_id, group.protocol_type or "", group.state, CLASSIC)
        for group in draft.groups.live.values()
        if not wanted or group.state.lower() in wanted
    ]


def describe(draft: Draft, *, group_ids: list[str], api_version: int) -> list[DescribedGroup]:
    """The groups; one that does not exist is Dead (and from v6 on GROUP_ID_NOT_FOUND)."""
    described = []
    for group_id in group_ids:
        group = draft.peek(group_id)
        if group is not None:
            described.append(_describe_one(group))
        elif api_version >= DESCRIBE_ERRORS_SINCE:
            error = errors.GroupIdNotFound(f"Group {group_id} not found.")
            described.append(DescribedGroup(group_id=group_id, error=error))
        else:
            described.append(DescribedGroup(group_id=group_id))
    return described


def _describe_one(group: ClassicGroup) -> DescribedGroup:
    protocol = group.protocol_name if group.state is GroupState.STABLE else None
    members = tuple(
        DescribedMember(
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            metadata=member.metadata(protocol) if protocol is not None else b"",
            assignment=member.assignment,
        )
        for member in group.members.values()
    )
    return DescribedGroup(
        group_id=group.group_id,
        state=group.state,
        protocol_type=group.protocol_type or "",
        protocol_data=protocol or "",
        members=members,
    )


def delete_groups(draft: Draft, *, group_ids: list[str]) -> list[int]:
    """Forget groups without members, and their offsets; one error code each."""
    return [_delete_one(draft, group_id) for group_id in group_ids]


def _delete_one(draft: Draft, group_id: str) -> int:
    group = draft.peek(group_id)
    if group is None:
        return errors.GroupIdNotFound.code
    if group.state is not GroupState.EMPTY:
        return errors.NonEmptyGroup.code
    forget_all(draft, group_id)
    return NONE
