"""SyncGroup (key 14): get, or as the leader give, an assignment. KIP-62, KIP-345, KIP-559."""

from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.sync_group_request import SyncGroupRequest
from automq.protocol.messages.sync_group_response import SyncGroupResponse

PROTOCOL_SINCE = 5


@handles(SyncGroupRequest, SyncGroupResponse)
async def sync_group(call: Call[SyncGroupRequest]) -> SyncGroupResponse:
    """Answer when the leader's assignment is stored.

    Errors: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL,
    REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID and those of a coordinator that is not here.
    """
    request = call.request
    names_protocol = request.protocol_type is not None and request.protocol_name is not None
    if call.version >= PROTOCOL_SINCE and not names_protocol:
        raise errors.InconsistentGroupProtocol("from v5 on, protocol type and name must be given")
    synced = await call.broker.groups.sync(
        group_id=request.group_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        generation_id=request.generation_id,
        protocol_type=request.protocol_type,
        protocol_name=request.protocol_name,
        assignments={a.member_id: a.assignment for a in request.assignments},
    )
    return SyncGroupResponse(
        protocol_type=synced.protocol_type,
        protocol_name=synced.protocol_name,
        assignment=synced.assignment,
    )
