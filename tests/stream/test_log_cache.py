"""The log cache through its binding; the Rust tests compare it with a model."""

import struct

import pytest

from automq._native import Buf, LogCache


def batch(base_offset: int, *, records: int = 1, timestamp: int = 0, size: int = 100) -> Buf:
    head = struct.pack(
        ">qiibIhiqqqhii",
        *(base_offset, size - 12, 0, 2, 0, 0, records - 1, timestamp, timestamp, -1, -1, -1),
        records,
    )
    return Buf(head + bytes(size - len(head)))


def filled(*, batches: int, bytes_max: int = 1 << 20, size: int = 100) -> LogCache:
    cache = LogCache(bytes_max=bytes_max)
    for offset in range(batches):
        cache.append(
            7, offset, offset, offset * 10, batch(offset, timestamp=offset * 10, size=size)
        )
    return cache


def test_what_was_appended_is_read_from_the_batch_that_holds_the_offset() -> None:
    cache = LogCache(bytes_max=1 << 20)
    kept = cache.append(7, 0, 9, 5, batch(0, records=10, timestamp=5))
    read = cache.read(7, 4, 10, 1 << 20, False)
    assert read is not None
    assert [bytes(buf) for buf in read.bufs] == [bytes(kept)]
    assert (read.base_offset, read.next_offset, read.size_bytes) == (0, 10, 100)


def test_small_neighbours_are_one_buf() -> None:
    read = filled(batches=4).read(7, 0, 4, 1 << 20, False)
    assert read is not None
    assert [len(buf) for buf in read.bufs] == [400]


def test_what_is_not_here_is_none_and_an_empty_tail_is_empty() -> None:
    cache = filled(batches=3)
    assert cache.read(8, 0, 3, 1000, True) is None
    tail = cache.read(7, 3, 3, 1000, True)
    assert tail is not None
    assert (tail.bufs, tail.size_bytes, tail.next_offset) == ([], 0, 3)


def test_only_released_batches_are_evicted() -> None:
    cache = filled(batches=3, bytes_max=0, size=5000)
    sealed = cache.seal()
    assert sealed is not None
    assert cache.start_offset(7) == 0
    cache.release(sealed)
    assert (cache.start_offset(7), cache.end_offset(7)) == (3, 3)
    assert (cache.unreleased_bytes, cache.evicted_bytes) == (0, 15000)


def test_a_generation_tells_what_it_holds() -> None:
    cache = filled(batches=3)
    sealed = cache.seal()
    (stats,) = cache.sealed()
    assert (stats.id, stats.phase, stats.payload_bytes) == (sealed, "sealed", 300)
    assert (stats.record_count, stats.batch_count, stats.stream_count) == (3, 3, 1)
    assert cache.seal() is None
    assert [generation.phase for generation in cache.generations()] == ["sealed", "active"]


def test_a_search_by_time_gives_the_batch_to_look_into() -> None:
    found = filled(batches=5).find_timestamp(7, 25, 5)
    assert found is not None
    assert (found.base_offset, found.next_offset, found.max_timestamp) == (3, 4, 30)
    assert bytes(found.buf) == bytes(batch(3, timestamp=30))


def test_a_gap_is_a_mistake() -> None:
    cache = filled(batches=3)
    with pytest.raises(AssertionError, match="stream 7 ends at 3, the batch starts at 4"):
        cache.append(7, 4, 4, 0, batch(4))


def test_a_dropped_stream_is_gone() -> None:
    cache = filled(batches=3)
    cache.drop_stream(7)
    assert (cache.end_offset(7), cache.bytes, cache.stream_count) == (None, 0, 0)
