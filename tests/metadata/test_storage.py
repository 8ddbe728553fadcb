"""The storage part: verdicts of commits and replaces, trims, look-ups, and its snapshot."""

import pytest

from automq._native import Columns
from automq.metadata.image import Image
from automq.metadata.log import encode_all
from automq.metadata.records.objects import (
    DoomReason,
    ExtentsReplaced,
    ObjectCommitted,
    ObjectsDoomed,
    ObjectsForgotten,
    ObjectsPrepared,
    Purpose,
)
from automq.metadata.records.registry import Record
from automq.metadata.records.streams import (
    NewStream,
    StreamKind,
    StreamsClosed,
    StreamsCreated,
    StreamsOpened,
    StreamsRemoved,
    StreamsTrimmed,
)
from automq.metadata.records.wals import WalClosed, WalKind, WalRegistered, WalTakeover
from automq.metadata.storage import StorageImage

TAKEN, ALREADY, GONE, FENCED = range(4)
TOPIC = b"t" * 16
NO_ROWS = Columns([], [], [])
Row = tuple[int, int, int, int]


def created(count: int) -> StreamsCreated:
    return StreamsCreated(0, tuple(NewStream(TOPIC, at, StreamKind.DATA) for at in range(count)))


def opened(*rows: tuple[int, int, int], node_epoch: int = 7) -> StreamsOpened:
    return StreamsOpened(1, node_epoch, Columns(*map(list, zip(*rows, strict=True))))


def replay(*records: Record) -> StorageImage:
    image = Image()
    for record in records:
        image.apply(record)
    return image.storage


def begun(streams: int = 2) -> list[Record]:
    return [
        created(streams),
        WalRegistered(0, 1, 7, "file:///wal", WalKind.FILE, 0),
        opened(*((stream, 3, 0) for stream in range(streams))),
        ObjectsPrepared(0, 20, 1, 7, Purpose.UPLOAD, 0),
    ]


def ranges(*rows: Row, bytes_each: int = 100) -> Columns:
    """Rows of (stream, epoch, start, end)."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    sizes = [bytes_each] * len(rows)
    stamps = [1_000 + row[3] for row in rows]
    return Columns(*columns, sizes, stamps)


def judge(image: StorageImage, *rows: Row) -> list[int]:
    [(verdicts, _)] = image.tables.judge_commits([(1, 7, ranges(*rows))])
    return list(verdicts)


def commit(
    image: StorageImage, object_id: int, *rows: Row, wal_start: int = 0, bytes_each: int = 100
) -> ObjectCommitted:
    [(_, taken)] = image.tables.judge_commits([(1, 7, ranges(*rows, bytes_each=bytes_each))])
    record = ObjectCommitted(object_id, 999, 0, 900, 50, 1, 0, wal_start, taken)
    record.apply(image)
    return record


def test_a_range_at_the_end_is_taken() -> None:
    image = replay(*begun())

    assert judge(image, (0, 3, 0, 10), (1, 3, 0, 5)) == [TAKEN, TAKEN]


def test_the_wal_starts_later_in_the_same_record() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10), wal_start=77)

    assert image.wals[0].start == 77


def test_a_range_that_was_committed_is_already_there_whatever_became_of_its_object() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    StreamsTrimmed(Columns([0], [10])).apply(image)
    ObjectsDoomed(Columns([0]), DoomReason.NO_EXTENTS).apply(image)
    ObjectsForgotten(Columns([0])).apply(image)

    assert image.object(0) is None
    assert judge(image, (0, 3, 0, 10)) == [ALREADY]


def test_a_range_of_a_removed_stream_is_gone() -> None:
    image = replay(*begun(), StreamsRemoved(Columns([0])))

    assert judge(image, (0, 3, 0, 10), (1, 3, 0, 10)) == [GONE, TAKEN]


def test_an_older_epoch_that_reaches_past_the_next_is_fenced() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    opened((0, 5, 10), node_epoch=8).apply(image)

    assert judge(image, (0, 3, 5, 11)) == [FENCED]
    assert judge(image, (0, 3, 5, 10)) == [ALREADY]


def test_a_range_that_begins_below_the_end_is_clipped() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    [(verdicts, taken)] = image.tables.judge_commits([(1, 7, ranges((0, 3, 5, 15)))])

    assert list(verdicts) == [TAKEN]
    assert taken.columns() == [[0], [10], [15], [50], [1_015]]


def test_commits_of_one_command_are_judged_one_after_the_other() -> None:
    image = replay(*begun())
    judged = image.tables.judge_commits(
        [(1, 7, ranges((0, 3, 0, 10))), (1, 7, ranges((0, 3, 10, 12)))]
    )

    assert [list(verdicts) for verdicts, _ in judged] == [[TAKEN], [TAKEN]]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([(0, 3, 5, 10)], "leaves a gap behind 0"),
        ([(0, 4, 0, 10)], "epoch 4 was never opened"),
        ([(9, 3, 0, 10)], "stream 9 was never created"),
        ([(0, 3, 4, 4)], "holds nothing"),
        ([(1, 3, 0, 4), (0, 3, 0, 4)], "streams must ascend"),
        ([(0, 3, 0, 4), (0, 3, 4, 8)], "streams must ascend"),
    ],
)
def test_what_no_correct_node_sends_is_refused(rows: list[Row], why: str) -> None:
    image = replay(*begun())

    with pytest.raises(ValueError, match=why):
        judge(image, *rows)


def test_another_nodes_range_is_refused() -> None:
    image = replay(*begun())

    with pytest.raises(ValueError, match="stream 0 is node 1's"):
        image.tables.judge_commits([(2, 9, ranges((0, 3, 0, 10)))])


def test_nothing_is_committed_behind_a_clean_close() -> None:
    image = replay(*begun(), StreamsClosed(Columns([0], [3], [0])))

    with pytest.raises(ValueError, match="stream 0 was closed at 0"):
        judge(image, (0, 3, 0, 10))


def test_opens_at_one_offset_collapse_to_the_newest_epoch() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    opened((0, 5, 10), node_epoch=8).apply(image)
    opened((0, 6, 10), node_epoch=9).apply(image)

    assert image.opens(0) == [(3, 0), (6, 10)]


def test_epochs_below_the_start_are_dropped_but_for_the_one_that_covers_it() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    opened((0, 5, 10)).apply(image)
    commit(image, 1, (0, 5, 10, 20))
    opened((0, 6, 20)).apply(image)
    commit(image, 2, (0, 6, 20, 30))
    StreamsTrimmed(Columns([0], [15])).apply(image)

    assert image.opens(0) == [(5, 10), (6, 20)]


def test_a_stream_opens_only_at_its_committed_end() -> None:
    image = replay(*begun())

    with pytest.raises(AssertionError, match="opened at 4, committed 0"):
        opened((0, 4, 4)).apply(image)


def test_trims_are_clamped_and_kept_only_if_they_free_a_range() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10), (1, 3, 0, 10))

    judged = image.tables.judge_trims([0, 1, 5], [900, 4, 8])

    assert judged.columns() == [[0], [10]]


def test_an_object_that_is_read_no_more_may_be_doomed_and_only_then() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10), (1, 3, 0, 10))
    StreamsTrimmed(Columns([0], [10])).apply(image)
    with pytest.raises(AssertionError, match="object 0 is still read"):
        ObjectsDoomed(Columns([0]), DoomReason.NO_EXTENTS).apply(image)

    StreamsRemoved(Columns([1])).apply(image)

    assert image.tables.unreferenced(10) == [0]
    ObjectsDoomed(Columns([0]), DoomReason.NO_EXTENTS).apply(image)
    assert image.tables.doomed(10) == [0]


def test_a_doomed_object_is_never_committed() -> None:
    image = replay(*begun(), ObjectsDoomed(Columns([4]), DoomReason.ORPHAN))

    with pytest.raises(AssertionError, match="object 4 is not prepared"):
        commit(image, 4, (0, 3, 0, 10))


def test_ranges_are_found_by_offset_and_by_time() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    commit(image, 1, (0, 3, 10, 30), bytes_each=9 << 20)
    commit(image, 2, (0, 3, 30, 40))

    assert [(it.object, it.start, it.end) for it in image.locate(0, 12, 5)] == [
        (1, 10, 30),
        (2, 30, 40),
    ]
    found = image.locate_timestamp(0, 1_031)
    assert found is not None
    assert (found.object, found.index_position, found.index_bytes) == (2, 900, 50)
    assert image.locate_timestamp(0, 5_000) is None


def replaced(object_id: int, *removed: Row, start: int, end: int) -> tuple[Columns, Columns]:
    columns = [list(column) for column in zip(*removed, strict=True)]
    return Columns(*columns), Columns([0], [object_id], [start], [end], [500], [1_040])


def test_a_replace_takes_the_place_of_exactly_what_it_names() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    commit(image, 1, (0, 3, 10, 20))
    removed, added = replaced(9, (0, 0, 0, 10), (0, 1, 10, 20), start=0, end=20)

    assert image.tables.judge_replace(removed, added) == [(0, 0)]
    objects, cleaned = Columns([9], [600], [1], [550], [50]), Columns([0], [20], [-1])
    ExtentsReplaced(removed, added, objects, cleaned).apply(image)

    assert [(it.object, it.start, it.end) for it in image.locate(0, 0, 5)] == [(9, 0, 20)]
    assert image.tables.unreferenced(9) == [0, 1]
    assert image.tables.judge_replace(removed, added) == [(0, 2)]
    stream = image.stream(0)
    assert stream is not None
    assert stream.cleaned_to == 20


def test_a_replace_that_leaves_a_hole_is_refused() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    removed, added = replaced(9, (0, 0, 0, 10), start=0, end=9)

    with pytest.raises(ValueError, match="ends at 9, not 10"):
        image.tables.judge_replace(removed, added)


def test_a_trim_inside_the_first_range_does_not_refuse_a_replace() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    commit(image, 1, (0, 3, 10, 20))
    StreamsTrimmed(Columns([0], [5])).apply(image)

    clipped = replaced(9, (0, 0, 0, 10), (0, 1, 10, 20), start=5, end=20)
    whole = replaced(9, (0, 0, 0, 10), (0, 1, 10, 20), start=0, end=20)

    assert image.tables.judge_replace(*clipped) == [(0, 0)]
    assert image.tables.judge_replace(*whole) == [(0, 0)]


def test_a_replace_of_what_a_trim_took_away_is_refused() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10))
    commit(image, 1, (0, 3, 10, 20))
    StreamsTrimmed(Columns([0], [10])).apply(image)

    removed, added = replaced(9, (0, 0, 0, 10), (0, 1, 10, 20), start=0, end=20)

    assert image.tables.judge_replace(removed, added) == [(0, 2)]


def test_a_wal_that_was_taken_over_is_committed_by_its_taker() -> None:
    image = replay(*begun(), WalTakeover(0, 0, 2, 9, 1))

    assert image.wals[0].committer == (2, 9)
    WalClosed(0, 40, False).apply(image)
    assert image.wals[0].closed


def test_judging_changes_nothing() -> None:
    image = replay(*begun())
    before = bytes(encode_all(image.snapshot_records()))
    judge(image, (0, 3, 0, 10))
    image.tables.judge_trims([0], [9])
    image.tables.judge_opens(1, 8, [0, 1], [9, 1])

    assert bytes(encode_all(image.snapshot_records())) == before


def test_a_snapshot_equals_the_history_that_it_replaces() -> None:
    image = replay(*begun())
    commit(image, 0, (0, 3, 0, 10), (1, 3, 0, 10), wal_start=5)
    commit(image, 1, (0, 3, 10, 20), wal_start=5, bytes_each=9 << 20)
    opened((0, 5, 20)).apply(image)
    StreamsTrimmed(Columns([1], [10])).apply(image)
    ObjectsDoomed(Columns([7]), DoomReason.ORPHAN).apply(image)
    WalTakeover(0, 5, 2, 9, 1).apply(image)

    copy = replay(*image.snapshot_records())

    assert bytes(encode_all(copy.snapshot_records())) == bytes(encode_all(image.snapshot_records()))
    assert copy.locate(0, 0, 9) == image.locate(0, 0, 9)
    assert copy.wals == image.wals
    assert copy.stream(0) == image.stream(0)


def test_twenty_thousand_ranges_are_one_record() -> None:
    image = replay(*begun(20_000))
    record = commit(image, 0, *((stream, 3, 0, 10 + stream % 9) for stream in range(20_000)))

    assert len(encode_all([record])) < 200_000
    assert [it.end for it in image.locate(19_999, 0, 1)] == [10 + 19_999 % 9]
