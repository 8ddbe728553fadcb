"""One Fetch request under way: what is in memory at once, what lies in objects as it comes.

A fetch is answered when there is enough, and no later than it asks for. A partition whose data come
from a slow store is left out until they are there (`cold_reads`); but with nothing at all in hand a
fetch waits a little longer, because an empty answer would only be asked for again.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from automq._native import Buf, DamagedObject, cut
from automq.broker.cold_reads import READS_MAX, ColdRead, ColdReads, Found, Place
from automq.broker.dispatch import Call
from automq.broker.fetch_sessions import FetchContext, FetchedPartition, Key
from automq.broker.fetches import complete_late
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
from automq.stream.fair_share import Taker
from automq.stream.reader import Read

log = logging.getLogger(__name__)

NO_RECORDS = Buf(b"")
"""Kafka answers no records with none, never with null: librdkafka takes null for damage."""
OFFSET_MAX = 2**63 - 1

GOOD_ANSWER_BYTES = 1 << 20
"""With so much in hand nothing more is waited for: what a client asks of one partition, usually."""
GATHER_S = 0.01
"""So long, with less in hand, cold reads are waited for that were begun together with others."""
PATIENCE_S = 5.0
"""So long beyond its own time a fetch waits that would be empty while something is being read."""
CLOCK_S = 0.002
"""Timers may be early by this."""


@dataclass(slots=True)
class Row:
    """One partition of one attempt: what was asked, who has it, what is answered."""

    key: Key
    asked: FetchedPartition
    data: PartitionData
    partition: Partition | None = None
    size_bytes: int = 0
    place: Place | None = None
    """Where its data, or its error, lie among the cold reads; None: they came from elsewhere."""


class Fetching:
    """One request under way. `attempt` runs at once, and whenever there may be enough, until it is
    answered.
    """

    __slots__ = (
        "bytes_max",
        "call",
        "cold",
        "context",
        "deadline_s",
        "enough_since_s",
        "has_recent",
        "min_bytes",
        "pending",
        "rows",
        "size_bytes",
    )

    def __init__(self, call: Call[FetchRequest], context: FetchContext) -> None:
        request = call.request
        self.call = call
        self.context = context
        self.rows: list[Row] = []
        self.bytes_max = min(request.max_bytes, call.broker.config.get(FETCH_MAX_BYTES))
        self.min_bytes = min(request.min_bytes, self.bytes_max)
        wait_ms = max(request.max_wait_ms, 0) if context.partitions else 0
        self.deadline_s = asyncio.get_running_loop().time() + wait_ms / 1000
        self.cold: ColdReads | None = None
        self.enough_since_s: float | None = None
        self.size_bytes = 0
        self.pending = 0
        self.has_recent = False

    def attempt(self) -> None:
        """Take what is there, ask for what is not; answer, or wait for more."""
        call = self.call
        self.rows = [look(call, key, at) for key, at in list(self.context.partitions.items())]
        self.size_bytes, self.pending, self.has_recent = 0, 0, False
        for row in self.rows:
            if row.partition is not None:
                self._fill(row, row.partition)
        now_s = asyncio.get_running_loop().time()
        ends_s = self._waits_until(now_s)
        if ends_s is None or ends_s - now_s < CLOCK_S:
            self.finish()
        else:
            self._wait(now_s, ends_s)

    # -- what there is

    def _fill(self, row: Row, partition: Partition) -> None:
        """Put into a row what memory has, within the sizes of the request (KIP-74)."""
        first = self.size_bytes == 0
        room = max(min(row.asked.partition_max_bytes, self.bytes_max - self.size_bytes), 0)
        if room == 0 and not first:
            return
        end_offset = partition.end_for(self.call.request.isolation_level)
        if row.asked.fetch_offset >= end_offset:
            return
        recent = partition.read_cached(
            row.asked.fetch_offset, end_offset=end_offset, bytes_max=room, at_least_one=first
        )
        if recent is None:
            self._fill_cold(row, partition, room, end_offset)
        else:
            self.has_recent |= recent.size_bytes > 0
            self._take(row, recent)

    def _fill_cold(self, row: Row, partition: Partition, room: int, end_offset: int) -> None:
        """The same for what memory has of objects; what it has not is asked for."""
        cold = self._cold_reads()
        offset, isolation_level = row.asked.fetch_offset, self.call.request.isolation_level
        place = (partition.data.stream_id, offset, isolation_level)
        read = cold.at(place) or self._ask_for(place, partition, room, end_offset)
        if read is None:
            return
        if read.error is not None:
            row.place = place
            fail(row.data, read.error)
        elif read.found is None:
            self.pending += 1
        elif read.size_bytes == 0:
            # The batch there is not all stable yet: what comes next is read afresh.
            cold.drop(place)
        else:
            found = fit(read.found, offset, room, at_least_one=self.size_bytes == 0)
            if found.size_bytes > 0:
                row.place = place
                self._take(row, found)

    def _cold_reads(self) -> ColdReads:
        if self.cold is None:
            self.cold = self.call.broker.fetches.cold_reads(self.call.slot.connection)
            isolation_level = self.call.request.isolation_level
            self.cold.keep(
                {
                    (row.partition.data.stream_id, row.asked.fetch_offset, isolation_level)
                    for row in self.rows
                    if row.partition is not None
                }
            )
        return self.cold

    def _ask_for(
        self, place: Place, partition: Partition, room: int, end_offset: int
    ) -> ColdRead | None:
        """Begin to read at a place, if all that one answer may hold is not being read already."""
        cold = self._cold_reads()
        room = min(room, self.bytes_max - self.size_bytes - cold.pending_bytes)
        if len(cold) >= READS_MAX or (room <= 0 and len(cold) > 0):
            return None
        connection = self.call.slot.connection
        kept = partition.read_kept(
            place[1], end_offset=end_offset, bytes_max=room, taker=connection
        )
        if kept is not None:
            return cold.add(place, kept)
        work = partial(read_cold, partition, place[1], end_offset, room, connection)
        return cold.begin(place, room, work)

    def _take(self, row: Row, found: Found) -> None:
        """Put what was read into the row, with the aborted transactions that it touches."""
        row.data.records = found.bufs
        row.size_bytes = found.size_bytes
        self.size_bytes += found.size_bytes
        if self.call.request.isolation_level == READ_COMMITTED:
            assert row.partition is not None
            offset = row.asked.fetch_offset
            row.data.aborted_transactions = [
                AbortedTransaction(producer_id=it.producer_id, first_offset=it.first_offset)
                for it in row.partition.aborted(offset, found.next_offset)
            ]

    # -- how long to wait

    def _waits_until(self, now_s: float) -> float | None:
        """When to answer if nothing more comes; None: now."""
        if any(must_be_told(row.data) for row in self.rows):
            return None
        if self.pending and self.size_bytes == 0:
            return self.deadline_s + (PATIENCE_S if now_s + CLOCK_S > self.deadline_s else 0)
        if self.size_bytes < self.min_bytes:
            return self.deadline_s
        if not self.pending or self.has_recent or self.size_bytes >= GOOD_ANSWER_BYTES:
            return None
        if self.enough_since_s is None:
            self.enough_since_s = now_s
        return min(self.deadline_s, self.enough_since_s + GATHER_S)

    def _wait(self, now_s: float, ends_s: float) -> None:
        missing_bytes = self.min_bytes - self.size_bytes
        if missing_bytes <= 0:
            missing_bytes = GOOD_ANSWER_BYTES - self.size_bytes
        if now_s >= self.deadline_s or self.call.request.isolation_level == READ_COMMITTED:
            # Anything will do; and the few bytes of a marker make all of a transaction readable.
            missing_bytes = 1
        self.call.broker.fetches.wait(
            connection=self.call.slot.connection,
            partitions=[row.partition for row in self.rows if row.partition is not None],
            missing_bytes=max(missing_bytes, 1),
            missing_reads=self.pending,
            wait_s=ends_s - now_s,
            complete=self.attempt,
        )

    # -- the end

    def finish(self) -> None:
        """Answer what is in hand. The rest of the cold reads is for the next fetch."""
        slot = self.call.slot
        if slot.answered or slot.connection.is_closed:
            return
        wait_ms = 0.0
        if self.cold is not None:
            # From here on the slot holds the memory, and lets go with its connection as well.
            slot.held = [
                memory
                for row in self.rows
                if row.place is not None and (memory := self.cold.take(row.place)) is not None
            ]
            self.cold.until_next_fetch()
            if slot.held:
                wait_ms = self.call.broker.cold_pacing.wait_ms(self.size_bytes)
        if wait_ms < CLOCK_S * 1000 or self.has_recent:
            self._answer()
        else:
            asyncio.get_running_loop().call_later(wait_ms / 1000, self._answer_late)

    def _answer_late(self) -> None:
        connection = self.call.slot.connection
        if not connection.is_closed:
            complete_late(connection, self._answer)

    def _answer(self) -> None:
        answer(self.call, respond(self.context, self.rows))


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


async def read_cold(
    partition: Partition, offset: int, end_offset: int, bytes_max: int, taker: Taker
) -> Found:
    """What objects have at `offset`; raises what a client is told if that cannot be had."""
    try:
        return await partition.read(
            offset, end_offset=end_offset, bytes_max=bytes_max, at_least_one=True, taker=taker
        )
    except (MissingData, DamagedObject, StoreError) as error:
        raise why_cold_failed(partition, offset, error) from error


def why_cold_failed(partition: Partition, offset: int, error: Exception) -> errors.KafkaError:
    """What could not be read was trimmed or deleted meanwhile, or it is damage: an alarm."""
    if offset < partition.log_start_offset:
        return errors.OffsetOutOfRange(f"{partition}: {offset}")
    if not partition.data.is_open:
        return errors.NotLeaderOrFollower(f"{partition} has moved or was deleted")
    log.error("damage: %s at offset %d: %s", partition, offset, error)
    return errors.KafkaStorageError(str(error))


def fit(found: Found, offset: int, bytes_max: int, *, at_least_one: bool) -> Found:
    """As many whole batches of `found`, which begins at `offset`, as there is room for now."""
    if found.size_bytes <= bytes_max:
        return found
    bufs: list[Buf] = []
    size_bytes = 0
    for buf in found.bufs:
        first = at_least_one and size_bytes == 0
        part = cut(buf, offset, OFFSET_MAX, bytes_max - size_bytes, first)
        bufs += part.bufs
        size_bytes += part.size_bytes
        offset = part.next_offset
        if part.size_bytes < len(buf):
            break
    return Read(bufs, size_bytes, offset)


def must_be_told(data: PartitionData) -> bool:
    """Whether a partition has something to say that does not wait."""
    return data.error_code != 0 or data.diverging_epoch.end_offset >= 0


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
