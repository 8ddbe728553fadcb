"""Heartbeat (key 12): a member of a classic group is alive."""

from automq.broker.dispatch import Call, handles
from automq.protocol.messages.heartbeat_request import HeartbeatRequest
from automq.protocol.messages.heartbeat_response import HeartbeatResponse


@handles(HeartbeatRequest, HeartbeatResponse)
async def heartbeat(call: Call[HeartbeatRequest]) -> HeartbeatResponse:
    """Errors: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID,
    REBALANCE_IN_PROGRESS (join again) and those of a coordinator that is not here.
    """
    request = call.request
    await call.broker.groups.heartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        generation_id=request.generation_id,
    )
    return HeartbeatResponse()
