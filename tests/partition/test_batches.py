"""The native batch functions as Python sees them."""

import gzip

import pytest

from automq import _native as native

RULES = native.ProduceRules(batch_bytes_max=1 << 20)


def built(
    base_offset: int = 0,
    codec: str = "none",
    *,
    leader_epoch: int = -1,
    producer_id: int = -1,
    base_sequence: int = -1,
) -> native.Buf:
    return native.build_batch(
        [
            (100, b"a", b"one", [("h", b"1"), ("none", None)]),
            (90, None, b"two", []),
            (110, b"b", None, []),
        ],
        base_offset=base_offset,
        codec=codec,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=-1 if producer_id < 0 else 1,
        base_sequence=base_sequence,
    )


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_come_back_as_they_were_written(codec: str) -> None:
    records = native.read_records(built(7, codec))
    assert [(r.offset, r.timestamp, r.key, r.value) for r in records] == [
        (7, 100, b"a", b"one"),
        (8, 90, None, b"two"),
        (9, 110, b"b", None),
    ]
    assert records[0].headers == [("h", b"1"), ("none", None)]


def test_a_batch_shows_its_header() -> None:
    data = built(5, "lz4", leader_epoch=2, producer_id=9, base_sequence=2**31 - 2)
    (batch,) = native.batches(data)
    assert (batch.base_offset, batch.last_offset, batch.next_offset) == (5, 7, 8)
    assert (batch.codec, batch.timestamp_type, batch.record_count) == ("lz4", "CreateTime", 3)
    assert (batch.producer_id, batch.producer_epoch, batch.leader_epoch) == (9, 1, 2)
    assert (batch.base_sequence, batch.last_sequence) == (2**31 - 2, 0)
    assert (batch.base_timestamp, batch.max_timestamp, batch.size_bytes) == (100, 110, len(data))
    assert batch.records == data
    batch.check_crc()


def test_concatenated_batches_are_told_apart() -> None:
    both = bytes(built(0)) + bytes(built(3, "zstd"))
    assert [batch.base_offset for batch in native.batches(both)] == [0, 3]


def test_damage_says_where_it_is() -> None:
    with pytest.raises(native.CorruptBatch) as caught:
        native.batches(bytes(built()) + b"tail")
    assert caught.value.position == len(built())
    assert "4 bytes" in caught.value.why


def test_an_accepted_batch_is_the_memory_that_was_sent_and_is_stamped_there() -> None:
    sent = built()
    batch = native.check_produce(sent, RULES, 100, 9)
    native.stamp(batch.records, 1_000, 4)
    assert native.batches(sent)[0].base_offset == 1_000
    assert native.batches(sent)[0].leader_epoch == 4


def test_stamping_a_copy_leaves_the_original() -> None:
    sent = built()
    copy = native.stamp_copy(sent, 1_000, 4)
    assert native.batches(copy)[0].base_offset == 1_000
    assert native.batches(sent)[0].base_offset == 0


def test_a_refusal_names_the_error_and_the_records() -> None:
    compacted = native.ProduceRules(batch_bytes_max=1 << 20, compacted=True)
    with pytest.raises(native.BatchRefused) as caught:
        native.check_produce(built(), compacted, 100, 9)
    assert caught.value.error == "INVALID_RECORD"
    assert caught.value.record_errors == [(1, "Compacted topic cannot accept message without key")]


def test_the_topic_s_codec_and_time_are_applied() -> None:
    topic = native.ProduceRules(batch_bytes_max=1 << 20, codec="gzip", log_append_time=True)
    batch = native.check_produce(built(), topic, 777, 9)
    assert (batch.codec, batch.timestamp_type, batch.max_timestamp) == (
        "gzip",
        "LogAppendTime",
        777,
    )
    assert {record.timestamp for record in native.read_records(batch.records)} == {777}
    assert gzip.decompress(bytes(batch.records)[61:])


def test_an_unknown_codec_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="brotli"):
        native.ProduceRules(batch_bytes_max=1, codec="brotli")
    with pytest.raises(ValueError, match="needs a record"):
        native.build_batch([])


def test_recompressing_is_bounded() -> None:
    data = native.recompress(built(), "zstd", 19)
    assert native.batches(data)[0].codec == "zstd"
    with pytest.raises(native.BatchTooLarge):
        native.recompress(data, "none", bytes_max=5)


def test_restamping_gives_every_record_the_broker_s_time() -> None:
    data = native.restamp(built(codec="snappy"), 12345)
    native.batches(data)[0].check_crc()
    assert {record.timestamp for record in native.read_records(data)} == {12345}


def test_timestamps_lead_to_records() -> None:
    data = bytes(built(0, leader_epoch=3)) + bytes(built(3, "gzip", leader_epoch=3))
    assert native.find_timestamp(data, 105) == (2, 110, 3)
    assert native.find_timestamp(data, 105, start_offset=3) == (5, 110, 3)
    assert native.find_timestamp(data, 111) is None
    assert native.max_timestamp(data) == (2, 110, 3)


def test_markers_say_what_they_said() -> None:
    marker = native.build_marker(
        commit=True, coordinator_epoch=5, producer_id=1, producer_epoch=0, timestamp=50
    )
    assert native.parse_marker(marker) == (True, 5, 50)
    assert native.parse_marker(built()) is None


def test_the_last_record_of_each_key_is_gathered() -> None:
    last = native.LastByKey()
    last.add(built(0))
    last.add(built(3, "zstd"))
    assert len(last) == 2
    records, pending = last.take()
    assert [(r.offset, r.key, r.value) for r in records] == [(3, b"a", b"one"), (5, b"b", None)]
    assert (pending, len(last)) == ([], 0)


def test_a_digest_is_what_batches_do_to_producers() -> None:
    data = bytes(built(0, producer_id=4, base_sequence=0)) + bytes(built(3))
    (entry,) = native.decode_digest(native.digest_of(data))
    assert (entry.producer_id, entry.base_offset, entry.last_offset) == (4, 0, 2)
    assert (entry.base_sequence, entry.last_sequence) == (0, 2)
    assert not entry.is_transactional
    assert not entry.is_marker


def test_digests_of_neighbours_are_joined() -> None:
    parts = [native.digest_of(built(3 * n, producer_id=4, base_sequence=3 * n)) for n in range(9)]
    joined = native.decode_digest(native.join_digests(parts))
    assert [entry.base_offset for entry in joined] == [12, 15, 18, 21, 24]
