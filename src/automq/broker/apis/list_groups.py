"""ListGroups (key 16): the groups of this broker. KIP-518 (by state, v4), KIP-848 (by type, v5)."""

from automq.broker.dispatch import Call, handles
from automq.protocol.messages.list_groups_request import ListGroupsRequest
from automq.protocol.messages.list_groups_response import ListedGroup, ListGroupsResponse


@handles(ListGroupsRequest, ListGroupsResponse)
async def list_groups(call: Call[ListGroupsRequest]) -> ListGroupsResponse:
    """Errors: COORDINATOR_LOAD_IN_PROGRESS while any partition is being loaded."""
    listed = await call.broker.groups.list_groups(
        states=call.request.states_filter, types=call.request.types_filter
    )
    return ListGroupsResponse(
        groups=[
            ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type,
                group_state=group.state,
                group_type=group.group_type,
            )
            for group in listed
        ]
    )
