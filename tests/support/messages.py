"""Requests about records, short to write."""

from typing import Any

from automq._native import Buf, build_batch
from automq.protocol.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from automq.protocol.messages.list_offsets_request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)

NO_ID = bytes(16)
NOW_MS = 1_700_000_000_000


def batch(*values: bytes, key: bytes | None = b"k", at_ms: int = NOW_MS, **fields: Any) -> Buf:
    """A batch of records with these values."""
    return build_batch([(at_ms, key, value, []) for value in values], **fields)


def produce(
    topic: str,
    records: Buf | None,
    *,
    partition: int = 0,
    acks: int = -1,
    topic_id: bytes = NO_ID,
    transactional_id: str | None = None,
) -> ProduceRequest:
    rows = [PartitionProduceData(partition, records)]
    topics = [TopicProduceData(topic, topic_id, rows)]
    return ProduceRequest(transactional_id, acks, 30_000, topics)


def fetch(
    topic: str,
    offset: int = 0,
    *,
    partition: int = 0,
    topic_id: bytes = NO_ID,
    bytes_max: int = 1 << 20,
    current_leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
    **fields: Any,
) -> FetchRequest:
    row = FetchPartition(
        partition=partition,
        fetch_offset=offset,
        current_leader_epoch=current_leader_epoch,
        last_fetched_epoch=last_fetched_epoch,
        partition_max_bytes=bytes_max,
    )
    fields.setdefault("min_bytes", 1)
    return FetchRequest(topics=[FetchTopic(topic, topic_id, [row])], **fields)


def list_offsets(
    topic: str, timestamp: int, *, partition: int = 0, epoch: int = -1, isolation_level: int = 0
) -> ListOffsetsRequest:
    row = ListOffsetsPartition(partition, epoch, timestamp)
    return ListOffsetsRequest(-1, isolation_level, [ListOffsetsTopic(topic, [row])], 10_000)


def only(rows: Any) -> Any:
    """The one partition of an answer's one topic."""
    (topic,) = rows
    (row,) = getattr(topic, "partitions", None) or topic.partition_responses
    return row
