"""The leader epochs of a partition and where each began (KIP-101, KIP-279)."""

from bisect import bisect_right
from collections.abc import Iterable

UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


class LeaderEpochs:
    """Which epoch led from which offset on: the history of who opened the stream.

    Opens at one offset collapse to the newest; epochs below the log's start are dropped, but for
    the one that covers it (HAZARDS 28).
    """

    __slots__ = ("_epochs", "_starts")

    def __init__(self, opens: Iterable[tuple[int, int]], *, log_start_offset: int) -> None:
        """`opens` are (epoch, start offset), oldest first."""
        self._epochs: list[int] = []
        self._starts: list[int] = []
        for epoch, start_offset in opens:
            self.add(epoch, start_offset)
        self.trim(log_start_offset)

    def add(self, epoch: int, start_offset: int) -> None:
        assert not self._epochs or self._epochs[-1] < epoch, (self._epochs, epoch)
        while self._starts and self._starts[-1] >= start_offset:
            self._starts.pop()
            self._epochs.pop()
        self._epochs.append(epoch)
        self._starts.append(start_offset)

    def trim(self, log_start_offset: int) -> None:
        """The log starts later now; the epoch that covers its start begins there."""
        covering = bisect_right(self._starts, log_start_offset) - 1
        if covering > 0:
            del self._starts[:covering], self._epochs[:covering]
        if self._starts and self._starts[0] < log_start_offset:
            self._starts[0] = log_start_offset

    def epoch_at(self, offset: int) -> int:
        """The epoch that led at `offset`, or -1 when it is below everything known."""
        at = bisect_right(self._starts, offset) - 1
        return self._epochs[at] if at >= 0 else UNDEFINED_EPOCH

    def end_of(self, epoch: int, *, log_end_offset: int) -> tuple[int, int]:
        """The largest known epoch that is not above `epoch`, and where it ended.

        (-1, -1) when nothing is known of it, as OffsetForLeaderEpoch answers.
        """
        if not self._epochs or epoch < 0 or epoch > self._epochs[-1]:
            return UNDEFINED_EPOCH, UNDEFINED_OFFSET
        if epoch == self._epochs[-1]:
            return epoch, log_end_offset
        after = bisect_right(self._epochs, epoch)
        if after == 0:
            # Kafka: an epoch older than all known ends where the first known begins.
            return epoch, self._starts[0]
        return self._epochs[after - 1], self._starts[after]
