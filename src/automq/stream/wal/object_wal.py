"""The writer of a WAL in an object store."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from automq._native import (
    WAL_OBJECT_HEADER_BYTES,
    WAL_OBJECT_RECORD_BYTES,
    WAL_OBJECT_RECORDS_MAX,
    WAL_SYNC_BOUNDS_US,
    Buf,
    WalBatch,
    WalClosed,
    WalFailed,
    WalFailure,
    WalFull,
    WalObject,
)
from automq.objectstore import Retrying
from automq.objectstore.store import DELETE_KEYS_MAX
from automq.stream.wal.object_keys import number_at, position_at
from automq.stream.wal.object_marks import Broken, WalObjects
from automq.stream.wal.wal import WalOptions, WalStats, check_budgets
from automq.world.background import Tasks, begin

CREATES_MAX = 16
"""So many batches are on their way at once: below it a store's latency costs no throughput."""
RECORDS_SHARE = 16
"""One part in so many of the room is kept for what records take besides their batches."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sent:
    """A batch that was closed: its number and bytes are final. It is acknowledged in its turn."""

    number: int
    batch: WalBatch | None
    records: int
    size_bytes: int
    sent_at_s: float = 0.0
    is_stored: bool = False


class ObjectWal:
    """Batches of all appends, as numbered objects that are created if absent.

    Invariants:
    * `durable` passes a batch only when it and all before it are stored, each under its number by
      this very incarnation. So whoever holds the first number that is not ours has a complete log
      below it, and nothing from it on was acknowledged (HAZARDS 1, 2, 6).
    * A number that somebody else has ends this WAL for ever: a fence is never passed.
    * Only what is below a position that `trim` was told of is deleted, and never the object which
      that position is in: a taker must find it.

    Used on the event loop that it was made on.
    """

    def __init__(
        self,
        objects: WalObjects,
        store: Retrying,
        tasks: Tasks,
        *,
        node_id: int,
        options: WalOptions,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._objects = objects
        self._store = store
        self._node_id = node_id
        self._options = options
        self._interval_s = options.batch_interval_ms / 1000
        self._urgent_interval_s = options.urgent_interval_ms / 1000
        self._batch = WalBatch()
        self._number = 0
        self._closed: deque[Sent] = deque()
        self._sent: deque[Sent] = deque()
        self._creating: set[asyncio.Task[None]] = set()
        self._cleaning: asyncio.Task[None] | None = None
        self._live: deque[tuple[int, int]] = deque()
        self._live_bytes = 0
        self._cleaned = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_sent_at_s = float("-inf")
        self._is_urgent = False
        self._durable = self._end = self._trimmed = 0
        self._inflight_bytes = 0
        self._failure: WalFailure | None = None
        self._closing = False
        self._ended = asyncio.Event()
        self._on_durable: Callable[[int], None] | None = None
        self._on_failure: Callable[[WalFailure], None] | None = None
        self._moved = asyncio.Event()
        self._commits = self._records = self._written_bytes = self._us_sum = 0
        self._inflight_records = self._deleted = 0
        self._counts = [0] * (len(WAL_SYNC_BOUNDS_US) + 1)

    @property
    def wal_id(self) -> int:
        return self._objects.wal_id

    @property
    def durable(self) -> int:
        return self._durable

    @property
    def end(self) -> int:
        return self._end

    @property
    def used_bytes(self) -> int:
        return 0 if self._trimmed == self._end else self._live_bytes + self._batch.size_bytes

    @property
    def bytes_max(self) -> int:
        # What a request is let in by is its size; each of its batches is a record besides.
        return self._options.capacity_bytes - self._options.capacity_bytes // RECORDS_SHARE

    @property
    def failure(self) -> WalFailure | None:
        return self._failure

    @property
    def full(self) -> WalFull | None:
        """Never: a store without room answers an error, and creates are repeated until it works."""
        return None

    def append(
        self,
        stream_id: int,
        epoch: int,
        base_offset: int,
        last_offset: int,
        payload: Buf,
        /,
    ) -> int:
        if self._failure is not None:
            raise WalFailed(str(self._failure))
        if self._closing:
            raise WalClosed("the WAL is closed")
        size = WAL_OBJECT_RECORD_BYTES + len(payload)
        check_budgets(
            self._options,
            size,
            inflight_bytes=self._inflight_bytes,
            used_bytes=self.used_bytes,
            waits_for="store",
        )
        batch = self._batch
        batch.append(stream_id, epoch, base_offset, last_offset, payload)
        count = len(batch)
        self._end = position_at(self._number, count)
        self._inflight_bytes += size
        self._inflight_records += 1
        if batch.size_bytes >= self._options.batch_bytes or count >= WAL_OBJECT_RECORDS_MAX:
            self._close_batch()
        return self._end

    def hurry(self) -> None:
        self._is_urgent = True

    def submit(self) -> None:
        self._send()

    def on_durable(self, callback: Callable[[int], None]) -> None:
        assert self._on_durable is None, "a WAL tells one callback"
        self._on_durable = callback

    def on_failure(self, callback: Callable[[WalFailure], None]) -> None:
        assert self._on_failure is None, "a WAL tells one callback"
        self._on_failure = callback
        if self._failure is not None:
            callback(self._failure)

    def on_full(self, callback: Callable[[], None]) -> None:
        """It is never called: see `full`."""

    def trim(self, position: int) -> None:
        if position > self._durable:
            raise ValueError(
                f"trim to {position}, but only what is below {self._durable} is durable"
            )
        self._trimmed = max(self._trimmed, position)
        while self._live and self._live[0][0] < number_at(self._trimmed):
            self._live_bytes -= self._live.popleft()[1]
        if self._cleaning is None and self._cleaned < number_at(self._trimmed):
            self._cleaning = begin(self._tasks, "clean WAL", self._clean())

    async def close(self, *, clean: bool) -> None:
        self._closing = True
        if not clean:
            await self._let_go()
            return
        if len(self._batch):
            self._close_batch()
        self._send()
        while self._durable < self._end and self._failure is None:
            self._moved.clear()
            await self._moved.wait()
        if self._failure is None:
            await self._end_it()
        await self._let_go()
        if self._failure is not None:
            raise WalFailed(str(self._failure))

    def stats(self) -> WalStats:
        return WalStats(
            commits=self._commits,
            records=self._records,
            written_bytes=self._written_bytes,
            sync_us_sum=self._us_sum,
            sync_counts=tuple(self._counts),
            inflight_bytes=self._inflight_bytes,
            inflight_records=self._inflight_records,
            live_bytes=self._live_bytes,
            segments=len(self._live),
            spare_segments=0,
            segments_created=self._commits,
            segments_recycled=self._deleted,
        )

    # -- from appends to objects

    def _send(self) -> None:
        """Send what may be sent now, and come back for the rest when its time has come."""
        if self._ended.is_set() or self._failure is not None:
            return
        while self._closed and len(self._creating) < CREATES_MAX:
            self._create(self._closed.popleft())
        if not len(self._batch) or self._closed or len(self._creating) >= CREATES_MAX:
            return  # a create that ends calls again
        interval_s = self._urgent_interval_s if self._is_urgent else self._interval_s
        due_at_s = self._last_sent_at_s + interval_s
        if self._loop.time() >= due_at_s:
            self._close_batch()
            self._create(self._closed.popleft())
        elif self._timer is None or self._timer.when() > due_at_s:
            self._stop_timer()
            self._timer = self._loop.call_at(due_at_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._send()

    def _close_batch(self) -> None:
        """The batch's number and bytes are final from here on."""
        batch = self._batch
        size_bytes = batch.size_bytes
        self._closed.append(Sent(self._number, batch, len(batch), size_bytes))
        self._live.append((self._number, size_bytes))
        self._live_bytes += size_bytes
        self._number += 1
        self._batch = WalBatch()
        self._is_urgent = False
        self._stop_timer()

    def _create(self, sent: Sent) -> None:
        now_s = self._loop.time()
        self._last_sent_at_s = sent.sent_at_s = now_s
        self._sent.append(sent)
        task = begin(self._tasks, f"WAL batch {sent.number}", self._store_batch(sent))
        if task is None:
            # Invariant: a number that was not begun is never acknowledged, nor any above it.
            self._fail(self._objects.key(sent.number), Broken("the node is ending"))
            return
        self._creating.add(task)
        task.add_done_callback(self._created)

    async def _store_batch(self, sent: Sent) -> None:
        key = self._objects.key(sent.number)
        try:
            lost = await self._create_batch(sent)
        except Exception as error:
            log.exception("a batch of the write-ahead log could not be stored: %s", key)
            lost = Broken(f"{type(error).__name__}: {error}")
        if lost is not None:
            self._fail(key, lost)
            return
        sent.is_stored, sent.batch = True, None
        self._count(sent)
        self._acknowledge()

    async def _create_batch(self, sent: Sent) -> WalObject | Broken | None:
        """None once it is stored, else what is there in its place."""
        assert sent.batch is not None, sent
        objects, nonce = self._objects, self._objects.nonce()
        pieces = sent.batch.encode(
            "batch",
            wal_id=objects.wal_id,
            number=sent.number,
            cluster_id=objects.cluster_id,
            nonce=nonce,
            node_id=self._node_id,
            node_epoch=0,
            acknowledged=self._sent[0].number,
        )
        return await objects.create(objects.key(sent.number), pieces, nonce)

    def _created(self, task: asyncio.Task[None]) -> None:
        self._creating.discard(task)
        self._send()

    def _acknowledge(self) -> None:
        """Move `durable` over what is stored without a gap."""
        if self._failure is not None or self._ended.is_set():
            return
        before = self._durable
        while self._sent and self._sent[0].is_stored:
            sent = self._sent.popleft()
            self._durable = position_at(sent.number, sent.records)
            self._inflight_records -= sent.records
            self._inflight_bytes -= sent.size_bytes - WAL_OBJECT_HEADER_BYTES
        if self._durable > before:
            self._moved.set()
            if self._on_durable is not None:
                self._on_durable(self._durable)

    def _count(self, sent: Sent) -> None:
        took_us = int((self._loop.time() - sent.sent_at_s) * 1_000_000)
        self._commits += 1
        self._records += sent.records
        self._written_bytes += sent.size_bytes
        self._us_sum += took_us
        self._counts[sum(bound < took_us for bound in WAL_SYNC_BOUNDS_US)] += 1

    # -- its end

    async def _end_it(self) -> None:
        """Nothing follows: whoever reads it knows that nothing can be missing."""
        lost = await self._objects.mark("end", self._number, self._node_id, 0)
        if lost is not None:
            self._fail(self._objects.key(self._number), lost)
            return
        self._durable = self._end = position_at(self._number)

    def _fail(self, key: str, found: WalObject | Broken) -> None:
        """Nothing is acknowledged from here on, whatever the creates under way come to."""
        if self._failure is not None or self._ended.is_set():
            return
        if isinstance(found, Broken):
            why = found.why
        elif found.kind == "fence":
            why = f"node {found.node_id} has taken it over"
        else:
            why = f"another process writes it ({found!r})"
        self._failure = WalFailure("creation", Path(key), self._durable, None, why)
        self._stop_timer()
        self._moved.set()
        if self._on_failure is not None:
            self._on_failure(self._failure)

    async def _let_go(self) -> None:
        self._ended.set()
        self._stop_timer()
        tasks = list(self._creating)
        if self._cleaning is not None:
            tasks.append(self._cleaning)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _clean(self) -> None:
        """Delete what lies below the object that the trimmed position is in.

        Invariant: that position is stored as the WAL's start, so no taker asks for what is below.
        """
        while self._cleaned < number_at(self._trimmed):
            upto = min(number_at(self._trimmed), self._cleaned + DELETE_KEYS_MAX)
            keys = [self._objects.key(number) for number in range(self._cleaned, upto)]
            await self._store.delete_many(keys)
            self._deleted += len(keys)
            self._cleaned = upto
        self._cleaning = None
