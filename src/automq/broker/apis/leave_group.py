"""LeaveGroup (key 13): members go. KIP-345 (several at once, by instance id, v3), KIP-800."""

from automq.broker.dispatch import Call, handles
from automq.coordinator.group.replies import Leaving
from automq.protocol.messages.leave_group_request import LeaveGroupRequest
from automq.protocol.messages.leave_group_response import LeaveGroupResponse, MemberResponse

SEVERAL_SINCE = 3


@handles(LeaveGroupRequest, LeaveGroupResponse)
async def leave_group(call: Call[LeaveGroupRequest]) -> LeaveGroupResponse:
    """Errors, per member: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID. For all: INVALID_GROUP_ID and
    those of a coordinator that is not here.
    """
    request, groups = call.request, call.broker.groups
    if call.version < SEVERAL_SINCE:
        (code,) = await groups.leave(
            group_id=request.group_id, leaving=[Leaving(request.member_id)]
        )
        return LeaveGroupResponse(error_code=code)
    leaving = [Leaving(m.member_id, m.group_instance_id, m.reason) for m in request.members]
    codes = await groups.leave(group_id=request.group_id, leaving=leaving)
    return LeaveGroupResponse(
        members=[
            MemberResponse(
                member_id=one.member_id, group_instance_id=one.group_instance_id, error_code=code
            )
            for one, code in zip(leaving, codes, strict=True)
        ]
    )
