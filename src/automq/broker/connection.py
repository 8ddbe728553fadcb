"""One client's connection: frames in, answers out in the order of the requests.

Produce requests start at once, so that those which a producer has in flight share a group commit.
Any other request starts when everything before it on this connection is answered, which is what
Apache Kafka does, and what clients that pipeline rely on.

A client that does not read its answers, or sends faster than it is served, is held back by not
reading from its socket: nothing here grows without a bound.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from automq._native import Buf, Frames, FrameTooLarge, Run
from automq.broker.memory import RequestMemory
from automq.config.listeners import Listener
from automq.protocol.codec import MalformedMessage, RequestHead, read_request_header
from automq.world import Clock

log = logging.getLogger(__name__)

PRODUCE, FETCH = 0, 1
QUEUED_REQUESTS_MAX = 64
JOINED_BYTES_MAX = 16 * 1024

Segments = list[bytes | Buf]


class Held(Protocol):
    """Memory that is held for a client until it has taken its answer."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for such memory."""
        ...

    def release(self) -> None: ...


class Writes:
    """Connections with something to write, written together at the end of a turn of the loop.

    A commit of the WAL answers many requests of one connection: they leave by one write.
    """

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[Connection] = []

    def add(self, connection: "Connection") -> None:
        """Write this connection's answers soon."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._write_all)
        self._due.append(connection)

    def _write_all(self) -> None:
        due, self._due = self._due, []
        for connection in due:
            try:
                connection.write_answers()
            except Exception:
                # The other connections' answers must not be lost with it.
                log.exception("closing connection from %s", connection.peer_host)
                connection.close()


class Slot:
    """The place of one request, or of a run of them, among the answers of its connection.

    `answer` is called once, at any time, in any order; the connection may be gone by then.
    """

    __slots__ = (
        "_connection",
        "answered",
        "close_after",
        "frame_bytes",
        "head",
        "held",
        "requests",
        "segments",
    )

    def __init__(
        self, connection: "Connection", head: RequestHead, frame_bytes: int, requests: int = 1
    ) -> None:
        self._connection = connection
        self.head = head
        self.frame_bytes = frame_bytes
        self.requests = requests
        self.segments: Segments | None = None
        self.held: list[Held] | None = None
        self.answered = False
        self.close_after = False

    @property
    def connection(self) -> "Connection":
        return self._connection

    def answer(self, segments: Segments | None) -> None:
        """Send `segments` when it is this request's turn; None sends nothing (acks=0)."""
        assert not self.answered, self.head
        self.segments = segments
        self.answered = True
        self._connection.on_answered()

    def give_up(self) -> None:
        """Close the connection once everything before this request is answered."""
        self.close_after = True
        self.answer(None)


class Requests(Protocol):
    """What a connection hands its requests to."""

    def start(self, slot: Slot, frame: Buf) -> bool:
        """Begin to work on a request; False if it must be offered again later (back-pressure).

        Whoever answers False calls `connection.resume()` when there is room.
        """
        ...

    def start_run(self, frames: list[Buf]) -> Run | None:
        """Do what is plain at the start of `frames`, all at once; see `broker/runs.py`."""
        ...

    def answer_run(self, slot: Slot, run: Run) -> None:
        """Answer `slot` as soon as `run` may be."""
        ...

    def closed(self, connection: "Connection") -> None:
        """The connection is gone."""
        ...


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one socket. All methods run on the event loop."""

    def __init__(
        self,
        *,
        requests: Requests,
        listener: Listener,
        memory: RequestMemory,
        writes: Writes,
        clock: Clock,
        frame_bytes_max: int,
        connection_id: int,
        on_closed: Callable[["Connection"], None],
    ) -> None:
        self.listener = listener
        self.id = connection_id
        self.peer_host = ""
        self.client_software = ("unknown", "unknown")
        self.last_active_ms = clock.monotonic_ms()
        self._requests = requests
        self._memory = memory
        self._writes = writes
        self._is_due = False
        self._clock = clock
        self._on_closed = on_closed
        self._frames = Frames(frame_bytes_max)
        self._queued: deque[Buf] = deque()
        self._slots: deque[Slot] = deque()
        self._started = 0
        self._transport: asyncio.Transport | None = None
        self._is_reading = True
        self._is_writable = True
        self._is_advancing = False
        self._held_back = False
        self._waits_for_memory = False
        self._unsent: list[Held] = []
        self._left_bytes = 0
        self._left_since_ms = 0.0
        self._ended = False

    # -- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is not a subclass
        peer = transport.get_extra_info("peername")
        self.peer_host = peer[0] if peer else ""

    def get_buffer(self, sizehint: int) -> Frames:
        return self._frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        try:
            frames = self._frames.received(nbytes)
        except FrameTooLarge as error:
            log.warning("closing connection from %s: %s", self.peer_host, error)
            self.close()
            return
        self.last_active_ms = self._clock.monotonic_ms()
        if not frames:
            return
        for frame in frames:
            self._memory.take(len(frame))
            self._queued.append(frame)
        self._advance()
        self._set_reading()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._is_writable = False
        self._set_reading()

    def resume_writing(self) -> None:
        self._is_writable = True
        self._let_go()
        self._advance()
        self._set_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    # -- what the rest of the broker calls

    def on_answered(self) -> None:
        """An answer is there; it is written with the others of this turn of the loop."""
        if self._is_due or self._ended or not self._slots[0].answered:
            return
        self._is_due = True
        self._writes.add(self)

    def write_answers(self) -> None:
        """Write what is due now, then start what may start now."""
        self._is_due = False
        if self._ended:
            return
        self._write_due()
        self._advance()
        self._set_reading()

    def resume(self) -> None:
        """There is room again for what was refused by back-pressure."""
        self._held_back = False
        self._advance()
        self._set_reading()

    @property
    def is_idle(self) -> bool:
        return not self._slots and not self._queued

    @property
    def waits_for_data(self) -> bool:
        """Whether all it waits for is a fetch, which has nothing to lose."""
        return all(slot.head.api_key == FETCH for slot in self._slots) and not self._queued

    @property
    def is_closed(self) -> bool:
        return self._ended

    @property
    def holds_what_others_want(self) -> bool:
        """Whether somebody waits for memory that is held for this client."""
        return any(held.is_wanted for held in self._unsent)

    def stalled_ms(self, now_ms: float) -> float:
        """How long its client has taken nothing of what waits for it, as far as it was asked this.

        0 while little waits.
        """
        transport = self._transport
        left_bytes = 0
        if transport is not None and not self._is_writable and not self._ended:
            left_bytes = transport.get_write_buffer_size()
        if left_bytes == 0 or left_bytes != self._left_bytes:
            self._left_bytes, self._left_since_ms = left_bytes, now_ms
        return now_ms - self._left_since_ms

    def close(self) -> None:
        """Close at once; answers that come later are dropped."""
        if self._transport is not None:
            self._transport.close()
        self._end()

    def abort(self) -> None:
        """Close at once, also where the client does not take what was written to it."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    # -- inside

    def _advance(self) -> None:
        """Start queued requests while the order of their answers and the limits allow it."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self._queued and self._may_start():
                if not self._start_next():
                    return
        finally:
            self._is_advancing = False

    def _may_start(self) -> bool:
        return (
            self._is_writable
            and not self._held_back
            and not self._ended
            and self._started < QUEUED_REQUESTS_MAX
        )

    def _start_next(self) -> bool:
        """Start the oldest queued request; False when it has to wait."""
        frame = self._queued[0]
        try:
            head = read_request_header(frame)
        except MalformedMessage as error:
            if self._slots:
                return False
            log.warning("closing connection from %s: bad request header: %s", self.peer_host, error)
            self.close()
            return False
        if head.api_key != PRODUCE:
            if self._slots:
                return False
        elif self._start_run(head):
            return True
        slot = Slot(self, head, len(frame))
        self._slots.append(slot)
        self._started += 1
        self._queued.popleft()
        if self._requests.start(slot, frame):
            return True
        # Refused: it goes back to the front, and nothing overtakes it.
        self._slots.pop()
        self._started -= 1
        self._queued.appendleft(frame)
        self._held_back = True
        return False

    def _start_run(self, head: RequestHead) -> bool:
        """Start the plain requests that the queue begins with; False if the first is not plain."""
        frames = list(islice(self._queued, QUEUED_REQUESTS_MAX - self._started))
        run = self._requests.start_run(frames)
        if run is None:
            return False
        for _ in range(run.requests):
            self._queued.popleft()
        slot = Slot(self, head, run.frame_bytes, run.requests)
        self._slots.append(slot)
        self._started += run.requests
        self._requests.answer_run(slot, run)
        return True

    def _write_due(self) -> None:
        due: Segments = []
        transport = self._transport
        assert transport is not None
        while self._slots and self._slots[0].answered:
            slot = self._slots.popleft()
            self._started -= slot.requests
            self._memory.give_back(slot.frame_bytes)
            if slot.segments:
                due += slot.segments
            if slot.held is not None:
                self._unsent += slot.held
            if slot.close_after:
                write(transport, due)
                self.close()
                return
        if due:
            self.last_active_ms = self._clock.monotonic_ms()
            write(transport, due)
        if self._unsent and self._is_writable:
            self._let_go()

    def _let_go(self) -> None:
        """The client has taken all but little of what was held for it."""
        unsent, self._unsent = self._unsent, []
        for held in unsent:
            held.release()

    def _set_reading(self) -> None:
        """Read from the socket exactly while there is room for what may come."""
        if self._ended or self._transport is None:
            return
        overdrawn = self._memory.is_overdrawn
        if overdrawn and not self._waits_for_memory:
            # Whatever else holds it back as well: without this nothing would wake it again.
            self._waits_for_memory = True
            self._memory.when_there_is_room(self._on_memory_room)
        wanted = self._is_writable and len(self._queued) < QUEUED_REQUESTS_MAX and not overdrawn
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
            return
        self._transport.pause_reading()

    def _on_memory_room(self) -> None:
        self._waits_for_memory = False
        self._set_reading()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        held = sum(slot.frame_bytes for slot in self._slots) + sum(map(len, self._queued))
        for slot in self._slots:
            self._unsent += slot.held or ()
        self._let_go()
        self._slots.clear()
        self._queued.clear()
        self._memory.give_back(held)
        self._requests.closed(self)
        self._on_closed(self)


def write(transport: asyncio.Transport, due: Segments) -> None:
    """Write small answers as one piece and big ones without joining them (HOTPATH 2)."""
    if not due:
        return
    if len(due) == 1:
        transport.write(due[0])  # type: ignore[arg-type]  # any buffer will do
    elif sum(map(len, due)) <= JOINED_BYTES_MAX:
        transport.write(b"".join(due))
    else:
        transport.writelines(due)  # type: ignore[arg-type]
