"""One partition that this broker leads: Kafka's log semantics over a stream.

Stream offset = Kafka offset, stream epoch = leader epoch. The high watermark is the stream's
durable offset: what the WAL has synced, no replica needs to confirm.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from automq._native import Batch, BatchRefused, Buf, CacheRead, batches, check_produce
from automq.config.effective import TopicConfig
from automq.partition.epochs import LeaderEpochs
from automq.partition.producers import AbortedTransaction, ProducerStates
from automq.partition.rules import produce_rules, refusal
from automq.partition.segments import Segments
from automq.protocol import errors
from automq.stream.engine import Stream, StreamEngine
from automq.stream.fair_share import Taker
from automq.stream.reader import Read
from automq.stream.wal import WalBusy
from automq.world import Clock
from automq.world.probe import probe
from automq.world.waiting import called

log = logging.getLogger(__name__)

READ_COMMITTED = 1


class Waiter(Protocol):
    """Somebody who waits for data of this partition."""

    def progressed(self, size_bytes: int) -> None: ...


class Appended(NamedTuple):
    """What a producer is told of its batch."""

    base_offset: int
    log_append_time_ms: int
    log_start_offset: int


class Partition:
    """Appends, bounds and reads of one partition; all on the event loop, no awaits in decisions.

    Invariants: `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset`;
    none of them goes back while the partition is open here.
    """

    __slots__ = (
        "_producers",
        "_segments",
        "clock",
        "config",
        "damage",
        "data",
        "engine",
        "epochs",
        "index",
        "on_ready",
        "ready",
        "remembered_end",
        "remembering",
        "rules",
        "state",
        "topic",
        "topic_id",
        "waiting",
    )

    def __init__(
        self,
        *,
        topic: str,
        topic_id: bytes,
        index: int,
        data: Stream,
        engine: StreamEngine,
        clock: Clock,
        config: TopicConfig,
        epochs: LeaderEpochs,
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.data = data
        self.state: Stream | None = None
        self.engine = engine
        self.clock = clock
        self.config = config
        self.rules = produce_rules(config)
        self.epochs = epochs
        self._producers = ProducerStates()
        self._segments = Segments(start_offset=data.start_offset)
        data.progressed = self.progressed
        self.waiting: dict[Waiter, None] = {}
        self.ready = False
        self.damage: str | None = None
        self.on_ready: list[Callable[[], None]] = []
        self.remembering = asyncio.Lock()
        self.remembered_end = data.end_offset

    def __repr__(self) -> str:
        return f"{self.topic}-{self.index}@{self.data.epoch}"

    # -- state, of which parts may be lent to the core

    @property
    def producers(self) -> ProducerStates:
        """All that is known of producers, taken back from the core."""
        for producer_id, rows in self.data.take_producers():
            self._producers.extend(producer_id, rows)
        if self.ready:
            # Batches without a producer leave nothing else.
            self._producers.advance(self.data.end_offset)
        return self._producers

    @producers.setter
    def producers(self, states: ProducerStates) -> None:
        self._producers = states

    @property
    def segments(self) -> Segments:
        """The virtual segments, taken back from the core."""
        taken = self.data.take_segment()
        if taken is not None:
            self._segments.grow_active(*taken)
        return self._segments

    @segments.setter
    def segments(self, segments: Segments) -> None:
        self._segments = segments

    def _lend(self, batch: Batch) -> None:
        """Let the core append what goes on behind `batch`, which was appended a moment ago.

        Invariant: what is lent is changed by the core alone, and only as `append_produced` would
        change it; whoever looks takes it back first. A producer with a transaction is never lent.
        """
        active = self._segments.active
        if active.first_timestamp >= 0:
            self.data.lend_segment(
                self.rules,
                segment_bytes=self.config.segment_bytes,
                segment_ms=self.config.segment_ms,
                size_bytes=active.size_bytes,
                first_timestamp=active.first_timestamp,
                max_timestamp=active.max_timestamp,
            )
        if batch.producer_id >= 0 and not batch.is_transactional:
            self.data.lend_producer(batch.producer_id, batch.producer_epoch, batch.last_sequence)

    def _take_producer(self, producer_id: int) -> None:
        rows = self.data.take_producer(producer_id)
        if rows:
            self._producers.extend(producer_id, rows)

    # -- bounds

    @property
    def log_start_offset(self) -> int:
        return self.data.start_offset

    @log_start_offset.setter
    def log_start_offset(self, offset: int) -> None:
        self.data.start_offset = offset

    @property
    def leader_epoch(self) -> int:
        return self.data.epoch

    @property
    def high_watermark(self) -> int:
        return self.data.durable_offset

    @property
    def log_end_offset(self) -> int:
        return self.data.end_offset

    @property
    def last_stable_offset(self) -> int:
        """Below it every transaction is decided, and durably so (KIP-98)."""
        unstable = self._producers.first_unstable_offset()
        high_watermark = self.data.durable_offset
        return high_watermark if unstable is None else min(unstable, high_watermark)

    def end_for(self, isolation_level: int) -> int:
        """Where a reader of that isolation level stops."""
        if isolation_level == READ_COMMITTED:
            return self.last_stable_offset
        return self.data.durable_offset

    def check_epoch(self, current_leader_epoch: int) -> None:
        """What a client believes (KIP-320). Raises FencedLeaderEpoch, UnknownLeaderEpoch."""
        if current_leader_epoch < 0 or current_leader_epoch == self.data.epoch:
            return
        said = f"{self}: sent epoch {current_leader_epoch}"
        if current_leader_epoch < self.data.epoch:
            raise errors.FencedLeaderEpoch(said)
        raise errors.UnknownLeaderEpoch(said)

    # -- appending

    def append_produced(
        self, records: Buf, done: Callable[[Appended], None], *, produce_version: int
    ) -> None:
        """Append what a producer sent; `done` runs when it is durable, perhaps before this returns.

        Raises the KafkaError of what is wrong with it; then nothing has been appended.
        KafkaStorageError: the WAL has no room after all, and the producer tries again.
        """
        if not self.data.is_open:
            raise errors.NotLeaderOrFollower(f"{self} has moved")
        try:
            batch = check_produce(records, self.rules, self.clock.now_ms(), produce_version)
        except BatchRefused as refused:
            raise refusal(refused) from None
        if batch.producer_id >= 0:
            self._take_producer(batch.producer_id)
            duplicate = self._producers.check(batch)
            if duplicate is not None:
                # Invariant: a duplicate is acknowledged no earlier than its original.
                probe("partition: a batch came twice")
                self.engine.when_all_is_durable(
                    lambda: done(
                        Appended(duplicate.base_offset, duplicate.timestamp, self.log_start_offset)
                    )
                )
                return
        append_time_ms = batch.max_timestamp if self.config.is_log_append_time else -1
        try:
            base_offset = self._append(
                batch, lambda: done(Appended(base_offset, append_time_ms, self.log_start_offset))
            )
        except WalBusy as busy:
            raise errors.KafkaStorageError(str(busy)) from None
        self._lend(batch)

    def append_built(self, records: Buf, done: Callable[[], None]) -> int:
        """Append a batch that this broker built itself (a coordinator's); its base offset.

        It does not wait for others to share its write. Raises WalBusy.
        """
        base_offset = self._append(batches(records)[0], done)
        self.engine.hurry()
        return base_offset

    def _append(self, batch: Batch, done: Callable[[], None]) -> int:
        config = self.config
        size_bytes = batch.size_bytes
        base_offset = self.data.end_offset

        def on_durable() -> None:
            self.progressed(size_bytes)
            done()

        self.engine.append(self.data, batch, on_durable)
        entry = batch.producer_entry(base_offset)
        if entry is not None:
            self._take_producer(entry.producer_id)
            self._producers.apply(entry)
        self._producers.advance(self.data.end_offset)
        self.segments.add(
            base_offset=base_offset,
            size_bytes=size_bytes,
            max_timestamp=batch.max_timestamp,
            segment_bytes=config.segment_bytes,
            segment_ms=config.segment_ms,
        )
        return base_offset

    def progressed(self, size_bytes: int) -> None:
        """So many bytes more are durable."""
        self._producers.settle(self.data.durable_offset)
        if self.waiting:
            self.wake_readers(size_bytes)

    def wake_readers(self, size_bytes: int) -> None:
        for waiter in list(self.waiting):
            waiter.progressed(size_bytes)

    @property
    def has_news(self) -> bool:
        """Whether a snapshot would tell more than the last one does."""
        return self.log_end_offset > self.remembered_end and len(self._producers) > 0

    def set_config(self, config: TopicConfig) -> None:
        """The topic's configs have changed."""
        self.config = config
        self.rules = produce_rules(config)
        # What was lent goes by the old ones.
        self._segments = self.segments

    # -- opening

    def become_ready(self) -> None:
        """The state is loaded; whoever waited for it goes on."""
        self.ready = True
        self.damage = None
        self._wake_waiting()

    def stay_unready(self, damage: str) -> None:
        """The state cannot be loaded now: whoever waited for it is told so."""
        self.damage = damage
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        waiting, self.on_ready = self.on_ready, []
        for resume in waiting:
            resume()

    @property
    def is_opening(self) -> bool:
        """Whether it is worth waiting for (a moment after the partition has come here)."""
        return not self.ready and self.damage is None

    def check_damage(self) -> None:
        """Raises KafkaStorageError when the state could not be loaded."""
        if self.damage is not None:
            raise errors.KafkaStorageError(f"{self} cannot be opened: {self.damage}")

    async def until_ready(self) -> None:
        """Wait until the state is loaded. Raises KafkaStorageError, NotLeaderOrFollower."""
        while self.is_opening:
            await called(self.on_ready.append)
        self.check_damage()
        if not self.data.is_open:
            # Closed while it was opened: nobody here knows what it holds.
            raise errors.NotLeaderOrFollower(f"{self} has moved")

    # -- reading

    def aborted(self, start_offset: int, end_offset: int) -> list[AbortedTransaction]:
        """The aborted transactions with records in `[start_offset, end_offset)`, by marker."""
        return self._producers.aborted(start_offset, end_offset)

    def check_fetch_offset(self, offset: int) -> None:
        """Raises OffsetOutOfRange; decided from start and end alone (HAZARDS 9)."""
        if not self.log_start_offset <= offset <= self.data.end_offset:
            raise errors.OffsetOutOfRange(
                f"{self}: {offset} is not in [{self.log_start_offset}, {self.data.end_offset}]"
            )

    def read_cached(
        self, offset: int, *, end_offset: int, bytes_max: int, at_least_one: bool
    ) -> CacheRead | None:
        """What memory holds from `offset` on; None when it has to come from objects."""
        return self.engine.read_cached(self.data, offset, end_offset, bytes_max, at_least_one)

    def read_kept(
        self, offset: int, *, end_offset: int, bytes_max: int, taker: Taker
    ) -> Read | None:
        """What memory holds of objects from `offset` on, to be released; None if it does not."""
        return self.engine.read_kept(self.data, offset, end_offset, bytes_max, True, taker)

    async def read(
        self,
        offset: int,
        *,
        end_offset: int,
        bytes_max: int,
        at_least_one: bool,
        taker: Taker | None = None,
    ) -> CacheRead | Read:
        """Batches from memory or objects; see `StreamEngine.read`."""
        return await self.engine.read(self.data, offset, end_offset, bytes_max, at_least_one, taker)
