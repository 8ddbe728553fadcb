"""DescribeGroups (key 15): classic groups and their members. KIP-430, KIP-345, KIP-1043 (v6)."""

from automq.broker.authorized import GROUP_OPERATIONS
from automq.broker.dispatch import Call, handles
from automq.coordinator.group import replies
from automq.protocol import errors
from automq.protocol.messages.describe_groups_request import DescribeGroupsRequest
from automq.protocol.messages.describe_groups_response import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsResponse,
)

ERROR_MESSAGE_SINCE = 6


@handles(DescribeGroupsRequest, DescribeGroupsResponse)
async def describe_groups(call: Call[DescribeGroupsRequest]) -> DescribeGroupsResponse:
    """A group that does not exist is Dead. Errors, per group: GROUP_ID_NOT_FOUND (v6) and those
    of a coordinator that is not here.
    """
    request = call.request
    described = await call.broker.groups.describe_groups(
        group_ids=request.groups, api_version=call.version
    )
    rows = [answer(group, call.version) for group in described]
    if request.include_authorized_operations:
        for row in rows:
            if row.error_code == errors.NONE:
                row.authorized_operations = GROUP_OPERATIONS
    return DescribeGroupsResponse(groups=rows)


def answer(group: replies.DescribedGroup, version: int) -> DescribedGroup:
    error = group.error
    if error is not None:
        is_dead = isinstance(error, errors.GroupIdNotFound)
        return DescribedGroup(
            error_code=error.code,
            error_message=error.message if version >= ERROR_MESSAGE_SINCE else None,
            group_id=group.group_id,
            group_state=group.state if is_dead else "",
        )
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.state,
        protocol_type=group.protocol_type,
        protocol_data=group.protocol_data,
        members=[
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata,
                member_assignment=member.assignment,
            )
            for member in group.members
        ],
    )
