"""OffsetFetch (key 9): where groups have got to. KIP-447 (stable offsets, v7), KIP-709 (several
groups, v8), KIP-848 (members, v9; topic ids, v10).

Only stored offsets of finished transactions are ever answered, so `require_stable` changes nothing.
"""

import asyncio

from automq.broker.dispatch import Call, handles
from automq.coordinator.group.replies import FetchedTopic, FetchTopic
from automq.metadata.cluster import ClusterImage
from automq.protocol import errors
from automq.protocol.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from automq.protocol.messages.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

GROUP_ERROR_SINCE = 2
SEVERAL_GROUPS_SINCE = 8
TOPIC_IDS_SINCE = 10
NO_OFFSET = -1


@handles(OffsetFetchRequest, OffsetFetchResponse)
async def offset_fetch(call: Call[OffsetFetchRequest]) -> OffsetFetchResponse:
    """Errors, per group: those of a coordinator that is not here. Per partition: UNKNOWN_TOPIC_ID.

    A partition without a committed offset is no error: its offset is -1.
    """
    if call.version >= SEVERAL_GROUPS_SINCE:
        groups = await asyncio.gather(
            *(fetch_group(call, group.group_id, group) for group in call.request.groups)
        )
        return OffsetFetchResponse(groups=list(groups))
    return await fetch_one_group(call)


async def fetch_group(
    call: Call[OffsetFetchRequest], group_id: str, group: OffsetFetchRequestGroup
) -> OffsetFetchResponseGroup:
    """The offsets of one group. From v10 on topics come and go by their ids."""
    cluster, by_id = call.broker.cluster, call.version >= TOPIC_IDS_SINCE
    answer = OffsetFetchResponseGroup(group_id=group_id)
    wanted = None
    if group.topics is not None:
        wanted = []
        for topic in group.topics:
            known = cluster.topics.get(topic.topic_id) if by_id else None
            if by_id and known is None:
                answer.topics.append(unknown_topic(topic))
            else:
                name = topic.name if known is None else known.name
                wanted.append(FetchTopic(name, tuple(topic.partition_indexes), topic.topic_id))
    try:
        fetched = await call.broker.groups.fetch_offsets(group_id=group_id, topics=wanted)
    except errors.KafkaError as error:
        return OffsetFetchResponseGroup(group_id=group_id, error_code=error.code)
    answer.topics += [row for topic in fetched if (row := topic_row(topic, cluster, by_id=by_id))]
    return answer


def unknown_topic(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics:
    rows = [
        OffsetFetchResponsePartitions(
            partition_index=index,
            committed_offset=NO_OFFSET,
            error_code=errors.UnknownTopicId.code,
        )
        for index in topic.partition_indexes
    ]
    return OffsetFetchResponseTopics(topic_id=topic.topic_id, partitions=rows)


def topic_row(
    topic: FetchedTopic, cluster: ClusterImage, *, by_id: bool
) -> OffsetFetchResponseTopics | None:
    """One topic of the answer; None if it is to be named by its id and has none any more."""
    topic_id = cluster.topic_ids.get(topic.topic) if by_id else None
    if by_id and topic_id is None:
        return None
    rows = [
        OffsetFetchResponsePartitions(
            partition_index=fetched.partition,
            committed_offset=fetched.offset,
            committed_leader_epoch=fetched.leader_epoch,
            metadata=fetched.metadata,
            error_code=fetched.error_code,
        )
        for fetched in topic.partitions
    ]
    if topic_id is not None:
        return OffsetFetchResponseTopics(topic_id=topic_id, partitions=rows)
    return OffsetFetchResponseTopics(name=topic.topic, partitions=rows)


async def fetch_one_group(call: Call[OffsetFetchRequest]) -> OffsetFetchResponse:
    """Before v8: one group, and before v2 no place for its error but the partitions."""
    request = call.request
    topics = request.topics
    wanted = None
    if topics is not None:
        wanted = [
            OffsetFetchRequestTopics(t.name, partition_indexes=t.partition_indexes) for t in topics
        ]
    group = OffsetFetchRequestGroup(request.group_id, topics=wanted)
    found = await fetch_group(call, request.group_id, group)
    if found.error_code and call.version < GROUP_ERROR_SINCE:
        return OffsetFetchResponse(topics=refused(topics or [], found.error_code))
    return OffsetFetchResponse(
        error_code=found.error_code,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=row.partition_index,
                        committed_offset=row.committed_offset,
                        committed_leader_epoch=row.committed_leader_epoch,
                        metadata=row.metadata,
                        error_code=row.error_code,
                    )
                    for row in topic.partitions
                ],
            )
            for topic in found.topics
        ],
    )


def refused(topics: list[OffsetFetchRequestTopic], code: int) -> list[OffsetFetchResponseTopic]:
    return [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=index, committed_offset=NO_OFFSET, error_code=code
                )
                for index in topic.partition_indexes
            ],
        )
        for topic in topics
    ]
