"""DeleteGroups (key 42): forget groups without members, with their offsets. KIP-229."""

from automq.broker.dispatch import Call, handles
from automq.protocol.messages.delete_groups_request import DeleteGroupsRequest
from automq.protocol.messages.delete_groups_response import (
    DeletableGroupResult,
    DeleteGroupsResponse,
)


@handles(DeleteGroupsRequest, DeleteGroupsResponse)
async def delete_groups(call: Call[DeleteGroupsRequest]) -> DeleteGroupsResponse:
    """Errors, per group: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP and those of a coordinator that is
    not here.
    """
    group_ids = call.request.groups_names
    codes = await call.broker.groups.delete_groups(group_ids=group_ids)
    return DeleteGroupsResponse(
        results=[
            DeletableGroupResult(group_id=group_id, error_code=code)
            for group_id, code in zip(group_ids, codes, strict=True)
        ]
    )
