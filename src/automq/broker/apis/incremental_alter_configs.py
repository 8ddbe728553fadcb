"""IncrementalAlterConfigs (key 44): change some settings and leave the rest. KIP-339, KIP-412."""

import asyncio
from collections import Counter

from automq.broker.configurable import configurable, is_loggers, loggers, store
from automq.broker.dispatch import Call, handles
from automq.config.alter import Op
from automq.protocol import errors
from automq.protocol.messages.incremental_alter_configs_request import (
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from automq.protocol.messages.incremental_alter_configs_response import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
)


@handles(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse)
async def incremental_alter_configs(
    call: Call[IncrementalAlterConfigsRequest],
) -> IncrementalAlterConfigsResponse:
    """Answer when the changes are stored and in force at this broker.

    Errors, per resource: INVALID_CONFIG, INVALID_REQUEST (also for a resource or key named twice),
    UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION.
    """
    counts = Counter((it.resource_type, it.resource_name) for it in call.request.resources)
    return IncrementalAlterConfigsResponse(
        responses=await asyncio.gather(
            *(
                answer(call, it, is_double=counts[it.resource_type, it.resource_name] > 1)
                for it in call.request.resources
            )
        )
    )


async def answer(
    call: Call[IncrementalAlterConfigsRequest], asked: AlterConfigsResource, *, is_double: bool
) -> AlterConfigsResourceResponse:
    row = AlterConfigsResourceResponse(
        error_message=None, resource_type=asked.resource_type, resource_name=asked.resource_name
    )
    try:
        if is_double:
            raise errors.InvalidRequest("Each resource must appear at most once.")
        await alter(call, asked)
    except errors.KafkaError as error:
        row.error_code, row.error_message = error.code, error.message
    return row


async def alter(call: Call[IncrementalAlterConfigsRequest], asked: AlterConfigsResource) -> None:
    ops = [Op(it.name, it.config_operation, it.value) for it in asked.configs]
    validate_only = call.request.validate_only
    if is_loggers(asked.resource_type):
        loggers(call.broker, asked.resource_name).alter(ops, validate_only=validate_only)
        return
    resource = configurable(call.broker, asked.resource_type, asked.resource_name)
    resource.check_altered()
    await store(call.broker, resource, lambda: resource.alter(ops), validate_only=validate_only)
