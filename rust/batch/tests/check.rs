//! What `check_produce` accepts and refuses, and with which of Kafka's errors.

use automq_batch::{
    BatchHeader, BatchSpec, Codec, ErrorCode, NewRecord, ProduceRules, Refused, TimestampType,
    build_batch, build_marker, check_produce, crc32c, read_records,
};
use automq_batch::{MarkerKind, recompress};
use bytes::Bytes;

const NOW: i64 = 1_000_000;

fn rules() -> ProduceRules {
    ProduceRules {
        batch_bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        compacted: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        log_append_time: false,
        codec: None,
        level: None,
        unpacked_bytes_max: 1 << 24,
    }
}

fn record(timestamp: i64, key: Option<&'static str>) -> NewRecord {
    NewRecord {
        timestamp,
        key: key.map(Bytes::from),
        value: Some(Bytes::from_static(b"some value of some length")),
        headers: vec![(Bytes::from_static(b"h"), None)],
    }
}

fn three(codec: Codec) -> Bytes {
    let records = [record(NOW, Some("a")), record(NOW + 5, None), record(NOW - 5, Some("c"))];
    build_batch(&records, &BatchSpec { codec, ..BatchSpec::default() }).expect("a batch")
}

fn check(batch: &Bytes, rules: &ProduceRules) -> Result<(BatchHeader, Bytes), Refused> {
    check_produce(batch, rules, NOW, 9)
}

fn code(batch: &Bytes, rules: &ProduceRules) -> ErrorCode {
    check(batch, rules).expect_err("refused").code
}

/// `batch` with some bytes replaced and the CRC made right again.
fn patched(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut copy = batch.to_vec();
    copy[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&copy[21..]);
    copy[17..21].copy_from_slice(&crc.to_be_bytes());
    copy.into()
}

#[test]
fn what_was_sent_is_stored_as_it_is() {
    for codec in Codec::ALL {
        let batch = three(codec);
        let (header, stored) = check(&batch, &rules()).expect("accepted");
        assert_eq!(stored.as_ptr(), batch.as_ptr(), "{codec:?} was copied");
        assert_eq!((header.record_count, header.max_timestamp), (3, NOW + 5));
    }
}

#[test]
fn nothing_and_pieces_are_no_batch() {
    let batch = three(Codec::None);
    for end in 0..batch.len() {
        assert_eq!(code(&batch.slice(..end), &rules()), ErrorCode::InvalidRecord, "{end} bytes");
    }
}

#[test]
fn two_batches_are_one_too_many() {
    let batch = three(Codec::None);
    let two = Bytes::from([batch.as_ref(), batch.as_ref()].concat());
    assert_eq!(code(&two, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn older_formats_are_invalid_and_unknown_ones_corrupt() {
    let batch = three(Codec::None);
    for magic in [0, 1] {
        assert_eq!(code(&patched(&batch, 16, &[magic]), &rules()), ErrorCode::InvalidRecord);
    }
    for magic in [3, 255] {
        assert_eq!(code(&patched(&batch, 16, &[magic]), &rules()), ErrorCode::CorruptMessage);
    }
}

#[test]
fn any_flipped_bit_behind_the_crc_is_found() {
    let batch = three(Codec::None);
    for at in 17..batch.len() {
        let mut damaged = batch.to_vec();
        damaged[at] ^= 0x10;
        assert_eq!(code(&damaged.into(), &rules()), ErrorCode::CorruptMessage, "byte {at}");
    }
}

#[test]
fn counts_and_offsets_must_agree() {
    let batch = three(Codec::None);
    let count = |count: i32, delta: i32| {
        let one = patched(&batch, 57, &count.to_be_bytes());
        code(&patched(&one, 23, &delta.to_be_bytes()), &rules())
    };
    for (records, delta) in
        [(2, 2), (3, 1), (0, -1), (-1, -2), (i32::MAX, i32::MAX - 1), (2, 1), (4, 3)]
    {
        assert_eq!(count(records, delta), ErrorCode::InvalidRecord, "{records}, {delta}");
    }
}

#[test]
fn offsets_are_ours_to_give() {
    let batch = patched(&three(Codec::None), 0, &7i64.to_be_bytes());
    assert_eq!(code(&batch, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn a_wrong_offset_inside_is_refused() {
    // given a batch whose only record says that it is the third
    let good = build_batch(&[record(NOW, None)], &BatchSpec::default()).expect("a batch");
    let bad = patched(&good, 64, &[4]); // 61 length, 62 attributes, 63 timestamp, 64 offset
    assert_eq!(code(&bad, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn clients_write_no_control_batches() {
    let spec = BatchSpec { producer_id: 1, producer_epoch: 0, ..BatchSpec::default() };
    let marker = build_marker(MarkerKind::Commit, 0, NOW, &spec).expect("a marker");
    assert_eq!(code(&marker, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn a_producer_id_needs_a_sequence() {
    let spec = BatchSpec { producer_id: 1, producer_epoch: 0, ..BatchSpec::default() };
    let batch = build_batch(&[record(NOW, None)], &spec).expect("a batch");
    assert_eq!(code(&batch, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn large_batches_are_refused_before_their_crc_is_read() {
    let mut damaged = three(Codec::None).to_vec();
    damaged[60] ^= 1;
    let small = ProduceRules { batch_bytes_max: 100, ..rules() };
    assert_eq!(code(&damaged.into(), &small), ErrorCode::RecordTooLarge);
    let segment = ProduceRules { segment_bytes: 100, ..rules() };
    assert_eq!(code(&three(Codec::None), &segment), ErrorCode::RecordListTooLarge);
}

#[test]
fn zstd_needs_version_7() {
    let batch = three(Codec::Zstd);
    let refused = check_produce(&batch, &rules(), NOW, 6).expect_err("refused");
    assert_eq!(refused.code, ErrorCode::UnsupportedCompressionType);
    assert!(check_produce(&batch, &rules(), NOW, 7).is_ok());
}

#[test]
fn unknown_codecs_are_refused() {
    let batch = patched(&three(Codec::None), 21, &[0, 5]);
    assert_eq!(code(&batch, &rules()), ErrorCode::UnsupportedCompressionType);
}

#[test]
fn compacted_topics_name_the_records_without_a_key() {
    let compacted = ProduceRules { compacted: true, ..rules() };
    for codec in Codec::ALL {
        let refused = check(&three(codec), &compacted).expect_err("refused");
        assert_eq!(refused.code, ErrorCode::InvalidRecord);
        assert_eq!(refused.record_errors.iter().map(|error| error.0).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn records_from_the_future_are_named() {
    let strict = ProduceRules { timestamp_after_max_ms: 4, ..rules() };
    for codec in Codec::ALL {
        let refused = check(&three(codec), &strict).expect_err("refused");
        assert_eq!(refused.code, ErrorCode::InvalidTimestamp);
        assert_eq!(refused.record_errors.iter().map(|error| error.0).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn records_from_the_past_are_named() {
    let strict = ProduceRules { timestamp_before_max_ms: 4, ..rules() };
    for codec in Codec::ALL {
        let refused = check(&three(codec), &strict).expect_err("refused");
        assert_eq!(refused.code, ErrorCode::InvalidTimestamp);
        assert_eq!(refused.record_errors.iter().map(|error| error.0).collect::<Vec<_>>(), [2]);
    }
}

#[test]
fn a_record_without_a_timestamp_is_always_in_time() {
    let strict = ProduceRules { timestamp_before_max_ms: 0, timestamp_after_max_ms: 0, ..rules() };
    let batch = build_batch(&[record(-1, None)], &BatchSpec::default()).expect("a batch");
    assert!(check(&batch, &strict).is_ok());
}

#[test]
fn log_append_time_is_for_brokers() {
    let spec = BatchSpec { log_append_time: Some(NOW), ..BatchSpec::default() };
    let batch = build_batch(&[record(NOW, None)], &spec).expect("a batch");
    assert_eq!(code(&batch, &rules()), ErrorCode::InvalidTimestamp);
}

#[test]
fn log_append_time_replaces_what_was_sent() {
    let topic = ProduceRules { log_append_time: true, timestamp_after_max_ms: 0, ..rules() };
    for codec in Codec::ALL {
        let (header, stored) = check(&three(codec), &topic).expect("accepted");
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert!(header.check_crc(&stored).is_ok());
        let records = read_records(&stored, 1 << 20).expect("records");
        assert!(records.iter().all(|record| record.timestamp == NOW));
    }
}

#[test]
fn the_topic_s_codec_is_applied() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let topic = ProduceRules { codec: Some(to), ..rules() };
            let (header, stored) = check(&three(from), &topic).expect("accepted");
            assert_eq!(header.codec(), Some(to));
            assert_eq!(header, BatchHeader::parse(&stored).expect("a header"));
            assert!(header.check_crc(&stored).is_ok());
            let (sent, got) = (read_records(&three(from), 9_999), read_records(&stored, 9_999));
            assert_eq!(sent, got, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_header_that_claims_too_new_a_timestamp_is_corrected() {
    let batch = patched(&three(Codec::Gzip), 35, &i64::MAX.to_be_bytes());
    let (header, stored) = check(&batch, &rules()).expect("accepted");
    assert_eq!(header.max_timestamp, NOW + 5);
    assert!(header.check_crc(&stored).is_ok());
}

#[test]
fn a_batch_that_unpacks_to_too_much_is_too_large() {
    let topic = ProduceRules { compacted: true, unpacked_bytes_max: 50, ..rules() };
    assert_eq!(code(&three(Codec::Zstd), &topic), ErrorCode::RecordTooLarge);
}

#[test]
fn recompressing_keeps_the_records() {
    let batch = three(Codec::Gzip);
    let header = BatchHeader::parse(&batch).expect("a header");
    let other = recompress(&header, &batch, Codec::Lz4, None, 9_999).expect("recompressed");
    assert_eq!(read_records(&batch, 9_999), read_records(&other, 9_999));
    assert!(recompress(&header, &batch, Codec::Lz4, None, 10).is_err());
}

#[test]
fn damaged_records_with_a_right_crc_never_panic() {
    let strict = ProduceRules { compacted: true, codec: Some(Codec::Lz4), ..rules() };
    for codec in Codec::ALL {
        let batch = three(codec);
        for at in 21..batch.len() {
            for byte in [0x00, 0x7f, 0x80, 0xff, batch[at] ^ 1] {
                let damaged = patched(&batch, at, &[byte]);
                let _ = check(&damaged, &strict);
                let _ = check(&damaged, &rules());
            }
        }
    }
}
