"""JoinGroup (key 11): take part in the next generation of a group.

KIP-62 (rebalance time-out, v1), KIP-345 (static members, v5), KIP-394 (member ids first, v4),
KIP-559 (protocol in the answer, v7), KIP-800 (reasons, v8), KIP-814 (skip the assignment, v9).
"""

from automq.broker.dispatch import Call, handles
from automq.coordinator.group.classic import MemberProtocol
from automq.coordinator.group.replies import Joined, JoinGroup
from automq.protocol import errors
from automq.protocol.errors import NONE
from automq.protocol.messages.join_group_request import JoinGroupRequest
from automq.protocol.messages.join_group_response import JoinGroupResponse, JoinGroupResponseMember

REBALANCE_TIMEOUT_SINCE = 1
MEMBER_ID_REQUIRED_SINCE = 4
NULL_PROTOCOL_SINCE = 7
SKIP_ASSIGNMENT_SINCE = 9


@handles(JoinGroupRequest, JoinGroupResponse)
async def join_group(call: Call[JoinGroupRequest]) -> JoinGroupResponse:
    """Answer when everyone has joined, which may take as long as the rebalance time-out.

    Errors: INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL,
    MEMBER_ID_REQUIRED, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED,
    REBALANCE_IN_PROGRESS (joined again elsewhere) and those of a coordinator that is not here.
    """
    request, version = call.request, call.version
    has_rebalance_timeout = version >= REBALANCE_TIMEOUT_SINCE
    asked = JoinGroup(
        group_id=request.group_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        client_id=call.client_id,
        client_host=call.client_host,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=(
            request.rebalance_timeout_ms if has_rebalance_timeout else request.session_timeout_ms
        ),
        protocol_type=request.protocol_type,
        protocols=tuple(MemberProtocol(p.name, p.metadata) for p in request.protocols),
        reason=request.reason,
        requires_known_member_id=version >= MEMBER_ID_REQUIRED_SINCE,
        supports_skipping_assignment=version >= SKIP_ASSIGNMENT_SINCE,
    )
    no_protocol = None if version >= NULL_PROTOCOL_SINCE else ""
    try:
        joined = await call.broker.groups.join(asked)
    except errors.KafkaError as error:
        return JoinGroupResponse(
            error_code=error.code, member_id=request.member_id, protocol_name=no_protocol
        )
    return answer(joined, no_protocol)


def answer(joined: Joined, no_protocol: str | None) -> JoinGroupResponse:
    """The response; before v7 a protocol that is not known yet is an empty name."""
    protocol = no_protocol if joined.protocol_name is None else joined.protocol_name
    return JoinGroupResponse(
        error_code=NONE if joined.error is None else joined.error.code,
        generation_id=joined.generation_id,
        protocol_type=joined.protocol_type,
        protocol_name=protocol,
        leader=joined.leader,
        skip_assignment=joined.skip_assignment,
        member_id=joined.member_id,
        members=[
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                metadata=member.metadata,
            )
            for member in joined.members
        ],
    )
