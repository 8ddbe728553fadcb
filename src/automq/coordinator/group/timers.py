"""Deadlines by key: what a machine asks to be woken for. Soft state."""

import heapq
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class TimerKind(IntEnum):
    """What runs out."""

    SESSION = 0
    JOIN = 1
    SYNC = 2
    EXPIRY = 3


class TimerKey(NamedTuple):
    """One deadline; setting it again moves it."""

    kind: TimerKind
    group_id: str = ""
    member_id: str = ""


@dataclass(slots=True)
class Timers:
    """A heap with lazy deletion: moving a deadline costs a dictionary entry, not a search.

    A deadline that moves later (each heartbeat does that) keeps its place in the heap and is put
    right when it comes up there.
    """

    at_ms: dict[TimerKey, int] = field(default_factory=dict)
    _heap: list[tuple[int, TimerKey]] = field(default_factory=list, repr=False, compare=False)
    _queued_ms: dict[TimerKey, int] = field(default_factory=dict, repr=False, compare=False)

    def set_at(self, key: TimerKey, at_ms: int) -> None:
        self.at_ms[key] = at_ms
        queued_ms = self._queued_ms.get(key)
        if queued_ms is None or at_ms < queued_ms:
            self._queued_ms[key] = at_ms
            heapq.heappush(self._heap, (at_ms, key))

    def cancel(self, key: TimerKey) -> None:
        self.at_ms.pop(key, None)

    def next_ms(self) -> int | None:
        """When the first key is due."""
        heap = self._heap
        while heap and self.at_ms.get(heap[0][1]) != heap[0][0]:
            queued_ms, key = heapq.heappop(heap)
            if self._queued_ms.get(key) != queued_ms:
                continue
            at_ms = self.at_ms.get(key)
            if at_ms is None:
                del self._queued_ms[key]
            else:
                self._queued_ms[key] = at_ms
                heapq.heappush(heap, (at_ms, key))
        return heap[0][0] if heap else None

    def due(self, now_ms: int, *, count_max: int) -> list[TimerKey]:
        """The keys whose time has come, earliest first, at most so many. Changes no deadline."""
        late: list[tuple[int, TimerKey]] = []
        while len(late) < count_max and (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            late.append(heapq.heappop(self._heap))
        for entry in late:
            heapq.heappush(self._heap, entry)
        return list(dict.fromkeys(key for _, key in late))
