"""The bytes of requests that are inside the broker, and who waits for them to become fewer."""

from collections.abc import Callable


class RequestMemory:
    """A budget of request bytes shared by all connections (`queued.max.request.bytes`).

    A connection takes what it has read, gives it back when it has answered, and stops reading while
    the budget is overdrawn. A budget may be overdrawn by one read of each connection, no more.
    """

    __slots__ = ("_waiting", "bytes_max", "used_bytes")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used_bytes = 0
        self._waiting: list[Callable[[], None]] = []

    @property
    def is_overdrawn(self) -> bool:
        return self.used_bytes > self.bytes_max

    def take(self, size_bytes: int) -> None:
        self.used_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Return `size_bytes`; wakes everyone who waits once the budget has room."""
        self.used_bytes -= size_bytes
        assert self.used_bytes >= 0, self.used_bytes
        if self._waiting and not self.is_overdrawn:
            waiting, self._waiting = self._waiting, []
            for wake in waiting:
                wake()

    def when_there_is_room(self, wake: Callable[[], None]) -> None:
        self._waiting.append(wake)
