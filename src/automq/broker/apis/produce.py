"""Produce (key 0): append batches. KIP-98, KIP-467 (record errors), KIP-516 (topic ids)."""

import logging

from automq._native import Buf
from automq.broker.dispatch import Call, handles
from automq.broker.requests import answer
from automq.partition import Appended, Partition
from automq.protocol import errors
from automq.protocol.messages.produce_request import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from automq.protocol.messages.produce_response import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)

log = logging.getLogger(__name__)

ALL_IN_SYNC = -1
ACKS = (0, 1, ALL_IN_SYNC)
FIRST_TOPIC_ID_VERSION = 13


class Producing:
    """One request under way: how many of its partitions are not durable yet."""

    __slots__ = ("call", "failed", "response", "starting", "waiting")

    def __init__(self, call: Call[ProduceRequest]) -> None:
        self.call = call
        self.response = ProduceResponse()
        self.waiting = 0
        self.starting = True
        self.failed: errors.KafkaError | None = None

    def finished_one(self) -> None:
        self.waiting -= 1
        if self.waiting == 0 and not self.starting:
            self.finish()

    def finish(self) -> None:
        slot = self.call.slot
        if self.call.request.acks != 0:
            answer(self.call, self.response)
        elif self.failed is not None:
            # There is no answer that could tell the client; Kafka closes, and it looks again.
            log.info("closing connection after a failed acks=0 produce: %s", self.failed)
            slot.give_up()
        else:
            slot.answer(None)


@handles(ProduceRequest, ProduceResponse, hot=True)
def produce(call: Call[ProduceRequest]) -> bool:
    """Answer when every batch is durable; False while the node has no room or is opening.

    acks=1 waits as acks=all does: nothing is visible before it is in the WAL.
    """
    request = call.request
    if must_wait(call):
        return False
    producing = Producing(call)
    for topic in request.topic_data:
        rows: list[PartitionProduceResponse] = []
        for data in topic.partition_data:
            row = PartitionProduceResponse(index=data.index, base_offset=-1)
            rows.append(row)
            start(producing, topic, data, row)
        producing.response.responses.append(
            TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=rows)
        )
    producing.starting = False
    if producing.waiting == 0:
        producing.finish()
    return True


def must_wait(call: Call[ProduceRequest]) -> bool:
    """Back-pressure: offer this request again when there is room, or when a partition is open."""
    broker, resume = call.broker, call.slot.connection.resume
    frame_bytes, engine = call.slot.frame_bytes, broker.engine
    if frame_bytes <= engine.wal.bytes_max and not engine.has_room(frame_bytes):
        broker.engine.when_there_is_room(resume)
        return True
    if not broker.partitions.opening:
        return False
    for topic in call.request.topic_data:
        for data in topic.partition_data:
            partition = broker.partitions.find(topic.topic_id, topic.name, data.index)
            if partition is not None and partition.is_opening:
                partition.on_ready.append(resume)
                return True
    return False


def start(
    producing: Producing,
    topic: TopicProduceData,
    data: PartitionProduceData,
    row: PartitionProduceResponse,
) -> None:
    """Append one partition's batch; fills `row` now (refused) or when it is durable."""
    call = producing.call
    partition: Partition | None = None

    def done(appended: Appended) -> None:
        row.base_offset = appended.base_offset
        row.log_append_time_ms = appended.log_append_time_ms
        row.log_start_offset = appended.log_start_offset
        producing.finished_one()

    producing.waiting += 1
    try:
        if call.request.acks not in ACKS:
            raise errors.InvalidRequiredAcks(f"acks={call.request.acks}: must be -1, 0 or 1")
        partition = call.broker.partitions.leader_of(
            topic.topic_id, topic.name, data.index, by_id=call.version >= FIRST_TOPIC_ID_VERSION
        )
        check_size(call)
        records = data.records if data.records is not None else Buf(b"")
        partition.append_produced(records, done, produce_version=call.version)
    except errors.KafkaError as error:
        producing.waiting -= 1
        producing.failed = error
        refuse(row, error, partition)


def check_size(call: Call[ProduceRequest]) -> None:
    """Raises RecordListTooLarge for a request that no WAL of this size can ever take."""
    bytes_max = call.broker.engine.wal.bytes_max
    if call.slot.frame_bytes > bytes_max:
        raise errors.RecordListTooLarge(
            f"a request of {call.slot.frame_bytes} bytes; the write-ahead log takes {bytes_max} "
            "(automq.wal.capacity.bytes)"
        )


def refuse(
    row: PartitionProduceResponse,
    error: errors.KafkaError,
    partition: Partition | None,
) -> None:
    """Say what was wrong, and with which records (KIP-467)."""
    row.error_code = error.code
    row.error_message = error.message
    row.log_append_time_ms = -1
    if partition is not None:
        row.log_start_offset = partition.log_start_offset
    row.record_errors = [
        BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=message)
        for index, message in getattr(error, "record_errors", ())
    ]
