"""DeleteRecords (key 21): let a partition start later. KIP-107."""

import asyncio

from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
)
from automq.protocol.messages.delete_records_response import (
    DeleteRecordsPartitionResult,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

UNKNOWN_LOW_WATERMARK = -1


@handles(DeleteRecordsRequest, DeleteRecordsResponse)
async def delete_records(call: Call[DeleteRecordsRequest]) -> DeleteRecordsResponse:
    """Answer when the new start is durable; the data goes later.

    Errors, per partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER,
    OFFSET_OUT_OF_RANGE, POLICY_VIOLATION (the topic is compacted only).
    """
    topics = [
        DeleteRecordsTopicResult(
            name=topic.name,
            partitions=list(
                await asyncio.gather(
                    *(delete_one(call, topic.name, wanted) for wanted in topic.partitions)
                )
            ),
        )
        for topic in call.request.topics
    ]
    return DeleteRecordsResponse(topics=topics)


async def delete_one(
    call: Call[DeleteRecordsRequest], topic: str, wanted: DeleteRecordsPartition
) -> DeleteRecordsPartitionResult:
    row = DeleteRecordsPartitionResult(
        partition_index=wanted.partition_index, low_watermark=UNKNOWN_LOW_WATERMARK
    )
    partitions = call.broker.partitions
    try:
        partition = partitions.leader_of(b"", topic, wanted.partition_index)
        await partition.until_ready()
        row.low_watermark = await partitions.delete_records(partition, wanted.offset)
    except errors.KafkaError as error:
        row.error_code = error.code
    return row
