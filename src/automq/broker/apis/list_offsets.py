"""ListOffsets (key 2): offsets by timestamp, and the special ones. KIP-79, KIP-734 (largest
timestamp), KIP-405 and KIP-1005 and KIP-1023 (tiered storage, which this is not).
"""

import logging
from collections import Counter

from automq._native import DamagedObject
from automq.broker.dispatch import Call, handles
from automq.objectstore import StoreError
from automq.partition import Partition
from automq.partition.lookup import Found, largest_timestamp, offset_for_timestamp
from automq.protocol import errors
from automq.protocol.messages.list_offsets_request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from automq.protocol.messages.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from automq.stream.engine import MissingData

log = logging.getLogger(__name__)

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6

FIRST_EPOCH_VERSION = 4
NO_EPOCH = -1
FIRST_VERSION = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}


@handles(ListOffsetsRequest, ListOffsetsResponse)
async def list_offsets(call: Call[ListOffsetsRequest]) -> ListOffsetsResponse:
    """Errors, per partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, epoch errors,
    INVALID_REQUEST for a partition named twice, UNSUPPORTED_VERSION for an unknown timestamp,
    KAFKA_STORAGE_ERROR for damage.
    """
    asked = Counter(
        (topic.name, wanted.partition_index)
        for topic in call.request.topics
        for wanted in topic.partitions
    )
    topics = [
        ListOffsetsTopicResponse(
            name=topic.name,
            partitions=[
                await answer_one(call, topic, wanted, asked[topic.name, wanted.partition_index])
                for wanted in topic.partitions
            ],
        )
        for topic in call.request.topics
    ]
    return ListOffsetsResponse(topics=topics)


async def answer_one(
    call: Call[ListOffsetsRequest],
    topic: ListOffsetsTopic,
    wanted: ListOffsetsPartition,
    times_asked: int,
) -> ListOffsetsPartitionResponse:
    row = ListOffsetsPartitionResponse(partition_index=wanted.partition_index)
    try:
        if times_asked > 1:
            raise errors.InvalidRequest(f"{topic.name}-{wanted.partition_index} is named twice")
        first_version = FIRST_VERSION.get(wanted.timestamp, 0)
        if wanted.timestamp < EARLIEST_PENDING_UPLOAD or call.version < first_version:
            raise errors.UnsupportedVersion(f"timestamp {wanted.timestamp}")
        partition = call.broker.partitions.leader_of(b"", topic.name, wanted.partition_index)
        await partition.until_ready()
        partition.check_epoch(wanted.current_leader_epoch)
        await fill(partition, wanted.timestamp, call.request.isolation_level, row)
        if call.version < FIRST_EPOCH_VERSION:
            row.leader_epoch = NO_EPOCH
    except errors.KafkaError as error:
        row.error_code = error.code
    except (MissingData, DamagedObject, StoreError) as error:
        log.error("damage: %s-%d: %s", topic.name, wanted.partition_index, error)
        row.error_code = errors.KafkaStorageError.code
    return row


async def fill(
    partition: Partition, timestamp: int, isolation_level: int, row: ListOffsetsPartitionResponse
) -> None:
    """Put offset, timestamp and leader epoch into `row`; nothing found leaves it at -1."""
    end_offset = partition.end_for(isolation_level)
    if timestamp == LATEST:
        row.offset, row.leader_epoch = end_offset, partition.leader_epoch
        return
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        row.offset = partition.log_start_offset
        row.leader_epoch = partition.epochs.epoch_at(row.offset)
        return
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        # Kafka's answer for a topic without remote storage.
        return
    found: Found | None
    if timestamp == MAX_TIMESTAMP:
        found = await largest_timestamp(partition)
    else:
        found = await offset_for_timestamp(partition, timestamp)
    if found is not None and found[1] < end_offset:
        row.timestamp, row.offset = found
        row.leader_epoch = partition.epochs.epoch_at(row.offset)
