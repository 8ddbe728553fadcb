"""What a connection's fetches need of objects: begun by one fetch, served by it or a later one.

A fetch does not wait for a slow partition longer than it may. What is not ready by then is left
out of its answer and goes on here, and the next fetch from the same place finds it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from automq._native import CacheRead
from automq.protocol import errors
from automq.stream.fair_share import Grant
from automq.stream.reader import Read
from automq.world.background import Background

if TYPE_CHECKING:
    from automq.broker.connection import Connection

Place: TypeAlias = tuple[int, int, int]
"""Stream, offset, isolation level: what is read there is the same whoever asks."""
Found: TypeAlias = CacheRead | Read

READS_MAX = 64
"""Of one connection at a time; the other partitions' turn comes with the next fetches."""
UNASKED_S_MAX = 5.0
"""What was read and is not fetched within this time is let go."""


@dataclass(slots=True, eq=False)
class ColdRead:
    """One read; once it is done it has found something, or an error."""

    bytes_max: int
    found: Found | None = None
    error: errors.KafkaError | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def is_done(self) -> bool:
        return self.found is not None or self.error is not None

    @property
    def size_bytes(self) -> int:
        return 0 if self.found is None else self.found.size_bytes

    def drop(self) -> None:
        """Nobody wants it any more."""
        if self.task is not None:
            self.task.cancel()
        if isinstance(self.found, Read):
            self.found.release()


class ColdReads:
    """The cold reads of one connection, which is the one that takes turns with the others.

    Invariant: what is read is held here, and with it its share of the memory for reads, until it
    is taken for an answer, or dropped: because the client has left, asks elsewhere, or is silent.
    """

    def __init__(
        self,
        connection: "Connection",
        background: Background,
        on_ended: Callable[["Connection", int], None],
    ) -> None:
        self._connection = connection
        self._background = background
        self._on_ended = on_ended
        self._reads: dict[Place, ColdRead] = {}
        self._silence: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._reads)

    @property
    def pending_bytes(self) -> int:
        """How much those together may find that are under way."""
        return sum(read.bytes_max for read in self._reads.values() if not read.is_done)

    def at(self, place: Place) -> ColdRead | None:
        return self._reads.get(place)

    def add(self, place: Place, found: Read) -> ColdRead:
        """Something that was in memory."""
        read = ColdRead(found.size_bytes, found)
        self._reads[place] = read
        return read

    def begin(self, place: Place, bytes_max: int, work: Callable[[], Awaitable[Found]]) -> ColdRead:
        """Start to read; `work` raises KafkaError where it fails."""
        assert place not in self._reads, place
        read = ColdRead(bytes_max)
        self._reads[place] = read
        read.task = self._background.spawn("cold read", self._run(read, work))
        return read

    async def _run(self, read: ColdRead, work: Callable[[], Awaitable[Found]]) -> None:
        try:
            read.found = await work()
        except errors.KafkaError as error:
            read.error = error
        except Exception as error:
            read.error = errors.UnknownServerError(type(error).__name__)
            raise
        finally:
            read.task = None
            if read.is_done:
                self._on_ended(self._connection, read.size_bytes)

    def take(self, place: Place) -> Grant | None:
        """What is there is answered. Its memory is the answer's to let go."""
        found = self._reads.pop(place).found
        return found.memory if isinstance(found, Read) else None

    def drop(self, place: Place) -> None:
        """What is there is of no use."""
        self._reads.pop(place).drop()

    def keep(self, places: Collection[Place]) -> None:
        """A new fetch asks for `places`; what is somewhere else is not waited for any more."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        for place in [place for place in self._reads if place not in places]:
            self._reads.pop(place).drop()

    def until_next_fetch(self) -> None:
        """An answer was made. What is left waits for the next fetch, but not for ever."""
        if self._reads:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(UNASKED_S_MAX, self.keep, ())

    def drop_all(self) -> None:
        """The client has left."""
        self.keep(())
