"""DescribeConfigs (key 32): the values in force and where they come from. KIP-133, KIP-226
(synonyms), KIP-412 (loggers), KIP-569 (types and documentation, v3).
"""

from collections.abc import Sequence

from automq.broker.configurable import configurable, is_loggers, loggers
from automq.broker.dispatch import Call, handles
from automq.config.describe import ConfigEntry, Source
from automq.protocol import errors
from automq.protocol.messages.describe_configs_request import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
)
from automq.protocol.messages.describe_configs_response import (
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)


@handles(DescribeConfigsRequest, DescribeConfigsResponse)
async def describe_configs(call: Call[DescribeConfigsRequest]) -> DescribeConfigsResponse:
    """Errors, per resource: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, INVALID_REQUEST
    (no such type, another broker's id).
    """
    return DescribeConfigsResponse(results=[describe(call, it) for it in call.request.resources])


def describe(
    call: Call[DescribeConfigsRequest], asked: DescribeConfigsResource
) -> DescribeConfigsResult:
    result = DescribeConfigsResult(
        error_message=None, resource_type=asked.resource_type, resource_name=asked.resource_name
    )
    names = asked.configuration_keys or None
    try:
        if is_loggers(asked.resource_type):
            levels = loggers(call.broker, asked.resource_name).levels(names)
            result.configs = [describe_level(*it) for it in levels.items()]
        else:
            resource = configurable(call.broker, asked.resource_type, asked.resource_name)
            resource.check_described()
            result.configs = rows(call.request, resource.describe(names))
    except errors.KafkaError as error:
        result.error_code, result.error_message = error.code, error.message
    return result


def describe_level(name: str, level: str) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(
        name=name,
        value=level,
        config_source=Source.DYNAMIC_BROKER_LOGGER_CONFIG,
        documentation=None,
    )


def rows(
    request: DescribeConfigsRequest, entries: Sequence[ConfigEntry]
) -> list[DescribeConfigsResourceResult]:
    return [
        DescribeConfigsResourceResult(
            name=entry.name,
            value=entry.value,
            read_only=entry.read_only,
            config_source=entry.source,
            is_sensitive=entry.is_sensitive,
            synonyms=[DescribeConfigsSynonym(it.name, it.value, it.source) for it in entry.synonyms]
            if request.include_synonyms
            else [],
            config_type=entry.value_type,
            documentation=entry.documentation if request.include_documentation else None,
        )
        for entry in entries
    ]
