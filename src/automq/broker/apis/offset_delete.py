"""OffsetDelete (key 47): forget a group's offsets in topics that it does not read. KIP-496."""

from automq.broker.dispatch import Call, handles
from automq.protocol import errors
from automq.protocol.messages.offset_delete_request import OffsetDeleteRequest
from automq.protocol.messages.offset_delete_response import (
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)


@handles(OffsetDeleteRequest, OffsetDeleteResponse)
async def offset_delete(call: Call[OffsetDeleteRequest]) -> OffsetDeleteResponse:
    """Errors: INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP and those of a coordinator
    that is not here. Per partition: UNKNOWN_TOPIC_OR_PARTITION, GROUP_SUBSCRIBED_TO_TOPIC.
    """
    cluster = call.broker.cluster
    topics: list[OffsetDeleteResponseTopic] = []
    waiting: list[tuple[OffsetDeleteResponsePartition, tuple[str, int]]] = []
    for topic in call.request.topics:
        known = cluster.topic(topic.name)
        answer = OffsetDeleteResponseTopic(name=topic.name, partitions=[])
        topics.append(answer)
        for wanted in topic.partitions:
            index = wanted.partition_index
            row = OffsetDeleteResponsePartition(partition_index=index)
            answer.partitions.append(row)
            if known is None or cluster.partition(known.topic_id, index) is None:
                row.error_code = errors.UnknownTopicOrPartition.code
            else:
                waiting.append((row, (topic.name, index)))
    codes = await call.broker.groups.delete_offsets(
        group_id=call.request.group_id, partitions=[where for _, where in waiting]
    )
    for (row, _), code in zip(waiting, codes, strict=True):
        row.error_code = code
    return OffsetDeleteResponse(topics=topics)
