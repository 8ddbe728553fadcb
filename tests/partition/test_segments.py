"""Virtual segments: where Apache Kafka would have rolled, and what expires."""

from automq.partition.segments import Segment, Segments

NO_LIMIT = -1


def filled(
    *runs: tuple[int, int], segment_bytes: int = 100, segment_ms: int = 10**12, step: int = 10
) -> Segments:
    """Runs of (bytes, timestamp), each of `step` offsets."""
    segments = Segments()
    for number, (size_bytes, timestamp) in enumerate(runs):
        segments.add(
            base_offset=number * step,
            size_bytes=size_bytes,
            max_timestamp=timestamp,
            segment_bytes=segment_bytes,
            segment_ms=segment_ms,
        )
    return segments


def bases(segments: Segments) -> list[int]:
    return [row.base_offset for row in segments.rows]


def expired(
    segments: Segments, *, now: int = 0, ms: int = NO_LIMIT, size: int = NO_LIMIT, end: int = 999
) -> int | None:
    return segments.expired(end_offset=end, now_ms=now, retention_ms=ms, retention_bytes=size)


def test_a_segment_rolls_before_it_would_be_too_large() -> None:
    assert bases(filled((60, 1), (40, 1), (1, 1), (99, 1), (1, 1))) == [0, 20, 40]


def test_a_batch_larger_than_a_segment_has_one_of_its_own() -> None:
    assert bases(filled((500, 1), (500, 1), (10, 1))) == [0, 10, 20]


def test_a_segment_rolls_when_a_record_is_too_far_from_its_first() -> None:
    assert bases(filled((1, 100), (1, 600), (1, 601), segment_ms=500)) == [0, 20]


def test_a_record_without_a_timestamp_rolls_nothing() -> None:
    assert bases(filled((1, -1), (1, 10**15), segment_ms=500)) == [0]


def test_only_whole_segments_expire_and_oldest_first() -> None:
    segments = filled((100, 10), (100, 30), (100, 20), (100, 40))
    assert expired(segments, now=100, ms=90) is None
    assert expired(segments, now=101, ms=90) == 10
    assert expired(segments, now=115, ms=90) == 10, "what is younger holds back what is behind it"
    assert expired(segments, now=121, ms=90) == 30


def test_the_active_segment_expires_as_a_whole_and_the_log_is_empty() -> None:
    segments = filled((100, 10), (50, 20))
    assert expired(segments, now=1000, ms=90, end=20) == 20
    segments.roll(20)
    segments.trim(20)
    assert segments.rows == [Segment(20)]
    assert expired(segments, now=10**9, ms=90, end=20) is None


def test_by_size_segments_expire_while_enough_is_left() -> None:
    segments = filled((100, 1), (100, 1), (100, 1), (50, 1))
    assert expired(segments, size=350) is None
    assert expired(segments, size=251) is None
    assert expired(segments, size=250) == 10
    assert expired(segments, size=50) == 30
    assert expired(segments, size=0, end=40) == 40


def test_without_limits_nothing_expires() -> None:
    assert expired(filled((100, 1), (100, 1)), now=10**15) is None


def test_records_without_timestamps_expire_by_size_only() -> None:
    segments = filled((100, -1), (100, -1))
    assert expired(segments, now=10**15, ms=1) is None
    assert expired(segments, size=100) == 10


def test_a_trim_within_a_segment_keeps_it() -> None:
    segments = filled((100, 1), (100, 1), (100, 1))
    segments.trim(15)
    assert bases(segments) == [10, 20]
    segments.trim(29)
    assert bases(segments) == [20]
    assert segments.size_bytes == 100


def test_an_empty_active_segment_is_not_rolled_again() -> None:
    segments = filled((100, 1))
    segments.roll(10)
    segments.roll(10)
    assert bases(segments) == [0, 10]
