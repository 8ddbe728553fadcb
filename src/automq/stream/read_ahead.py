"""How far ahead of its reader a stream is read: more with sequential use, less when it was in vain.

Pure: no I/O and no clock. `ObjectReader` does what is decided here.
"""

from collections import deque
from dataclasses import dataclass, field

from automq.stream.client import FoundRange

FIRST_WINDOW_BYTES = 1 << 20
CURSORS_MAX = 64
ACTIVE_READS = 256
"""A reader that has not come while all made so many reads has no share of what is read ahead."""
REGROWTH_BYTES = 64 << 10
"""After waste, what may be read ahead in all grows by so much with every read."""


@dataclass(slots=True)
class Cursor:
    """One sequential reader: where it reads next, and up to where blocks were asked for."""

    next_offset: int
    ahead_offset: int
    window_bytes: int = 0
    is_running: bool = False
    moved_at: int = 0
    """The count of all reads when its reader came last."""
    _ranges: deque[FoundRange] = field(default_factory=deque)
    _asked: deque[tuple[int, int]] = field(default_factory=deque)
    _asked_bytes: int = 0

    @property
    def room_bytes(self) -> int:
        """How many bytes more may be asked for ahead of the reader."""
        return self.window_bytes - self._asked_bytes

    def found(self, found: FoundRange) -> None:
        """Where offsets at or ahead of the reader lie; told in the order of the offsets."""
        if found.end_offset > self.next_offset and (
            not self._ranges or self._ranges[-1].end_offset <= found.start_offset
        ):
            self._ranges.append(found)

    def range_at(self, offset: int) -> FoundRange | None:
        """The object that holds `offset`, if it was found before."""
        if self._ranges and self._ranges[0].start_offset <= offset < self._ranges[0].end_offset:
            return self._ranges[0]
        return None

    def asked(self, end_offset: int, size_bytes: int) -> None:
        """What ends at `end_offset` is asked for ahead."""
        self._asked.append((end_offset, size_bytes))
        self._asked_bytes += size_bytes
        self.ahead_offset = end_offset

    def reached(self, offset: int) -> None:
        """The reader has read all below `offset`."""
        self.next_offset = offset
        self.ahead_offset = max(self.ahead_offset, offset)
        while self._asked and self._asked[0][0] <= offset:
            self._asked_bytes -= self._asked.popleft()[1]
        while self._ranges and self._ranges[0].end_offset <= offset:
            self._ranges.popleft()

    def lost(self) -> None:
        """What was read ahead was evicted before it was read: the window is too large."""
        self.window_bytes //= 2
        self._asked.clear()
        self._asked_bytes = 0
        self.ahead_offset = self.next_offset


class ReadAhead:
    """The cursors of all readers, found by where they read next.

    A window is at most an even share, among the readers that come, of what may be read ahead in
    all, looked at whenever its reader comes. That is `total_bytes`, less while the cache evicts
    blocks that nobody has read: so little was left of it by others that it could not keep them.
    """

    def __init__(self, *, window_bytes_max: int, total_bytes: int) -> None:
        self._window_bytes_max = window_bytes_max
        self._total_bytes_max = total_bytes
        self._total_bytes = total_bytes
        self._wasted_bytes = 0
        self._reads = 0
        self._cursors: dict[tuple[int, int], Cursor] = {}

    def __len__(self) -> int:
        return len(self._cursors)

    def look_at_waste(self, wasted_bytes: int) -> None:
        """How much has been evicted unread so far: whenever that is half of what may be read ahead
        in all, only half is read ahead from then on.
        """
        if wasted_bytes - self._wasted_bytes > self._total_bytes // 2:
            self._total_bytes = max(FIRST_WINDOW_BYTES, self._total_bytes // 2)
            self._wasted_bytes = wasted_bytes

    def at(self, stream_id: int, offset: int) -> Cursor | None:
        """The cursor of the reader that has read up to `offset`; it stays."""
        return self._cursors.get((stream_id, offset))

    def take(self, stream_id: int, offset: int) -> Cursor | None:
        """The cursor of the reader that has read up to `offset`, if one has."""
        return self._cursors.pop((stream_id, offset), None)

    def put(self, stream_id: int, cursor: Cursor | None, next_offset: int, start: int) -> Cursor:
        """A reader has read `[start, next_offset)`; its cursor waits for it there.

        Another reader's cursor at the same place gives way: they read the same blocks.
        """
        if cursor is None:
            cursor = Cursor(start, start)
        elif next_offset > start:
            cursor.window_bytes = max(FIRST_WINDOW_BYTES, cursor.window_bytes * 2)
        cursor.reached(next_offset)
        self._reads += 1
        cursor.moved_at = self._reads
        self._cursors.pop((stream_id, next_offset), None)
        while len(self._cursors) >= CURSORS_MAX:
            # The one whose reader has been away for longest.
            del self._cursors[next(iter(self._cursors))]
        self._cursors[stream_id, next_offset] = cursor
        self._total_bytes = min(self._total_bytes_max, self._total_bytes + REGROWTH_BYTES)
        cursor.window_bytes = min(
            cursor.window_bytes, self._window_bytes_max, self._total_bytes // self._count_active()
        )
        return cursor

    def _count_active(self) -> int:
        """How many readers share: those that are done, or have stopped, would keep theirs."""
        count = 0
        for cursor in reversed(self._cursors.values()):
            if cursor.moved_at + ACTIVE_READS < self._reads:
                break
            count += 1
        return count
