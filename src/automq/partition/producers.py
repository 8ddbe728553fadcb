"""What a partition knows of its producers: Kafka's ProducerStateManager as a pure machine.

Idempotence (KIP-98): a producer's batches carry its id, its epoch and a sequence; the state keeps
the last five of each producer, as many as may be in flight, so that one sent twice is answered
with the offset of the first. Transactions: the first offset of each open one (which holds back the
last stable offset) and the list of aborted ones (which read-committed consumers are told).
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import msgspec

from automq.protocol import errors

BATCHES_KEPT = 5
"""Batches remembered of each producer: as many as may be in flight."""

NO_EPOCH = -1
NO_SEQUENCE = -1
SEQUENCE_MAX = 2**31 - 1
EPOCH_MAX = 2**15 - 1
SNAPSHOT_VERSION = 1


class SequencedBatch(Protocol):
    """What `check` looks at; `_native.Batch` is one."""

    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def base_sequence(self) -> int: ...
    @property
    def last_sequence(self) -> int: ...
    @property
    def is_transactional(self) -> bool: ...


class ProducerEntry(Protocol):
    """What `apply` takes: one stored batch, condensed; `_native.DigestEntry` is one."""

    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...
    @property
    def base_sequence(self) -> int: ...
    @property
    def last_sequence(self) -> int: ...
    @property
    def max_timestamp(self) -> int: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_marker(self) -> bool: ...
    @property
    def is_commit(self) -> bool: ...
    @property
    def coordinator_epoch(self) -> int: ...


class SeenBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch that was stored."""

    base_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The batch is stored already: the answer is that of the first time, once that is durable."""

    base_offset: int
    last_offset: int
    timestamp: int


class AbortedTransaction(msgspec.Struct, frozen=True, array_like=True):
    """`last_offset` is that of the marker; `last_stable_offset` the one after it was written."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class ProducerDescription(msgspec.Struct, frozen=True, array_like=True):
    """One producer, as DescribeProducers shows it and snapshots keep it. -1 is none."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    last_timestamp: int
    transaction_start_offset: int
    batches: tuple[SeenBatch, ...]

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


class _Snapshot(msgspec.Struct, frozen=True, array_like=True):
    start_offset: int
    end_offset: int
    producers: list[ProducerDescription]
    aborted: list[AbortedTransaction]


@dataclass(slots=True)
class _Producer:
    epoch: int = NO_EPOCH
    coordinator_epoch: int = -1
    last_timestamp: int = -1
    transaction_start: int | None = None
    batches: deque[SeenBatch] = field(default_factory=lambda: deque(maxlen=BATCHES_KEPT))

    def adopt_epoch(self, epoch: int) -> None:
        if self.epoch != epoch:
            self.batches.clear()
            self.epoch = epoch

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


@dataclass(slots=True)
class ProducerStates:
    """The producers of one partition. `check` decides, `apply` is all that changes the state.

    `end_offset` is where the next batch goes; entries below it are known already, and `apply`
    passes over them, so a digest may begin before the snapshot it follows.
    """

    start_offset: int = 0
    end_offset: int = 0
    _producers: dict[int, _Producer] = field(default_factory=dict)
    # First offsets of open transactions, in their order, as entries come in order of offsets.
    _open: dict[int, int] = field(default_factory=dict)
    _aborted: list[AbortedTransaction] = field(default_factory=list)
    # Soft: ended transactions whose marker is not below the high watermark yet.
    _settling: deque[tuple[int, int]] = field(default_factory=deque)

    def check(self, batch: SequencedBatch, *, from_client: bool = True) -> Duplicate | None:
        """Whether a data batch may be appended: None if so, Duplicate if it is there already.

        A coordinator's own batches (`from_client=False`) carry no sequences. Raises
        InvalidProducerEpoch, OutOfOrderSequenceNumber, InvalidTxnState.
        """
        producer_id = batch.producer_id
        if producer_id < 0:
            return None
        producer = self._producers.get(producer_id)
        if producer is None:
            # Perhaps all of it was deleted, or it has expired: any sequence will do (KIP-360).
            return None
        if from_client and (seen := _find(producer, batch)) is not None:
            return Duplicate(seen.base_offset, seen.last_offset, seen.timestamp)
        if batch.producer_epoch < producer.epoch:
            raise errors.InvalidProducerEpoch(
                f"producer {producer_id}: epoch {batch.producer_epoch} is smaller than the last "
                f"seen epoch {producer.epoch}"
            )
        if from_client:
            _check_sequence(producer, batch)
        if producer.transaction_start is not None and not batch.is_transactional:
            raise errors.InvalidTxnState(
                f"producer {producer_id}: expected a transactional write, as its transaction from "
                f"offset {producer.transaction_start} is open"
            )
        return None

    def check_marker(
        self,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        *,
        transaction_version: int = 0,
    ) -> None:
        """Whether a marker may be appended.

        From transaction version 2 on (KIP-890) a marker carries a larger epoch than the data; the
        same one is let through where the transaction is over, as a repeated marker. Raises
        InvalidProducerEpoch, TransactionCoordinatorFenced.
        """
        producer = self._producers.get(producer_id)
        if producer is None:
            return
        if _marker_is_stale(producer, producer_epoch, transaction_version):
            raise errors.InvalidProducerEpoch(
                f"producer {producer_id}: a marker of epoch {producer_epoch}, the last seen epoch "
                f"is {producer.epoch} (transaction version {transaction_version})"
            )
        if coordinator_epoch < producer.coordinator_epoch:
            raise errors.TransactionCoordinatorFenced(
                f"producer {producer_id}: a marker of coordinator epoch {coordinator_epoch}, the "
                f"current one is {producer.coordinator_epoch}"
            )

    def apply(self, entry: ProducerEntry) -> None:
        """Takes note of a stored batch: live, from a digest, or from a WAL; in order of offsets."""
        if entry.base_offset < self.end_offset:
            return
        producer = self._producers.get(entry.producer_id)
        if producer is None:
            producer = self._producers[entry.producer_id] = _Producer()
        if entry.is_marker:
            self._end_transaction(producer, entry)
        else:
            self._add_batch(producer, entry)
        producer.last_timestamp = entry.max_timestamp
        self.end_offset = entry.last_offset + 1

    def extend(self, producer_id: int, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Takes note of batches that the core has appended for a known producer, oldest first.

        Each goes on where the one before ended, outside of transactions: fields of SeenBatch.
        """
        producer = self._producers[producer_id]
        for row in rows:
            seen = SeenBatch(*row)
            producer.batches.append(seen)
            producer.last_timestamp = seen.timestamp

    def advance(self, end_offset: int) -> None:
        """Says that all below `end_offset` was seen, where batches without a producer ended it."""
        self.end_offset = max(self.end_offset, end_offset)

    def _add_batch(self, producer: _Producer, entry: ProducerEntry) -> None:
        producer.adopt_epoch(entry.producer_epoch)
        producer.batches.append(
            SeenBatch(
                entry.base_sequence,
                entry.last_sequence,
                entry.base_offset,
                entry.last_offset,
                entry.max_timestamp,
            )
        )
        if entry.is_transactional and producer.transaction_start is None:
            producer.transaction_start = entry.base_offset
            self._open[entry.base_offset] = entry.producer_id

    def _end_transaction(self, producer: _Producer, entry: ProducerEntry) -> None:
        producer.adopt_epoch(entry.producer_epoch)
        producer.coordinator_epoch = entry.coordinator_epoch
        start, producer.transaction_start = producer.transaction_start, None
        if start is None:
            return  # nothing was written here: no reader needs to know
        del self._open[start]
        self._settling.append((start, entry.last_offset))
        if not entry.is_commit:
            stable = next(iter(self._open), entry.last_offset + 1)
            self._aborted.append(
                AbortedTransaction(entry.producer_id, start, entry.last_offset, stable)
            )

    def has_open_transaction(self, producer_id: int) -> bool:
        """Whether the producer has written here in a transaction that has not ended."""
        producer = self._producers.get(producer_id)
        return producer is not None and producer.transaction_start is not None

    def settle(self, high_watermark: int) -> None:
        """Lets transactions go whose marker is below the high watermark. Soft state only."""
        while self._settling and self._settling[0][1] < high_watermark:
            self._settling.popleft()

    def first_unstable_offset(self) -> int | None:
        """Where the first transaction begins that is open, or whose marker is not settled.

        The last stable offset is this, or the high watermark where there is none.
        """
        first = next(iter(self._open), None)
        for start, _ in self._settling:
            first = start if first is None else min(first, start)
        return None if first is None else max(first, self.start_offset)

    def aborted(self, start_offset: int, end_offset: int) -> list[AbortedTransaction]:
        """The aborted transactions with records in `[start_offset, end_offset)`, by marker."""
        first = bisect_left(self._aborted, start_offset, key=lambda txn: txn.last_offset)
        found = []
        for txn in islice(self._aborted, first, None):
            if txn.first_offset < end_offset:
                found.append(txn)
            if txn.last_stable_offset >= end_offset:
                break  # what was aborted later began later
        return found

    def trim(self, start_offset: int) -> None:
        """The log starts later now. Producers stay known: only time makes Kafka forget them."""
        if start_offset <= self.start_offset:
            return
        self.start_offset = start_offset
        self.end_offset = max(self.end_offset, start_offset)
        gone = bisect_left(self._aborted, start_offset, key=lambda txn: txn.last_offset)
        del self._aborted[:gone]
        self.settle(start_offset)

    def expire(self, now_ms: int, *, expiration_ms: int) -> int:
        """Forgets who wrote nothing for `producer.id.expiration.ms` and has no open transaction.

        Answers how many. A snapshot or digest may bring one back; it expires again.
        """
        expired = [
            producer_id
            for producer_id, producer in self._producers.items()
            if producer.transaction_start is None
            and now_ms - producer.last_timestamp >= expiration_ms
        ]
        for producer_id in expired:
            del self._producers[producer_id]
        return len(expired)

    def __len__(self) -> int:
        """How many producers are known."""
        return len(self._producers)

    def describe(self) -> Iterator[ProducerDescription]:
        """Every known producer, by id."""
        for producer_id, producer in sorted(self._producers.items()):
            start = producer.transaction_start
            yield ProducerDescription(
                producer_id,
                producer.epoch,
                producer.coordinator_epoch,
                producer.last_timestamp,
                -1 if start is None else start,
                tuple(producer.batches),
            )

    def oldest_transaction_timestamp(self) -> int | None:
        """When the producer of the oldest open transaction last wrote; None without one."""
        producer_id = next(iter(self._open.values()), None)
        return None if producer_id is None else self._producers[producer_id].last_timestamp

    def snapshot(self, *, aborted_from: int = 0) -> bytes:
        """All that `load` needs to go on from `end_offset`.

        Of the aborted transactions only those whose marker lies at `aborted_from` or later: who
        keeps the snapshots before this one gives their `end_offset`, so that the list is written
        once and not again with every snapshot.
        """
        first = bisect_left(self._aborted, aborted_from, key=lambda txn: txn.last_offset)
        body = _Snapshot(
            self.start_offset, self.end_offset, list(self.describe()), self._aborted[first:]
        )
        return bytes([SNAPSHOT_VERSION]) + msgspec.msgpack.encode(body)

    @classmethod
    def load(cls, snapshots: Iterable[bytes]) -> "ProducerStates":
        """The state that the last of `snapshots` holds; those before it add aborted transactions.

        Raises ValueError for bytes that are no snapshot, or one of a version not known here.
        """
        states = cls()
        for data in snapshots:
            states._take(_decode(data))
        return states

    def _take(self, snapshot: _Snapshot) -> None:
        known_to = self._aborted[-1].last_offset if self._aborted else -1
        self._aborted.extend(txn for txn in snapshot.aborted if txn.last_offset > known_to)
        self.start_offset, self.end_offset = 0, snapshot.end_offset
        self.trim(snapshot.start_offset)
        self._producers = {one.producer_id: _revived(one) for one in snapshot.producers}
        starts = (
            (one.transaction_start_offset, one.producer_id)
            for one in snapshot.producers
            if one.transaction_start_offset >= 0
        )
        self._open = dict(sorted(starts))


def _find(producer: _Producer, batch: SequencedBatch) -> SeenBatch | None:
    if batch.producer_epoch != producer.epoch:
        return None
    base, last = batch.base_sequence, batch.last_sequence
    for seen in producer.batches:
        if seen.base_sequence == base and seen.last_sequence == last:
            return seen
    return None


def _check_sequence(producer: _Producer, batch: SequencedBatch) -> None:
    sequence = batch.base_sequence
    if batch.producer_epoch != producer.epoch:
        if sequence != 0 and producer.epoch != NO_EPOCH:
            raise errors.OutOfOrderSequenceNumber(
                f"producer {batch.producer_id}: the new epoch {batch.producer_epoch} must start "
                f"at sequence 0, not {sequence} (current epoch {producer.epoch})"
            )
        return
    last = producer.last_sequence
    if sequence != last + 1 and not (sequence == 0 and last == SEQUENCE_MAX):
        raise errors.OutOfOrderSequenceNumber(
            f"producer {batch.producer_id}: sequence {sequence} does not follow {last}"
        )


def _marker_is_stale(producer: _Producer, epoch: int, transaction_version: int) -> bool:
    if transaction_version < 2:
        return epoch < producer.epoch
    if epoch == producer.epoch:
        return producer.transaction_start is not None and epoch != EPOCH_MAX
    return epoch < producer.epoch


def _revived(one: ProducerDescription) -> _Producer:
    start = one.transaction_start_offset
    return _Producer(
        one.producer_epoch,
        one.coordinator_epoch,
        one.last_timestamp,
        None if start < 0 else start,
        deque(one.batches, maxlen=BATCHES_KEPT),
    )


def _decode(data: bytes) -> _Snapshot:
    if data[:1] != bytes([SNAPSHOT_VERSION]):
        version = data[0] if data else None
        raise ValueError(f"a producer snapshot of version {version}, known is {SNAPSHOT_VERSION}")
    return msgspec.msgpack.decode(memoryview(data)[1:], type=_Snapshot)
