"""DescribeTopicPartitions (key 75): topics and leaders, page by page. KIP-966."""

from dataclasses import dataclass, field

from automq.broker.authorized import TOPIC_OPERATIONS
from automq.broker.dispatch import Call, handles
from automq.broker.internal_topics import is_internal
from automq.broker.topology import Topology, why_missing
from automq.config import keys
from automq.metadata.records.topics import TopicCreated
from automq.protocol import errors
from automq.protocol.messages.describe_topic_partitions_request import (
    Cursor as RequestCursor,
)
from automq.protocol.messages.describe_topic_partitions_request import (
    DescribeTopicPartitionsRequest,
)
from automq.protocol.messages.describe_topic_partitions_response import (
    Cursor,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)


@handles(DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse)
async def describe_topic_partitions(
    call: Call[DescribeTopicPartitionsRequest],
) -> DescribeTopicPartitionsResponse:
    """Topics by name, from the cursor on, up to the limit of partitions of both sides.

    Errors, per topic: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, INVALID_REQUEST (for
    all: a cursor that points nowhere).
    """
    request, cluster = call.request, call.broker.cluster
    cursor = request.cursor or RequestCursor()
    asked = [topic.name for topic in request.topics]
    try:
        check_cursor(request.cursor, asked)
    except errors.InvalidRequest as error:
        return DescribeTopicPartitionsResponse(topics=[refused(name, error) for name in asked])
    names = sorted(name for name in set(asked or cluster.topic_ids) if name >= cursor.topic_name)
    limit = call.broker.configs.broker.get(keys.kafka.MAX_REQUEST_PARTITION_SIZE_LIMIT)
    page = Page(
        Topology(cluster, call.listener.name),
        room=max(1, min(limit, request.response_partition_limit)),
    )
    for name in names:
        start = cursor.partition_index if name == cursor.topic_name else 0
        if not page.add(name, start):
            break
    return DescribeTopicPartitionsResponse(topics=page.rows, next_cursor=page.next_cursor)


def check_cursor(cursor: RequestCursor | None, asked: list[str]) -> None:
    if cursor is None:
        return
    if asked and cursor.topic_name not in asked:
        raise errors.InvalidRequest(
            "DescribeTopicPartitionsRequest topic list should contain the cursor topic: "
            f"{cursor.topic_name}"
        )
    if cursor.partition_index < 0:
        raise errors.InvalidRequest(
            "DescribeTopicPartitionsRequest cursor partition must be valid: "
            f"{cursor.topic_name}-{cursor.partition_index}"
        )


def refused(name: str, error: errors.KafkaError) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        error_code=error.code,
        name=name,
        is_internal=is_internal(name),
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


@dataclass(slots=True)
class Page:
    """One answer, with room for so many partitions; `next_cursor` is where the next begins."""

    topology: Topology
    room: int
    rows: list[DescribeTopicPartitionsResponseTopic] = field(default_factory=list)
    next_cursor: Cursor | None = None

    def add(self, name: str, start: int) -> bool:
        """Add a topic's partitions from `start` on; False when the page is full."""
        topic = self.topology.cluster.topic(name)
        if self.room == 0:
            self.next_cursor = Cursor(name, start)
            return False
        if topic is None:
            self.rows.append(refused(name, why_missing(name)))
            return True
        partitions = self._partitions(topic, start)
        self.rows.append(
            DescribeTopicPartitionsResponseTopic(
                name=name,
                topic_id=topic.topic_id,
                is_internal=is_internal(name),
                partitions=partitions,
                topic_authorized_operations=TOPIC_OPERATIONS,
            )
        )
        self.room -= len(partitions)
        end = start + len(partitions)
        if end < self.topology.cluster.partition_count(topic.topic_id):
            self.next_cursor = Cursor(name, end)
            return False
        return True

    def _partitions(
        self, topic: TopicCreated, start: int
    ) -> list[DescribeTopicPartitionsResponsePartition]:
        cluster = self.topology.cluster
        end = min(cluster.partition_count(topic.topic_id), start + self.room)
        rows = []
        for index in range(start, end):
            partition = cluster.partition(topic.topic_id, index)
            assert partition is not None, (topic.name, index)
            placed = self.topology.place(partition)
            rows.append(
                DescribeTopicPartitionsResponsePartition(
                    partition_index=index,
                    leader_id=placed.leader_id,
                    leader_epoch=partition.leader_epoch,
                    replica_nodes=placed.replicas,
                    isr_nodes=placed.in_sync,
                    eligible_leader_replicas=[],
                    last_known_elr=[],
                    offline_replicas=placed.offline,
                )
            )
        return rows
