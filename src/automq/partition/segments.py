"""Virtual segments: where Apache Kafka would have rolled a file.

Retention and log compaction work by whole segments, and users and their tests see it: they set
`segment.ms=100` and wait. There are no files here, so a segment is a row: where it begins, how many
bytes it has, and its timestamps.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec


class Segment(msgspec.Struct, array_like=True):
    """Offsets from `base_offset` up to the next segment's; timestamps in ms, -1 for none."""

    base_offset: int
    size_bytes: int = 0
    first_timestamp: int = -1
    max_timestamp: int = -1


class Segments:
    """The virtual segments of a partition, oldest first; the last one is active. Never empty."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[Segment] = (), *, start_offset: int = 0) -> None:
        self._rows = list(rows) or [Segment(start_offset)]

    @property
    def active(self) -> Segment:
        return self._rows[-1]

    @property
    def rows(self) -> list[Segment]:
        return self._rows

    @property
    def size_bytes(self) -> int:
        return sum(row.size_bytes for row in self._rows)

    def add(
        self,
        *,
        base_offset: int,
        size_bytes: int,
        max_timestamp: int,
        segment_bytes: int,
        segment_ms: int,
    ) -> bool:
        """Count an appended run; True when it began a new segment.

        Kafka rolls before an append that would pass `segment.bytes`, and by record time: when the
        append's timestamp is more than `segment.ms` behind the segment's first one.
        """
        active = self._rows[-1]
        full = active.size_bytes + size_bytes > segment_bytes
        old = active.first_timestamp >= 0 and (max_timestamp - active.first_timestamp > segment_ms)
        rolls = active.size_bytes > 0 and (full or old)
        if rolls:
            active = Segment(base_offset)
            self._rows.append(active)
        active.size_bytes += size_bytes
        if active.first_timestamp < 0:
            active.first_timestamp = max_timestamp
        active.max_timestamp = max(active.max_timestamp, max_timestamp)
        return rolls

    def grow_active(self, size_bytes: int, max_timestamp: int) -> None:
        """The active segment has grown to this without rolling (the core has appended)."""
        self._rows[-1].size_bytes = size_bytes
        self._rows[-1].max_timestamp = max_timestamp

    def roll(self, base_offset: int) -> None:
        """Begin a new segment at `base_offset`, unless the active one is empty."""
        if self._rows[-1].size_bytes > 0:
            self._rows.append(Segment(base_offset))

    def expired(
        self, *, end_offset: int, now_ms: int, retention_ms: int, retention_bytes: int
    ) -> int | None:
        """Where the log may start now, or None when nothing expires. -1 means no limit.

        Kafka's order: whole segments from the oldest, as long as each is too old, or all behind
        it are enough bytes. An active segment that is too old as a whole goes as well, and the
        log is empty then: it starts at `end_offset`, its end.
        """
        excess = self.size_bytes - retention_bytes if retention_bytes >= 0 else -1
        start: int | None = None
        for number, row in enumerate(self._rows):
            if row.size_bytes == 0:
                break
            too_old = retention_ms >= 0 and 0 <= row.max_timestamp < now_ms - retention_ms
            too_many = excess - row.size_bytes >= 0
            if not (too_old or too_many):
                break
            excess -= row.size_bytes
            is_last = number + 1 == len(self._rows)
            start = end_offset if is_last else self._rows[number + 1].base_offset
        return start

    def trim(self, start_offset: int) -> None:
        """Drop the segments that end at or before `start_offset`; the active one always stays."""
        keep = bisect_right([row.base_offset for row in self._rows], start_offset) - 1
        if keep > 0:
            del self._rows[:keep]
