"""Appending to streams and reading them: WAL and log cache in front, objects behind."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from automq._native import Batch, CacheRead, Lane, LogCache, Producing, Run, Wish, stamp
from automq.stream.fair_share import Taker
from automq.stream.reader import ObjectReader, Read
from automq.stream.wal import Wal, WalBusy, WalFailed, WalOptions
from automq.world.probe import probe
from automq.world.waiting import settle

log = logging.getLogger(__name__)

READ_ATTEMPTS_MAX = 8
NEVER = 2**63
"""A position that no WAL reaches."""


class Stream(Lane):
    """An append-only sequence of record batches, open here at one epoch.

    Offsets: `[start_offset, durable_offset)` can be read; the next batch goes to `end_offset`.
    `durable_offset` never goes back and never passes what the WAL has synced. The numbers are kept
    in the core, which appends what is plain by itself (see `broker/runs.py`).
    """

    __slots__ = ("progressed",)

    progressed: Callable[[int], None]
    """Told how many bytes became durable, of what the core appended; once for each commit."""

    def __init__(self, stream_id: int, epoch: int, start_offset: int, end_offset: int) -> None:
        self.progressed = ignore

    def __repr__(self) -> str:
        at = f"[{self.start_offset}, {self.durable_offset}, {self.end_offset})"
        return f"Stream({self.stream_id}, epoch={self.epoch}, {at})"


def ignore(size_bytes: int) -> None:
    """Nobody waits for this stream."""


class Pending(NamedTuple):
    """What waits for a sync: once `position` is durable, so is `stream` up to `offset`."""

    position: int
    stream: Stream | None
    offset: int
    size_bytes: int
    done: Callable[[], None]


class StreamEngine:
    """The streams that this node has open.

    Invariant (acknowledging): `done` of an append runs only after the WAL has reported a durable
    position at or behind the append's end, and in the order of the appends.
    """

    def __init__(
        self, *, wal: Wal, options: WalOptions, cache: LogCache, reader: ObjectReader
    ) -> None:
        self.wal = wal
        self.inflight_bytes_max = options.inflight_bytes_max // 2
        self.cache = cache
        self.reader = reader
        self.producing = Producing(wal.append, cache)
        self.streams: dict[int, Stream] = {}
        self.trimmed_position = wal.end
        self._inflight_bytes = 0
        self._epochs: dict[int, int] = {}
        self._closed_epochs: dict[int, int] = {}
        self._pending: deque[Pending] = deque()
        self._submit_is_due = False
        self._waiting_for_room: deque[Callable[[], None]] = deque()
        self._refused_at: tuple[int, int] | None = None
        self._waiting_for_sync: list[Callable[[], None]] = []
        self._on_appended: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        wal.on_durable(self._on_durable)
        wal.on_full(self._on_full)

    def call_after_append(self, callback: Callable[[], None]) -> None:
        """`callback` runs once for each round of appends; the uploader looks at its thresholds."""
        self._on_appended = callback

    # -- appending

    def open(self, stream_id: int, epoch: int, start_offset: int, end_offset: int) -> Stream:
        """Open a stream that the controller has given to this node at `epoch`.

        Invariant: an epoch is opened once. What was appended at an epoch and is not committed yet
        lies behind the end that the controller knows, and would be taken for what never counted.
        """
        before = self.streams.get(stream_id)
        assert before is None or before.epoch < epoch, (before, epoch)
        assert not self.was_closed(stream_id, epoch), (stream_id, epoch)
        self._closed_epochs.pop(stream_id, None)
        if self.cache.end_offset(stream_id) not in (None, end_offset):
            # It was elsewhere meanwhile: what memory has of it ends before, or never counted.
            self.cache.drop_stream(stream_id)
        stream = Stream(stream_id, epoch, start_offset, end_offset)
        self.streams[stream_id] = stream
        return stream

    def close(self, stream: Stream) -> None:
        """No more appends; those under way still finish."""
        stream.close()
        if self.streams.get(stream.stream_id) is stream:
            del self.streams[stream.stream_id]
            self._closed_epochs[stream.stream_id] = stream.epoch

    def was_closed(self, stream_id: int, epoch: int) -> bool:
        """Whether the stream was open here at this epoch or a later one, and is no more."""
        return self._closed_epochs.get(stream_id, -1) >= epoch

    def forget(self, stream_id: int) -> None:
        """It is deleted: nobody wants what memory has of it, and no epoch follows."""
        self.cache.drop_stream(stream_id)
        self._closed_epochs.pop(stream_id, None)

    def has_room(self, size_bytes: int) -> bool:
        """Whether appends of `size_bytes` together can be taken now, by every budget.

        What is asked here is a little more than what the WAL itself would refuse, so that a request
        that was let in is never refused half way.
        """
        if self._refused_at is not None:
            if self._refused_at == (self.wal.durable, self.trimmed_position):
                return False
            self._refused_at = None
        if self.cache.unreleased_bytes + size_bytes > self.cache.bytes_max:
            return self.cache.unreleased_bytes == 0
        if self._inflight_bytes and self._inflight_bytes + size_bytes > self.inflight_bytes_max:
            return False
        return self.wal.used_bytes + size_bytes <= self.wal.bytes_max

    def room_bytes(self) -> int:
        """How many bytes `has_room` would let in now; 0 where it takes a closer look."""
        if self._refused_at is not None:
            return 0
        wal, cache = self.wal, self.cache
        return max(
            0,
            min(
                wal.bytes_max - wal.used_bytes,
                self.inflight_bytes_max - self._inflight_bytes,
                cache.bytes_max - cache.unreleased_bytes,
            ),
        )

    @property
    def needs_upload(self) -> bool:
        """Whether somebody waits for what only an upload frees: memory, or room in the WAL."""
        wal_is_filling = self.wal.used_bytes * 2 > self.wal.bytes_max
        cache_is_filling = self.cache.unreleased_bytes * 2 > self.cache.bytes_max
        is_waited_for = bool(self._waiting_for_room) and self._inflight_bytes == 0
        return cache_is_filling or wal_is_filling or is_waited_for or self.wal.full is not None

    def trim_wal(self, position: int) -> None:
        """The controller has stored that the WAL is needed only from `position` on."""
        self.wal.trim(position)
        self.trimmed_position = max(self.trimmed_position, position)
        self.wake_waiting()

    def when_there_is_room(self, wake: Callable[[], None]) -> None:
        """`wake` runs when an append that had no room may be tried again."""
        self._waiting_for_room.append(wake)
        self._on_appended()

    def append(self, stream: Stream, batch: Batch, done: Callable[[], None]) -> int:
        """Append one checked batch; returns its base offset. `has_room` was asked before.

        The batch's bytes must be held by the caller alone: base offset and leader epoch are patched
        in place. `done` runs when the batch is durable, never before this returns.

        Raises WalBusy where the WAL's files waste more than `has_room` allows for (large batches);
        nothing has happened then, and there is no room until something moves. Once the WAL has
        failed the node is about to end: `done` never runs, and no client is told anything.
        """
        assert stream.is_open, stream
        records = batch.records
        base_offset = stream.end_offset
        last_offset = base_offset + batch.last_offset_delta
        stamp(records, base_offset, stream.epoch)
        # The WAL first: it is the one that may refuse, and then nothing has happened.
        try:
            position = self.wal.append(
                stream.stream_id, stream.epoch, base_offset, last_offset, records
            )
        except WalBusy:
            probe("storage: the write-ahead log refused what had room")
            self._refused_at = (self.wal.durable, self.trimmed_position)
            raise
        except WalFailed:
            position = NEVER
        self.cache.append(stream.stream_id, base_offset, last_offset, batch.max_timestamp, records)
        stream.end_offset = last_offset + 1
        self._epochs[stream.stream_id] = stream.epoch
        self._wait(Pending(position, stream, last_offset + 1, len(records), done))
        return base_offset

    def appended(self, run: Run, done: Callable[[], None]) -> None:
        """The core has appended `run` to the WAL and to memory; `done` runs when it is durable."""
        if run.refused:
            self._refused_at = (self.wal.durable, self.trimmed_position)
        if run.appended_bytes == 0:
            done()
            return
        self._wait(Pending(run.position, None, 0, run.appended_bytes, done))

    def _wait(self, pending: Pending) -> None:
        self._inflight_bytes += pending.size_bytes
        self._pending.append(pending)
        if not self._submit_is_due:
            self._submit_is_due = True
            self._loop.call_soon(self._submit)

    def hurry(self) -> None:
        """What was appended last is waited for by others than its client (see `Wal.hurry`)."""
        self.wal.hurry()

    def when_all_is_durable(self, done: Callable[[], None]) -> None:
        """`done` runs when everything appended so far is durable; at once if it is already."""
        if not self._pending:
            done()
            return
        last = self._pending[-1]
        self._pending.append(Pending(last.position, last.stream, last.offset, 0, done))

    async def until_durable(self, position: int) -> int:
        """Wait until the WAL has synced everything below `position`, or until its disk is full.

        Returns how far it has got: `position`, or less on a full disk. Only an upload makes room
        there, so whoever uploads must not wait for it.
        """
        while self.wal.durable < position and self.wal.full is None:
            future: asyncio.Future[None] = self._loop.create_future()
            wake = partial(settle, future)
            self.when_all_is_durable(wake)
            self._waiting_for_sync.append(wake)
            await future
            if wake in self._waiting_for_sync:
                self._waiting_for_sync.remove(wake)
        return min(position, self.wal.durable)

    def take_epochs(self) -> dict[int, int]:
        """The epoch of every stream appended to since the last call (with `seal`, for a commit)."""
        epochs, self._epochs = self._epochs, {}
        for stream_id, epoch in self.producing.take_epochs().items():
            # Opened again since the core wrote to it, the newer one counts (they only grow).
            epochs[stream_id] = max(epoch, epochs.get(stream_id, epoch))
        return epochs

    def _submit(self) -> None:
        """Hand everything that this turn of the loop appended to the WAL in one go."""
        self._submit_is_due = False
        self.wal.submit()
        self._on_appended()

    def _on_durable(self, position: int) -> None:
        # What the core appended moves first: whoever is told below may look at any stream.
        progress = self.producing.complete(position)
        pending = self._pending
        while pending and pending[0].position <= position:
            append = pending.popleft()
            self._inflight_bytes -= append.size_bytes
            if append.stream is not None:
                append.stream.advance_durable(append.offset)
            try:
                append.done()
            except Exception:
                # One client's trouble must not cost the others of this commit their answers.
                log.exception("an acknowledgement failed: %s", append.stream or "a run of requests")
        for stream_id, size_bytes in progress:
            self._tell(stream_id, size_bytes)
        self.wake_waiting()

    def _tell(self, stream_id: int, size_bytes: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            return  # closed meanwhile, and whoever waited was woken then
        try:
            stream.progressed(size_bytes)
        except Exception:
            log.exception("whoever waits for %s was not woken", stream)

    def _on_full(self) -> None:
        """The WAL waits for room on its disk: what it holds is uploaded now, to be let go."""
        probe("storage: the disk of the write-ahead log is full")
        waiting, self._waiting_for_sync = self._waiting_for_sync, []
        for wake in waiting:
            wake()
        self._on_appended()

    def wake_waiting(self) -> None:
        """Something became free: whoever had no room tries again, oldest first."""
        if not self._waiting_for_room:
            return
        waiting, self._waiting_for_room = self._waiting_for_room, deque()
        for wake in waiting:
            try:
                wake()
            except Exception:
                # The others' wake-up must not be lost with it.
                log.exception("somebody who waited for room failed")

    # -- reading

    def read_cached(
        self, stream: Stream, start_offset: int, end_offset: int, bytes_max: int, at_least_one: bool
    ) -> CacheRead | None:
        """Whole batches from memory, or None where memory does not hold `start_offset`."""
        return self.cache.read(stream.stream_id, start_offset, end_offset, bytes_max, at_least_one)

    def read_kept(
        self,
        stream: Stream,
        start_offset: int,
        end_offset: int,
        bytes_max: int,
        at_least_one: bool,
        taker: Taker,
    ) -> Read | None:
        """Whole batches of objects that are in memory, to be released; None if they are not."""
        wish = Wish(
            stream.stream_id, start_offset, end_offset, bytes_max, at_least_one=at_least_one
        )
        return self.reader.read_kept(wish, taker)

    async def read(
        self,
        stream: Stream,
        start_offset: int,
        end_offset: int,
        bytes_max: int,
        at_least_one: bool,
        taker: Taker | None = None,
    ) -> CacheRead | Read:
        """Whole batches from the one that holds `start_offset`, below `end_offset`.

        A `taker` takes turns with others for what lies in objects, and releases what it is given.

        Memory first, then objects. What is not in memory has been committed, because only released
        data is evicted: so one of the two has it, and asking again covers an eviction in between.
        """
        for _ in range(READ_ATTEMPTS_MAX):
            cached = self.read_cached(stream, start_offset, end_offset, bytes_max, at_least_one)
            if cached is not None:
                return cached
            wish = Wish(
                stream.stream_id, start_offset, end_offset, bytes_max, at_least_one=at_least_one
            )
            found = await self.reader.read(wish, taker)
            if found is not None:
                return found
            probe("storage: a read raced with an eviction or a deletion")
        raise MissingData(f"stream {stream.stream_id}: no object holds offset {start_offset}")


class MissingData(Exception):
    """Offsets below the durable end that neither memory nor any extent holds: damage, an alarm."""
