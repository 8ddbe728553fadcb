"""AlterConfigs (key 33): replace all settings of a resource. KIP-133; KIP-339 is its better way."""

import asyncio
from collections import Counter

from automq.broker.configurable import configurable, store
from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.alter_configs_request import AlterConfigsRequest, AlterConfigsResource
from automq.protocol.messages.alter_configs_response import (
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)


@handles(AlterConfigsRequest, AlterConfigsResponse)
async def alter_configs(call: Call[AlterConfigsRequest]) -> AlterConfigsResponse:
    """Answer when the changes are stored and in force at this broker; what is not named is unset.

    Errors, per resource: INVALID_CONFIG, INVALID_REQUEST (also for a resource or key named twice,
    and for loggers), UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION.
    """
    counts = Counter((it.resource_type, it.resource_name) for it in call.request.resources)
    return AlterConfigsResponse(
        responses=await asyncio.gather(
            *(
                answer(call, it, is_double=counts[it.resource_type, it.resource_name] > 1)
                for it in call.request.resources
            )
        )
    )


async def answer(
    call: Call[AlterConfigsRequest], asked: AlterConfigsResource, *, is_double: bool
) -> AlterConfigsResourceResponse:
    row = AlterConfigsResourceResponse(
        error_message=None, resource_type=asked.resource_type, resource_name=asked.resource_name
    )
    wanted = [(it.name, it.value) for it in asked.configs]
    try:
        if is_double:
            raise errors.InvalidRequest("Each resource must appear at most once.")
        resource = configurable(call.broker, asked.resource_type, asked.resource_name)
        resource.check_altered()
        await store(
            call.broker,
            resource,
            lambda: resource.replace(wanted),
            validate_only=call.request.validate_only,
        )
    except errors.KafkaError as error:
        row.error_code, row.error_message = error.code, error.message
    return row
