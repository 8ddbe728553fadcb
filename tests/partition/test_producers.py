"""Producer state: what is accepted, what is refused, and that every way to it is the same."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automq import _native as native
from automq.partition.producers import AbortedTransaction, Duplicate, ProducerStates
from automq.protocol import errors

MAX = 2**31 - 1

# Lies in object stores: read for ever.
GOLDEN = "019401039196070003cd03e802929500000000cd03e89501010202cd03e8919407000102"


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch of producer 7, or what was stored of it."""

    producer_epoch: int = 0
    base_sequence: int = 0
    last_sequence: int = 0
    is_transactional: bool = False
    base_offset: int = 0
    last_offset: int = 0
    max_timestamp: int = 1_000
    is_marker: bool = False
    is_commit: bool = False
    coordinator_epoch: int = -1
    producer_id: int = 7


def data(offset: int, sequence: int, *, epoch: int = 0, txn: bool = False, by: int = 7) -> Sent:
    """One record at `offset`."""
    return Sent(
        producer_epoch=epoch,
        base_sequence=sequence,
        last_sequence=sequence,
        is_transactional=txn,
        base_offset=offset,
        last_offset=offset,
        producer_id=by,
    )


def marker(
    offset: int, *, commit: bool = False, epoch: int = 0, coordinator: int = 0, by: int = 7
) -> Sent:
    return Sent(
        producer_epoch=epoch,
        base_sequence=-1,
        last_sequence=-1,
        is_transactional=True,
        base_offset=offset,
        last_offset=offset,
        is_marker=True,
        is_commit=commit,
        coordinator_epoch=coordinator,
        producer_id=by,
    )


def after(*entries: Sent) -> ProducerStates:
    states = ProducerStates()
    for entry in entries:
        states.apply(entry)
    return states


def test_the_next_sequence_is_accepted() -> None:
    assert after(data(0, 0)).check(data(1, 1)) is None


def test_a_gap_is_out_of_order() -> None:
    with pytest.raises(errors.OutOfOrderSequenceNumber, match="sequence 2 does not follow 0"):
        after(data(0, 0)).check(data(1, 2))


def test_a_batch_sent_again_is_answered_with_its_first_offset() -> None:
    states = after(data(10, 0), data(11, 1))
    assert states.check(data(99, 0)) == Duplicate(10, 10, 1_000)


def test_five_batches_are_remembered_and_the_sixth_is_out_of_order() -> None:
    states = after(*(data(n, n) for n in range(6)))
    assert states.check(data(99, 1)) == Duplicate(1, 1, 1_000)
    with pytest.raises(errors.OutOfOrderSequenceNumber):
        states.check(data(99, 0))


def test_part_of_a_batch_is_no_duplicate() -> None:
    states = after(Sent(base_sequence=0, last_sequence=4, last_offset=4))
    with pytest.raises(errors.OutOfOrderSequenceNumber):
        states.check(Sent(base_sequence=0, last_sequence=3))


def test_sequences_go_from_the_largest_to_zero() -> None:
    states = after(data(0, MAX))
    assert states.check(data(1, 0)) is None


def test_an_unknown_producer_may_start_anywhere() -> None:
    assert ProducerStates().check(data(0, 17)) is None


def test_batches_without_a_producer_are_not_looked_at() -> None:
    assert ProducerStates().check(data(0, -1, by=-1)) is None


def test_a_new_epoch_starts_at_zero() -> None:
    states = after(data(0, 0), data(1, 1))
    assert states.check(data(2, 0, epoch=1)) is None
    with pytest.raises(errors.OutOfOrderSequenceNumber, match="must start at sequence 0"):
        states.check(data(2, 2, epoch=1))


def test_an_old_epoch_is_refused() -> None:
    with pytest.raises(errors.InvalidProducerEpoch):
        after(data(0, 0, epoch=3)).check(data(1, 1, epoch=2))


def test_a_new_epoch_forgets_the_sequences_of_the_old_one() -> None:
    states = after(data(0, 0), data(1, 0, epoch=1))
    assert states.check(data(9, 0, epoch=1)) == Duplicate(1, 1, 1_000)
    (one,) = states.describe()
    assert (one.producer_epoch, len(one.batches), one.last_sequence) == (1, 1, 0)


def test_after_a_marker_of_a_new_epoch_sequences_start_again() -> None:
    states = after(data(0, 0, txn=True), marker(1, epoch=1))
    with pytest.raises(errors.OutOfOrderSequenceNumber):
        states.check(data(2, 1, epoch=1, txn=True))
    assert states.check(data(2, 0, epoch=1, txn=True)) is None


def test_a_coordinator_writes_without_sequences() -> None:
    states = after(data(0, -1, txn=True))
    assert states.check(data(1, -1, txn=True), from_client=False) is None
    with pytest.raises(errors.InvalidProducerEpoch):
        after(data(0, -1, epoch=1)).check(data(1, -1), from_client=False)


def test_an_open_transaction_takes_only_transactional_batches() -> None:
    states = after(data(0, 0, txn=True))
    with pytest.raises(errors.InvalidTxnState):
        states.check(data(1, 1))
    assert states.check(data(1, 1, txn=True)) is None


def test_a_zombie_coordinator_is_fenced() -> None:
    states = after(data(0, 0, txn=True), marker(1, coordinator=5))
    with pytest.raises(errors.TransactionCoordinatorFenced):
        states.check_marker(7, 0, 4)
    states.check_marker(7, 0, 5)


def test_a_marker_of_an_old_epoch_is_refused() -> None:
    states = after(data(0, 0, epoch=3, txn=True))
    with pytest.raises(errors.InvalidProducerEpoch):
        states.check_marker(7, 2, 0)
    states.check_marker(7, 3, 0)


def test_from_transaction_version_2_a_marker_has_a_larger_epoch() -> None:
    states = after(data(0, 0, epoch=3, txn=True))
    with pytest.raises(errors.InvalidProducerEpoch):
        states.check_marker(7, 3, 0, transaction_version=2)
    states.check_marker(7, 4, 0, transaction_version=2)


def test_from_transaction_version_2_a_marker_may_come_twice() -> None:
    states = after(data(0, 0, epoch=3, txn=True), marker(1, epoch=4))
    states.check_marker(7, 4, 0, transaction_version=2)


def test_the_first_open_transaction_holds_back_the_stable_offset() -> None:
    states = after(data(0, 0, by=1), data(1, 0, txn=True, by=2), data(2, 0, txn=True, by=3))
    assert states.first_unstable_offset() == 1
    states.apply(marker(3, by=2))
    assert states.first_unstable_offset() == 1
    states.settle(4)
    assert states.first_unstable_offset() == 2


def test_a_marker_counts_once_it_is_below_the_high_watermark() -> None:
    states = after(data(0, 0, txn=True), marker(1, commit=True))
    states.settle(1)
    assert states.first_unstable_offset() == 0
    states.settle(2)
    assert states.first_unstable_offset() is None


def test_aborted_transactions_are_listed_where_they_have_records() -> None:
    states = after(
        data(0, 0, txn=True, by=1),
        data(1, 0, txn=True, by=2),
        marker(2, by=1),
        data(3, 1, txn=True, by=1),
        marker(4, by=1, commit=True),
        marker(5, by=2),
        data(6, 2, txn=True, by=1),
        marker(7, by=1),
    )
    first, second, third = (
        AbortedTransaction(1, 0, 2, 1),
        AbortedTransaction(2, 1, 5, 6),
        AbortedTransaction(1, 6, 7, 8),
    )
    assert states.aborted(0, 8) == [first, second, third]
    assert states.aborted(3, 6) == [second]
    assert states.aborted(0, 1) == [first]
    assert states.aborted(8, 9) == []


def test_a_marker_without_records_leaves_nothing_to_list() -> None:
    states = after(marker(0))
    assert states.aborted(0, 10) == []
    assert states.first_unstable_offset() is None


def test_trimming_forgets_what_was_aborted_but_no_producer() -> None:
    states = after(data(0, 0, txn=True), marker(1), data(2, 1, txn=True))
    states.trim(3)
    assert states.aborted(0, 10) == []
    assert states.first_unstable_offset() == 3
    assert states.check(data(3, 2, txn=True)) is None


def test_the_idle_are_forgotten_unless_their_transaction_is_open() -> None:
    states = after(data(0, 0, by=1), data(1, 0, txn=True, by=2))
    assert states.expire(1_999, expiration_ms=1_000) == 0
    assert states.expire(2_000, expiration_ms=1_000) == 1
    assert [one.producer_id for one in states.describe()] == [2]
    assert states.oldest_transaction_timestamp() == 1_000


def test_a_snapshot_keeps_aborted_transactions_of_its_own_range_only() -> None:
    states = after(data(0, 0, txn=True), marker(1))
    first = states.snapshot()
    states.apply(data(2, 1, txn=True))
    states.apply(marker(3))
    second = states.snapshot(aborted_from=2)
    assert len(ProducerStates.load([second]).aborted(0, 9)) == 1
    assert ProducerStates.load([first, second]).snapshot() == states.snapshot()


def test_snapshots_of_version_1_are_read() -> None:
    stored = bytes.fromhex(GOLDEN)
    states = after(data(0, 0, txn=True), marker(1, coordinator=3), data(2, 1, txn=True))
    states.trim(1)
    assert states.snapshot() == stored
    assert ProducerStates.load([stored]).snapshot() == stored


def test_a_snapshot_of_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 9"):
        ProducerStates.load([b"\x09"])
    with pytest.raises(ValueError, match="version None"):
        ProducerStates.load([b""])
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's own words
        ProducerStates.load([ProducerStates().snapshot()[:-1]])


@dataclass(slots=True)
class Story:
    """Writes legal batches of a few producers, one after another."""

    states: ProducerStates
    epochs: dict[int, int]
    sequences: dict[int, int]
    batches: list[bytes]

    def write(self, by: int, act: str) -> None:
        if act in ("commit", "abort"):
            self.end(by, commit=act == "commit")
            return
        if act == "bump" and not self.states.has_open_transaction(by):
            self.epochs[by] = self.epochs.get(by, 0) + 1
            self.sequences[by] = 0
        transactional = act == "transactional" or self.states.has_open_transaction(by)
        count = 1 + by
        known = any(one.producer_id == by for one in self.states.describe())
        sequence = self.sequences.get(by, 0 if known else MAX - 3)
        self.sequences[by] = (sequence + count) % (MAX + 1)
        batch = native.build_batch(
            [(len(self.batches), b"k", b"v", [])] * count,
            base_offset=self.states.end_offset,
            producer_id=by,
            producer_epoch=self.epochs.get(by, 0),
            base_sequence=sequence,
            transactional=transactional,
        )
        assert self.states.check(native.batches(batch)[0]) is None
        self.store(batch)

    def end(self, by: int, *, commit: bool) -> None:
        epoch, coordinator = self.epochs.get(by, 0), len(self.batches) // 10
        self.states.check_marker(by, epoch, coordinator)
        marker = native.build_marker(
            commit=commit,
            coordinator_epoch=coordinator,
            producer_id=by,
            producer_epoch=epoch,
            timestamp=len(self.batches),
            base_offset=self.states.end_offset,
        )
        self.store(marker)

    def store(self, batch: native.Buf) -> None:
        entry = native.batches(batch)[0].producer_entry()
        assert entry is not None
        self.states.apply(entry)
        self.batches.append(bytes(batch))


ACTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["plain", "plain", "transactional", "transactional", "commit", "abort"])
        | st.just("bump"),
    ),
    max_size=60,
)


def told(acts: list[tuple[int, str]]) -> Story:
    story = Story(ProducerStates(), {}, {}, [])
    for by, act in acts:
        story.write(by, act)
    return story


@settings(max_examples=150, deadline=None)
@given(acts=ACTS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_digests_of_any_split_equal_all_batches(
    acts: list[tuple[int, str]], cuts: list[int]
) -> None:
    story = told(acts)
    edges = [0, *sorted(cut for cut in cuts if cut < len(story.batches)), len(story.batches)]
    replayed = ProducerStates()
    for start, end in pairwise(edges):
        digest = native.digest_of(b"".join(story.batches[start:end]))
        for entry in native.decode_digest(digest):
            replayed.apply(entry)
    assert replayed.snapshot() == story.states.snapshot()


@settings(max_examples=150, deadline=None)
@given(acts=ACTS, cut=st.integers(0, 60), overlap=st.integers(0, 10))
def test_a_snapshot_equals_the_history_it_replaces(
    acts: list[tuple[int, str]], cut: int, overlap: int
) -> None:
    story = told(acts)
    early = told(acts[: min(cut, len(acts))])
    revived = ProducerStates.load([early.states.snapshot()])
    rest = story.batches[max(0, len(early.batches) - overlap) :]
    for entry in native.decode_digest(native.digest_of(b"".join(rest))):
        revived.apply(entry)
    assert revived.snapshot() == story.states.snapshot()


@settings(max_examples=50, deadline=None)
@given(acts=ACTS, batch=st.builds(data, st.integers(0, 99), st.integers(0, MAX)))
def test_deciding_changes_nothing(acts: list[tuple[int, str]], batch: Sent) -> None:
    states = told(acts).states
    before = states.snapshot()
    for by in range(4):
        try:
            states.check(data(0, batch.base_sequence, by=by))
            states.check_marker(by, 0, 0)
        except errors.KafkaError:
            pass
    assert states.snapshot() == before
