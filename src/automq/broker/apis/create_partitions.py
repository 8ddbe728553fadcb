"""CreatePartitions (key 37): let topics have more partitions. KIP-195."""

import asyncio
from collections import Counter

from automq.broker.deadlines import answered_within
from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.create_partitions_request import (
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from automq.protocol.messages.create_partitions_response import (
    CreatePartitionsResponse,
    CreatePartitionsTopicResult,
)


@handles(CreatePartitionsRequest, CreatePartitionsResponse)
async def create_partitions(call: Call[CreatePartitionsRequest]) -> CreatePartitionsResponse:
    """Answer when the partitions are stored and open.

    Errors, per topic: UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT,
    INVALID_REPLICATION_FACTOR, INVALID_REQUEST (named twice), REQUEST_TIMED_OUT.
    """
    counts = Counter(topic.name for topic in call.request.topics)
    rows = [
        refused(name, errors.InvalidRequest("Duplicate topic name."))
        for name, count in counts.items()
        if count > 1
    ]
    once = [topic for topic in call.request.topics if counts[topic.name] == 1]
    rows += await asyncio.gather(*(grow(call, topic) for topic in once))
    return CreatePartitionsResponse(results=rows)


def refused(name: str, error: errors.KafkaError) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(name, error.code, error.message)


async def grow(
    call: Call[CreatePartitionsRequest], topic: CreatePartitionsTopic
) -> CreatePartitionsTopicResult:
    assignments = topic.assignments
    try:
        async with answered_within(call.request.timeout_ms):
            await call.broker.controller.create_partitions(
                topic.name,
                topic.count,
                None if assignments is None else [it.broker_ids for it in assignments],
                validate_only=call.request.validate_only,
            )
    except errors.KafkaError as error:
        return refused(topic.name, error)
    return CreatePartitionsTopicResult(topic.name)
