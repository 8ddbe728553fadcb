"""OffsetForLeaderEpoch (key 23): where an epoch ended. KIP-101, KIP-320."""

from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.offset_for_leader_epoch_request import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
)
from automq.protocol.messages.offset_for_leader_epoch_response import (
    EpochEndOffset,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)


@handles(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse)
async def offset_for_leader_epoch(
    call: Call[OffsetForLeaderEpochRequest],
) -> OffsetForLeaderEpochResponse:
    """Errors, per partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, epoch errors."""
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[await answer_one(call, topic.topic, row) for row in topic.partitions],
            )
            for topic in call.request.topics
        ]
    )


async def answer_one(
    call: Call[OffsetForLeaderEpochRequest], topic: str, wanted: OffsetForLeaderPartition
) -> EpochEndOffset:
    row = EpochEndOffset(partition=wanted.partition)
    try:
        partition = call.broker.partitions.leader_of(b"", topic, wanted.partition)
        await partition.until_ready()
        partition.check_epoch(wanted.current_leader_epoch)
        row.leader_epoch, row.end_offset = partition.epochs.end_of(
            wanted.leader_epoch, log_end_offset=partition.high_watermark
        )
    except errors.KafkaError as error:
        row.error_code = error.code
    return row
