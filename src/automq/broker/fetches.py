"""Fetches that wait for data (the "purgatory"): woken by appends, ended by their time."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automq.broker.connection import Connection
    from automq.partition import Partition


log = logging.getLogger(__name__)


class FetchWait:
    """One fetch that waits until `missing_bytes` more can be read, or its time is over."""

    __slots__ = ("_fetches", "complete", "connection", "missing_bytes", "partitions", "timer")

    def __init__(
        self,
        fetches: "Fetches",
        *,
        connection: "Connection",
        partitions: list["Partition"],
        missing_bytes: int,
        complete: Callable[[bool], None],
    ) -> None:
        self._fetches = fetches
        self.connection = connection
        self.partitions = partitions
        self.missing_bytes = missing_bytes
        self.complete = complete
        self.timer: asyncio.TimerHandle | None = None

    def progressed(self, size_bytes: int) -> None:
        """`size_bytes` more of one of its partitions can be read."""
        self.missing_bytes -= size_bytes
        if self.missing_bytes <= 0:
            self._fetches.wake(self)


class Fetches:
    """All fetches that wait. A wait completes once: by data, by time, or by a partition's end."""

    def __init__(self) -> None:
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
        wait_ms: float,
        complete: Callable[[bool], None],
    ) -> None:
        """Run `complete` when the bytes are there or `wait_ms` are over, whichever is first.

        It is told whether the time is over.
        """
        waiting = FetchWait(
            self,
            connection=connection,
            partitions=partitions,
            missing_bytes=missing_bytes,
            complete=complete,
        )
        assert connection not in self._by_connection, "a connection has one fetch at a time"
        self._by_connection[connection] = waiting
        for partition in partitions:
            partition.waiting[waiting] = None
        loop = asyncio.get_running_loop()
        waiting.timer = loop.call_later(wait_ms / 1000, self._finish, waiting, True)

    def wake(self, waiting: FetchWait) -> None:
        """Complete soon: once for all appends of one commit, not once for each."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._complete_due)
        self._due.append(waiting)

    def forget(self, connection: "Connection") -> None:
        """The client is gone; nobody waits."""
        waiting = self._by_connection.get(connection)
        if waiting is not None:
            self._remove(waiting)

    def _complete_due(self) -> None:
        due, self._due = self._due, []
        for waiting in due:
            self._finish(waiting, False)

    def _finish(self, waiting: FetchWait, is_over: bool) -> None:
        if self._by_connection.get(waiting.connection) is not waiting:
            return
        self._remove(waiting)
        try:
            waiting.complete(is_over)
        except Exception:
            # Its client would wait for ever; the others of this commit must not wait for it.
            log.exception("a fetch that waited failed; closing connection")
            waiting.connection.close()

    def _remove(self, waiting: FetchWait) -> None:
        del self._by_connection[waiting.connection]
        for partition in waiting.partitions:
            partition.waiting.pop(waiting, None)
        if waiting.timer is not None:
            waiting.timer.cancel()
