"""OffsetCommit (key 8): where a group has got to. KIP-211 (retention), KIP-848 (topic ids, v10)."""

from automq.broker.dispatch import Call, handles
from automq.coordinator.group.replies import OffsetToCommit
from automq.metadata.cluster import ClusterImage
from automq.protocol import errors
from automq.protocol.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
)
from automq.protocol.messages.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

TOPIC_IDS_SINCE = 10

Waiting = list[tuple[OffsetCommitResponsePartition, OffsetToCommit]]


@handles(OffsetCommitRequest, OffsetCommitResponse)
async def offset_commit(call: Call[OffsetCommitRequest]) -> OffsetCommitResponse:
    """Answer when the offsets are stored.

    Errors, per partition: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, OFFSET_METADATA_TOO_LARGE;
    for all that exist: GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
    FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS and those of a coordinator that is not here.
    """
    waiting: Waiting = []
    topics = [
        look_up(topic, call.broker.cluster, waiting, by_id=call.version >= TOPIC_IDS_SINCE)
        for topic in call.request.topics
    ]
    if waiting:
        for (row, _), code in zip(waiting, await commit(call, waiting), strict=True):
            row.error_code = code
    return OffsetCommitResponse(topics=topics)


def look_up(
    topic: OffsetCommitRequestTopic, cluster: ClusterImage, waiting: Waiting, *, by_id: bool
) -> OffsetCommitResponseTopic:
    """The rows of one topic; those of partitions that exist are added to `waiting`."""
    if by_id:
        known = cluster.topics.get(topic.topic_id)
        missing = errors.UnknownTopicId.code
    else:
        known = cluster.topic(topic.name)
        missing = errors.UnknownTopicOrPartition.code
    rows = []
    for wanted in topic.partitions:
        row = OffsetCommitResponsePartition(partition_index=wanted.partition_index)
        rows.append(row)
        if known is None:
            row.error_code = missing
        elif cluster.partition(known.topic_id, wanted.partition_index) is None:
            row.error_code = errors.UnknownTopicOrPartition.code
        else:
            offset = OffsetToCommit(
                topic=known.name,
                partition=wanted.partition_index,
                offset=wanted.committed_offset,
                leader_epoch=wanted.committed_leader_epoch,
                metadata=wanted.committed_metadata,
                topic_id=topic.topic_id,
            )
            waiting.append((row, offset))
    return OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=rows)


async def commit(call: Call[OffsetCommitRequest], waiting: Waiting) -> list[int]:
    """An error code for each."""
    request = call.request
    try:
        return await call.broker.groups.commit_offsets(
            group_id=request.group_id,
            member_id=request.member_id,
            group_instance_id=request.group_instance_id,
            generation_id=request.generation_id_or_member_epoch,
            retention_ms=request.retention_time_ms,
            to_commit=[offset for _, offset in waiting],
            api_version=call.version,
        )
    except errors.KafkaError as error:
        return [error.code] * len(waiting)
