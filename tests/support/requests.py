"""Produce and Fetch requests, short enough for tests."""

from typing import Any

from automq._native import Buf, build_batch, read_records
from automq.protocol.messages.fetch_request import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ForgottenTopic,
)
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from support.virtual_time import WALL_START_MS

PRODUCE_VERSION = 12
FETCH_VERSION = 12


def records(*values: bytes, **fields: Any) -> Buf:
    rows: list[tuple[int, None, bytes, list[Any]]] = [
        (WALL_START_MS, None, value, []) for value in values
    ]
    return build_batch(rows, **fields)


def produce(
    *values: bytes, topic: str = "t", partition: int = 0, acks: int = -1, **fields: Any
) -> ProduceRequest:
    data = PartitionProduceData(partition, records(*values, **fields))
    rows = [TopicProduceData(name=topic, partition_data=[data])]
    return ProduceRequest(acks=acks, timeout_ms=1000, topic_data=rows)


def fetch(
    offset: int = 0,
    *,
    topic: str = "t",
    partitions: dict[int, int] | None = None,
    forgotten: tuple[int, ...] = (),
    partition_max_bytes: int = 1 << 20,
    current_leader_epoch: int = -1,
    **fields: Any,
) -> FetchRequest:
    """`partitions`: offsets by partition; without it partition 0 at `offset`."""
    rows = [
        FetchPartition(
            partition=index,
            fetch_offset=at,
            partition_max_bytes=partition_max_bytes,
            current_leader_epoch=current_leader_epoch,
        )
        for index, at in ({0: offset} if partitions is None else partitions).items()
    ]
    gone = [ForgottenTopic(topic=topic, partitions=list(forgotten))] if forgotten else []
    defaults = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 50 << 20}
    return FetchRequest(
        topics=[FetchTopic(topic=topic, partitions=rows)] if rows else [],
        forgotten_topics_data=gone,
        **(defaults | fields),
    )


def only(answer: Any) -> Any:
    """The one row of a Produce or Fetch answer."""
    [topic] = answer.responses
    rows = topic.partition_responses if hasattr(topic, "partition_responses") else topic.partitions
    [row] = rows
    return row


def values(row: Any) -> list[bytes]:
    """Of the records in a row of a Fetch answer."""
    data = row.records or []
    return [
        record.value or b""
        for buf in ([data] if isinstance(data, (bytes, Buf)) else data)
        for record in read_records(buf)
    ]
