"""What clients saw, and what they must never see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from automq._native import Batch, batches, read_records
from automq.protocol import errors
from automq.protocol.messages.fetch_response import PartitionData
from sim.client import Conversation, View

Value = tuple[str, int]
"""Who wrote a record, and which of its records it is."""


def encode_value(value: Value, padding: int) -> bytes:
    return f"{value[0]}/{value[1]}/".encode() + b"x" * padding


def decode_value(data: bytes) -> Value:
    name, number, _ = data.decode().split("/", 2)
    return name, int(number)


@dataclass(frozen=True, slots=True)
class Floor:
    """What was certain when a question was asked, so that no answer may be below."""

    end: int
    start: int


@dataclass(slots=True, eq=False)
class PartitionTruth:
    """One partition of one topic id."""

    topic: str
    index: int
    is_expiring: bool = False
    """Retention deletes here, so the start may move by itself."""
    content: dict[int, Value] = field(default_factory=dict)
    stamps: dict[int, int] = field(default_factory=dict)
    """Timestamps of the records that were read."""
    acked: dict[Value, int] = field(default_factory=dict)
    """Acknowledged records by value, with their offsets."""
    end_seen: int = 0
    """Everything below was acknowledged, or shown as readable: it stays."""
    start_wanted: int = 0
    """The highest start that anybody asked for, answered or not."""
    start_seen: int = 0
    """The highest start that was acknowledged or shown: it stays."""

    def __str__(self) -> str:
        return f"{self.topic}-{self.index}"

    @property
    def floor(self) -> Floor:
        return Floor(self.end_seen, self.start_seen)


class Truth:
    """Everything known of every partition; `violations` is what the run is judged by."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.complain = complain
        self.partitions: list[PartitionTruth] = []
        self.idempotent: set[str] = set()
        """Names of producers whose records must be there at most once."""
        self.lossy: set[str] = set()
        """Names of those whose records may be missing, and come in any order."""
        self.acknowledged = 0
        self.records_read = 0

    def add(self, topic: str, index: int, *, is_expiring: bool = False) -> PartitionTruth:
        partition = PartitionTruth(topic, index, is_expiring)
        self.partitions.append(partition)
        return partition

    # -- producing

    def note_acked(self, at: PartitionTruth, values: Sequence[Value], base_offset: int) -> None:
        """A produce request was answered without an error."""
        if base_offset < 0:
            self.complain(f"{at}: {values[0]} was acknowledged without an offset")
            return
        for number, value in enumerate(values):
            self._is_at(at, base_offset + number, value, "acknowledged")
            at.acked[value] = base_offset + number
        at.end_seen = max(at.end_seen, base_offset + len(values))
        self.acknowledged += len(values)

    def _is_at(self, at: PartitionTruth, offset: int, value: Value, how: str) -> None:
        known = at.content.setdefault(offset, value)
        if known != value:
            self.complain(f"{at}: offset {offset} was {known}, and {value} is {how} there")

    # -- reading

    def note_fetched(
        self,
        conversation: Conversation,
        at: PartitionTruth,
        position: int,
        data: PartitionData,
        floor: Floor,
        *,
        may_be_empty: bool = False,
    ) -> int:
        """Check one partition of a fetch; where to read on (-1: the position is out of range)."""
        if data.error_code == errors.OffsetOutOfRange.code:
            self._check_out_of_range(conversation, at, position, floor)
            return -1
        if data.error_code != 0:
            return position
        self._check_bounds(conversation, at, data, floor)
        if position < data.log_start_offset:
            self.complain(f"{at}: read at {position}, below its start {data.log_start_offset}")
        bufs = data.records if isinstance(data.records, list) else [data.records]
        found = batches(b"".join(bytes(buf) for buf in bufs if buf is not None))
        if not found and position < data.high_watermark and not may_be_empty:
            self.complain(
                f"{at}: nothing at {position}, below the high watermark {data.high_watermark}"
            )
        for batch in found:
            position = self._check_batch(at, position, batch, data.high_watermark)
        return position

    def _check_bounds(
        self, conversation: Conversation, at: PartitionTruth, data: PartitionData, floor: Floor
    ) -> None:
        view = conversation.views.setdefault(id(at), View())
        if data.high_watermark < view.high_watermark:
            self.complain(
                f"{at}: high watermark went from {view.high_watermark} to {data.high_watermark}"
            )
        if data.log_start_offset < view.log_start:
            self.complain(f"{at}: start went from {view.log_start} to {data.log_start_offset}")
        view.high_watermark, view.log_start = data.high_watermark, data.log_start_offset
        if conversation.is_current:
            self.check_end(at, data.high_watermark, floor)
            self.check_start(at, data.log_start_offset, floor)
        at.end_seen = max(at.end_seen, data.high_watermark)
        at.start_seen = max(at.start_seen, data.log_start_offset)

    def check_end(self, at: PartitionTruth, end: int, floor: Floor) -> None:
        if end < floor.end:
            self.complain(f"{at}: ends at {end}, but {floor.end} was acknowledged or shown")

    def check_start(self, at: PartitionTruth, start: int, floor: Floor) -> None:
        if start < floor.start:
            self.complain(f"{at}: starts at {start}, but {floor.start} was acknowledged or shown")
        if start > at.start_wanted and not at.is_expiring:
            self.complain(f"{at}: starts at {start}, but only {at.start_wanted} was asked for")

    def check_found(
        self, at: PartitionTruth, timestamp: int, offset: int, before: dict[int, int]
    ) -> None:
        """The answer to a search by time. `before` are stamps that were known when it was asked."""
        if offset >= 0 and at.stamps.get(offset, timestamp) < timestamp:
            self.complain(f"{at}: {offset} is found for {timestamp}, and is older")
        for known, stamp in before.items():
            is_before = known >= at.start_wanted and (offset < 0 or known < offset)
            if is_before and stamp >= timestamp and not at.is_expiring:
                self.complain(f"{at}: {offset} is found for {timestamp}, {known} is as good")
                return

    def _check_out_of_range(
        self, conversation: Conversation, at: PartitionTruth, position: int, floor: Floor
    ) -> None:
        below_start = position < at.start_wanted or at.is_expiring
        if conversation.is_current and not below_start and position <= floor.end:
            self.complain(f"{at}: {position} is out of range, but was never deleted")

    def _check_batch(
        self, at: PartitionTruth, position: int, batch: Batch, high_watermark: int
    ) -> int:
        batch.check_crc()
        if not batch.base_offset <= position <= batch.last_offset:
            self.complain(
                f"{at}: asked for {position}, got [{batch.base_offset}, {batch.last_offset}]"
            )
        if batch.last_offset >= high_watermark:
            self.complain(f"{at}: {batch.last_offset} is not below {high_watermark}")
        for record in read_records(batch.records):
            assert record.value is not None
            self._is_at(at, record.offset, decode_value(bytes(record.value)), "read")
            if at.stamps.setdefault(record.offset, record.timestamp) != record.timestamp:
                self.complain(f"{at}: the timestamp of {record.offset} has changed")
        self.records_read += batch.record_count
        return batch.next_offset

    # -- at the end

    def check_whole(self, at: PartitionTruth, start: int, seen: dict[int, Value]) -> None:
        """`seen` is all there is of a partition from `start` on, read when all was quiet."""
        end = start + len(seen)
        if sorted(seen) != list(range(start, end)):
            self.complain(f"{at}: offsets from {start} on are not dense")
        if end < at.end_seen:
            self.complain(f"{at}: ends at {end}, but {at.end_seen} was acknowledged or shown")
        for value, offset in at.acked.items():
            if offset >= start and seen.get(offset) != value:
                self.complain(f"{at}: {value}, acknowledged at {offset}, is not there")
        self._check_order(at, start, seen)

    def _check_order(self, at: PartitionTruth, start: int, seen: dict[int, Value]) -> None:
        last: dict[str, int] = {}
        for offset in sorted(seen):
            name, number = seen[offset]
            if name in self.lossy:
                continue
            before = last.get(name)
            if name in self.idempotent:
                follows = number == (before + 1 if before is not None else number)
                is_first = before is None and start == 0
                if not follows or (is_first and number != 0):
                    self.complain(f"{at}: {name}/{number} at {offset} comes after {before}")
            elif before is not None and number > before + 1:
                self.complain(f"{at}: {name}/{number} at {offset} comes right after {before}")
            last[name] = number if before is None else max(number, before)
            if name in self.idempotent:
                last[name] = number
