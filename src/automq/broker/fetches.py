"""Fetches that wait for data (the "purgatory"): woken by appends, ended by their time."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from automq.broker.cold_reads import ColdReads
from automq.world.background import Background

if TYPE_CHECKING:
    from automq.broker.connection import Connection
    from automq.partition import Partition


log = logging.getLogger(__name__)


class FetchWait:
    """One fetch that waits until `missing_bytes` more can be read, or all of its cold reads are
    done, or its time is over.
    """

    __slots__ = (
        "_fetches",
        "complete",
        "connection",
        "missing_bytes",
        "missing_reads",
        "partitions",
        "timer",
    )

    def __init__(
        self,
        fetches: "Fetches",
        *,
        connection: "Connection",
        partitions: list["Partition"],
        missing_bytes: int,
        missing_reads: int,
        complete: Callable[[], None],
    ) -> None:
        self._fetches = fetches
        self.connection = connection
        self.partitions = partitions
        self.missing_bytes = missing_bytes
        self.missing_reads = missing_reads
        self.complete = complete
        self.timer: asyncio.TimerHandle | None = None

    def progressed(self, size_bytes: int) -> None:
        """`size_bytes` more of one of its partitions can be read."""
        self.missing_bytes -= size_bytes
        if self.missing_bytes <= 0:
            self._fetches.wake(self)

    def read_ended(self, size_bytes: int) -> None:
        """One of its cold reads is done; one that found nothing has an error to tell."""
        self.missing_reads -= 1
        if size_bytes == 0 or self.missing_reads == 0:
            self._fetches.wake(self)
        else:
            self.progressed(size_bytes)


class Fetches:
    """All fetches that wait. A wait completes once: by data, by time, or by a partition's end."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._cold: dict[Connection, ColdReads] = {}
        self._by_connection: dict[Connection, FetchWait] = {}
        self._due: list[FetchWait] = []

    def __len__(self) -> int:
        return len(self._by_connection)

    def wait(
        self,
        *,
        connection: "Connection",
        partitions: list["Partition"],
        missing_bytes: int,
        missing_reads: int,
        wait_s: float,
        complete: Callable[[], None],
    ) -> None:
        """Run `complete` when the bytes are there, the cold reads are done or `wait_s` are over,
        whichever is first.
        """
        waiting = FetchWait(
            self,
            connection=connection,
            partitions=partitions,
            missing_bytes=missing_bytes,
            missing_reads=missing_reads,
            complete=complete,
        )
        assert connection not in self._by_connection, "a connection has one fetch at a time"
        self._by_connection[connection] = waiting
        for partition in partitions:
            partition.waiting[waiting] = None
        loop = asyncio.get_running_loop()
        waiting.timer = loop.call_later(wait_s, self._finish, waiting)

    def wake(self, waiting: FetchWait) -> None:
        """Complete soon: once for all appends of one commit, not once for each."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._complete_due)
        self._due.append(waiting)

    def forget(self, connection: "Connection") -> None:
        """The client is gone; nobody waits, and nothing is read for it."""
        waiting = self._by_connection.get(connection)
        if waiting is not None:
            self._remove(waiting)
        cold = self._cold.pop(connection, None)
        if cold is not None:
            cold.drop_all()

    def cold_reads(self, connection: "Connection") -> ColdReads:
        """What is read from objects for this connection."""
        cold = self._cold.get(connection)
        if cold is None:
            cold = ColdReads(connection, self._background, self._read_ended)
            self._cold[connection] = cold
        return cold

    def _read_ended(self, connection: "Connection", size_bytes: int) -> None:
        waiting = self._by_connection.get(connection)
        if waiting is not None:
            waiting.read_ended(size_bytes)

    def _complete_due(self) -> None:
        due, self._due = self._due, []
        for waiting in due:
            self._finish(waiting)

    def _finish(self, waiting: FetchWait) -> None:
        if self._by_connection.get(waiting.connection) is not waiting:
            return
        self._remove(waiting)
        complete_late(waiting.connection, waiting.complete)

    def _remove(self, waiting: FetchWait) -> None:
        del self._by_connection[waiting.connection]
        for partition in waiting.partitions:
            partition.waiting.pop(waiting, None)
        if waiting.timer is not None:
            waiting.timer.cancel()


def complete_late(connection: "Connection", complete: Callable[[], None]) -> None:
    """Complete a fetch that waited. If that fails its client would wait for ever, so its connection
    is closed; nobody else has to wait for it.
    """
    try:
        complete()
    except Exception:
        log.exception("a fetch that waited failed; closing connection")
        connection.close()
