"""DescribeProducers (key 61): the producers that a partition knows. KIP-664."""

from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.describe_producers_request import DescribeProducersRequest
from automq.protocol.messages.describe_producers_response import (
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)


@handles(DescribeProducersRequest, DescribeProducersResponse)
async def describe_producers(call: Call[DescribeProducersRequest]) -> DescribeProducersResponse:
    """Errors, per partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER."""
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[
                    await describe_one(call, topic.name, index) for index in topic.partition_indexes
                ],
            )
            for topic in call.request.topics
        ]
    )


async def describe_one(
    call: Call[DescribeProducersRequest], topic: str, index: int
) -> PartitionResponse:
    row = PartitionResponse(partition_index=index)
    try:
        partition = call.broker.partitions.leader_of(b"", topic, index)
        await partition.until_ready()
    except errors.KafkaError as error:
        row.error_code, row.error_message = error.code, error.message
        return row
    row.active_producers = [
        ProducerState(
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            last_sequence=producer.last_sequence,
            last_timestamp=producer.last_timestamp,
            coordinator_epoch=producer.coordinator_epoch,
            current_txn_start_offset=producer.transaction_start_offset,
        )
        for producer in partition.producers.describe()
    ]
    return row
