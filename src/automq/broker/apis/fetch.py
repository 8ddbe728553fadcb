"""Fetch (key 1): read batches. KIP-74 (sizes), KIP-98 (isolation), KIP-227 (sessions), KIP-320
(epochs), KIP-516 (topic ids).
"""

import asyncio
import logging
from dataclasses import dataclass

from automq._native import Buf, CacheRead, DamagedObject
from automq.broker.dispatch import Call, handles
from automq.broker.fetch_sessions import FetchContext, FetchedPartition, Key
from automq.broker.requests import answer
from automq.config.keys.kafka import FETCH_MAX_BYTES
from automq.objectstore import StoreError
from automq.partition import READ_COMMITTED, Partition
from automq.protocol import errors
from automq.protocol.messages.fetch_request import FetchRequest
from automq.protocol.messages.fetch_response import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchResponse,
    PartitionData,
)
from automq.stream.engine import MissingData
from automq.stream.reader import Read

log = logging.getLogger(__name__)

FIRST_TOPIC_ID_VERSION = 13
FIRST_SESSION_VERSION = 7
NO_RECORDS = Buf(b"")
"""Kafka answers no records with none, never with null: librdkafka takes null for damage."""


@dataclass(slots=True)
class Row:
    """One partition of one attempt: what was asked, who has it, what is answered."""

    key: Key
    asked: FetchedPartition
    data: PartitionData
    partition: Partition | None = None
    size_bytes: int = 0
    is_cold: bool = False


class Fetching:
    """One request under way. `attempt` runs at once, and whenever there may be enough, until the
    time is over.
    """

    __slots__ = ("bytes_max", "call", "context", "deadline_s", "is_final", "min_bytes", "rows")

    def __init__(self, call: Call[FetchRequest], context: FetchContext) -> None:
        self.call = call
        self.context = context
        self.rows: list[Row] = []
        self.is_final = call.request.max_wait_ms <= 0 or not context.partitions
        self.bytes_max = min(call.request.max_bytes, call.broker.config.get(FETCH_MAX_BYTES))
        self.min_bytes = min(call.request.min_bytes, self.bytes_max)
        self.deadline_s: float | None = None

    def attempt(self) -> None:
        """Read what is there; answer, or wait for more, or get what lies in objects."""
        self.rows = [
            look(self.call, key, asked) for key, asked in list(self.context.partitions.items())
        ]
        size_bytes = read_cached(self.call, self.rows, self.bytes_max)
        if any(row.is_cold for row in self.rows):
            self.call.broker.background.spawn("cold fetch", self._read_cold())
        elif self.is_final or self._is_enough(size_bytes):
            self.finish()
        else:
            self._wait(self.min_bytes - size_bytes)

    def _is_enough(self, size_bytes: int) -> bool:
        if size_bytes >= self.min_bytes:
            return True
        return any(
            row.data.error_code != 0 or row.data.diverging_epoch.end_offset >= 0
            for row in self.rows
        )

    def _wait(self, missing_bytes: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if self.deadline_s is None:
            self.deadline_s = now_s + self.call.request.max_wait_ms / 1000
        if self.call.request.isolation_level == READ_COMMITTED:
            # The few bytes of a marker make all of its transaction readable.
            missing_bytes = 1
        self.call.broker.fetches.wait(
            connection=self.call.slot.connection,
            partitions=[row.partition for row in self.rows if row.partition is not None],
            missing_bytes=missing_bytes,
            wait_ms=(self.deadline_s - now_s) * 1000,
            complete=self._woken,
        )

    def _woken(self, is_over: bool) -> None:
        self.is_final = is_over
        self.attempt()

    async def _read_cold(self) -> None:
        """Get what lies in objects, side by side, within the sizes that the request allows.

        What memory had is served with it; each cold partition gets its share in its turn, and a
        session serves those that gave data last next time, so none is starved.
        """
        total_bytes = sum(row.size_bytes for row in self.rows)
        room = self.bytes_max - total_bytes
        first = total_bytes == 0
        async with asyncio.TaskGroup() as reads:
            for row in self.rows:
                if not row.is_cold or (room <= 0 and not first):
                    continue
                share = max(min(room, row.asked.partition_max_bytes), 0)
                reads.create_task(read_one_cold(self.call, row, share, at_least_one=first))
                room -= share
                first = False
        self.finish()

    def finish(self) -> None:
        if self.call.slot.answered or self.call.slot.connection.is_closed:
            return
        answer(self.call, respond(self.context, self.rows))


@handles(FetchRequest, FetchResponse, hot=True)
def fetch(call: Call[FetchRequest]) -> bool:
    """Answer when `min_bytes` are there, or `max_wait_ms` are over. Errors are per partition."""
    broker, request = call.broker, call.request
    uses_topic_ids = call.version >= FIRST_TOPIC_ID_VERSION
    asked, forgotten = what_is_asked(call, uses_topic_ids=uses_topic_ids)
    if must_wait(call, asked):
        return False
    try:
        context = broker.fetch_sessions.context(
            session_id=request.session_id,
            epoch=request.session_epoch if call.version >= FIRST_SESSION_VERSION else -1,
            uses_topic_ids=uses_topic_ids,
            asked=asked,
            forgotten=forgotten,
            now_ms=broker.world.clock.monotonic_ms(),
            new_id=broker.world.chance.randrange(1, 2**31 - 1),
        )
    except errors.KafkaError as error:
        answer(call, error_answer_of(error))
        return True
    Fetching(call, context).attempt()
    return True


def must_wait(call: Call[FetchRequest], asked: dict[Key, FetchedPartition]) -> bool:
    """Whether a partition of the request or its session is opening: offer it again after that."""
    broker = call.broker
    if not broker.partitions.opening:
        return False
    for wanted in (*asked.values(), *broker.fetch_sessions.known_to(call.request.session_id)):
        partition = broker.partitions.find(wanted.topic_id, wanted.topic, wanted.partition)
        if partition is not None and partition.is_opening:
            partition.on_ready.append(call.slot.connection.resume)
            return True
    return False


def error_answer_of(error: errors.KafkaError) -> FetchResponse:
    return FetchResponse(error_code=error.code)


def what_is_asked(
    call: Call[FetchRequest], *, uses_topic_ids: bool
) -> tuple[dict[Key, FetchedPartition], list[Key]]:
    """The partitions that a request names, and those that it drops from its session."""
    asked: dict[Key, FetchedPartition] = {}
    topics = call.broker.cluster.topics
    for topic in call.request.topics:
        name, topic_id = topic.topic, topic.topic_id
        if uses_topic_ids:
            known = topics.get(topic_id)
            name = "" if known is None else known.name
        key = topic_id if uses_topic_ids else name
        for wanted in topic.partitions:
            asked[key, wanted.partition] = FetchedPartition(
                topic=name,
                topic_id=topic_id,
                partition=wanted.partition,
                fetch_offset=wanted.fetch_offset,
                partition_max_bytes=wanted.partition_max_bytes,
                current_leader_epoch=wanted.current_leader_epoch,
                last_fetched_epoch=wanted.last_fetched_epoch,
            )
    forgotten = [
        (gone.topic_id if uses_topic_ids else gone.topic, partition)
        for gone in call.request.forgotten_topics_data
        for partition in gone.partitions
    ]
    return asked, forgotten


def look(call: Call[FetchRequest], key: Key, asked: FetchedPartition) -> Row:
    """Find the partition and fill in what does not depend on data."""
    data = PartitionData(partition_index=asked.partition, high_watermark=-1, records=NO_RECORDS)
    row = Row(key, asked, data)
    try:
        partition = call.broker.partitions.leader_of(
            asked.topic_id, asked.topic, asked.partition, by_id=isinstance(key[0], bytes)
        )
        if not partition.ready:
            # It has come back while this fetch waited: what it holds back is not known yet.
            raise errors.NotLeaderOrFollower(f"{partition} is opening")
        partition.check_epoch(asked.current_leader_epoch)
        data.log_start_offset = partition.log_start_offset
        data.high_watermark = partition.high_watermark
        data.last_stable_offset = partition.last_stable_offset
        if call.request.isolation_level != READ_COMMITTED:
            data.aborted_transactions = None
        if not diverges(partition, asked, data):
            partition.check_fetch_offset(asked.fetch_offset)
            row.partition = partition
    except errors.KafkaError as error:
        fail(data, error)
    return row


def fail(data: PartitionData, error: errors.KafkaError) -> None:
    data.error_code = error.code
    data.high_watermark = -1
    data.last_stable_offset = -1
    data.log_start_offset = -1


def diverges(partition: Partition, asked: FetchedPartition, data: PartitionData) -> bool:
    """Whether the reader's last epoch ended before its position (KIP-595's truncation check)."""
    if asked.last_fetched_epoch < 0:
        return False
    epoch, end_offset = partition.epochs.end_of(
        asked.last_fetched_epoch, log_end_offset=partition.log_end_offset
    )
    if epoch < 0 or end_offset < 0:
        raise errors.OffsetOutOfRange(f"{partition}: epoch {asked.last_fetched_epoch} is unknown")
    if epoch < asked.last_fetched_epoch or end_offset < asked.fetch_offset:
        data.diverging_epoch = EpochEndOffset(epoch=epoch, end_offset=end_offset)
        return True
    return False


def read_cached(call: Call[FetchRequest], rows: list[Row], bytes_max: int) -> int:
    """Fill in what memory has, within the request's sizes; returns how many bytes that is."""
    total_bytes = 0
    for row in rows:
        partition = row.partition
        if partition is None:
            continue
        room = min(row.asked.partition_max_bytes, bytes_max - total_bytes)
        if room <= 0 and total_bytes > 0:
            continue
        end_offset = partition.end_for(call.request.isolation_level)
        if row.asked.fetch_offset >= end_offset:
            continue
        found = partition.read_cached(
            row.asked.fetch_offset,
            end_offset=end_offset,
            bytes_max=max(room, 0),
            at_least_one=total_bytes == 0,
        )
        if found is None:
            row.is_cold = True
            continue
        total_bytes += take(call, row, found)
    return total_bytes


async def read_one_cold(
    call: Call[FetchRequest], row: Row, bytes_max: int, *, at_least_one: bool
) -> None:
    """Fill in what objects have; damage is the client's KAFKA_STORAGE_ERROR and an alarm."""
    partition = row.partition
    assert partition is not None
    try:
        found = await partition.read(
            row.asked.fetch_offset,
            end_offset=partition.end_for(call.request.isolation_level),
            bytes_max=bytes_max,
            at_least_one=at_least_one,
        )
    except (MissingData, DamagedObject, StoreError) as error:
        fail(row.data, why_cold_failed(partition, row.asked.fetch_offset, error))
        return
    if row.asked.fetch_offset < partition.log_start_offset:
        # Trimmed while it was read.
        fail(row.data, errors.OffsetOutOfRange(f"{partition}: {row.asked.fetch_offset}"))
        return
    take(call, row, found)


def why_cold_failed(partition: Partition, offset: int, error: Exception) -> errors.KafkaError:
    """What could not be read was trimmed or deleted meanwhile, or it is damage: an alarm."""
    if offset < partition.log_start_offset:
        return errors.OffsetOutOfRange(f"{partition}: {offset}")
    if not partition.data.is_open:
        return errors.NotLeaderOrFollower(f"{partition} has moved or was deleted")
    log.error("damage: %s at offset %d: %s", partition, offset, error)
    return errors.KafkaStorageError(str(error))


def take(call: Call[FetchRequest], row: Row, found: CacheRead | Read) -> int:
    """Put what was read into the row, with the aborted transactions that it touches."""
    row.data.records = found.bufs
    row.size_bytes = found.size_bytes
    if call.request.isolation_level == READ_COMMITTED:
        assert row.partition is not None
        row.data.aborted_transactions = [
            AbortedTransaction(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
            for aborted in row.partition.producers.aborted(
                row.asked.fetch_offset, found.next_offset
            )
        ]
    return found.size_bytes


def respond(context: FetchContext, rows: list[Row]) -> FetchResponse:
    """The answer; of an incremental fetch only what is new (KIP-227)."""
    response = FetchResponse(session_id=context.session_id, responses=[])
    topics: dict[bytes | str, FetchableTopicResponse] = {}
    for row in rows:
        if context.session is not None and not note(context, row):
            continue
        topic = topics.get(row.key[0])
        if topic is None:
            topic = FetchableTopicResponse(
                topic=row.asked.topic, topic_id=row.asked.topic_id, partitions=[]
            )
            topics[row.key[0]] = topic
            response.responses.append(topic)
        topic.partitions.append(row.data)
    return response


def note(context: FetchContext, row: Row) -> bool:
    """Remember in the session what is answered; True when it has to be in the answer."""
    assert context.session is not None
    asked, data = row.asked, row.data
    changed = (
        row.size_bytes > 0
        or asked.high_watermark != data.high_watermark
        or asked.log_start_offset != data.log_start_offset
        or data.error_code != 0
        or data.diverging_epoch.end_offset >= 0
    )
    asked.high_watermark = data.high_watermark if data.error_code == 0 else -1
    asked.log_start_offset = data.log_start_offset
    if row.size_bytes > 0 and row.key in context.session.partitions:
        context.session.move_to_end(row.key)
    return changed or not context.is_incremental
