//! Reading what was built: records, timestamps, markers, the last of each key.

use automq_batch::{
    BatchHeader, BatchSpec, Codec, Digest, EndMarker, Found, LastByKey, MarkerKind, NewRecord,
    ReadError, Record, batches, build_batch, build_marker, digest_of, find_timestamp,
    max_timestamp, read_records, stamp_copy, stamp_in_place,
};
use bytes::Bytes;

fn record(timestamp: i64, key: &str, value: Option<&str>) -> NewRecord {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    NewRecord {
        timestamp,
        key: Some(bytes(key)),
        value: value.map(bytes),
        headers: vec![(bytes("name"), Some(bytes("content"))), (bytes("none"), None)],
    }
}

fn batch(base_offset: i64, codec: Codec, timestamps: &[i64]) -> Bytes {
    let records: Vec<_> = timestamps.iter().map(|ms| record(*ms, "k", Some("v"))).collect();
    let spec = BatchSpec { base_offset, codec, leader_epoch: 3, ..BatchSpec::default() };
    build_batch(&records, &spec).expect("a batch")
}

fn joined(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

fn found(offset: i64, timestamp: i64) -> Result<Option<Found>, ReadError> {
    Ok(Some(Found { offset, timestamp, leader_epoch: 3 }))
}

#[test]
fn reading_inverts_building() {
    for codec in Codec::ALL {
        let records = [record(50, "a", Some("x")), record(40, "b", None), record(60, "", Some(""))];
        let spec = BatchSpec { base_offset: 7, codec, ..BatchSpec::default() };
        let data = build_batch(&records, &spec).expect("a batch");
        let read = read_records(&data, 10_000).expect("records");
        assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [7, 8, 9]);
        for (wrote, read) in records.iter().zip(&read) {
            assert_eq!(wrote.timestamp, read.timestamp);
            assert_eq!((&wrote.key, &wrote.value), (&read.key, &read.value));
            assert_eq!(wrote.headers, read.headers);
        }
    }
}

#[test]
fn the_bound_is_on_all_that_is_unpacked() {
    let one = batch(0, Codec::Zstd, &[1; 100]);
    let size = read_records(&one, usize::MAX).map(|_| ()).and_then(|()| {
        let header = BatchHeader::parse(&one).map_err(ReadError::from)?;
        automq_batch::unpack_records(&header, &one, usize::MAX).map(|records| records.len())
    });
    let size = size.expect("a size");
    let two = joined(&[one.clone(), one]);
    assert!(read_records(&two, 2 * size).is_ok());
    let bytes_max = 2 * size - 1;
    assert_eq!(read_records(&two, bytes_max), Err(ReadError::TooLarge { bytes_max }));
}

#[test]
fn the_first_record_that_is_not_older_is_found() {
    for codec in Codec::ALL {
        let data = joined(&[batch(0, codec, &[10, 30, 20]), batch(3, codec, &[5, 40, 30])]);
        assert_eq!(find_timestamp(&data, 0, 0, 9_999), found(0, 10));
        assert_eq!(find_timestamp(&data, 15, 0, 9_999), found(1, 30));
        assert_eq!(find_timestamp(&data, 15, 2, 9_999), found(2, 20));
        assert_eq!(find_timestamp(&data, 31, 0, 9_999), found(4, 40));
        assert_eq!(find_timestamp(&data, 41, 0, 9_999), Ok(None));
    }
}

#[test]
fn the_newest_record_is_the_first_with_that_timestamp() {
    for codec in Codec::ALL {
        let data = joined(&[batch(0, codec, &[10, 40, 20]), batch(3, codec, &[5, 40, 30])]);
        assert_eq!(max_timestamp(&data, 9_999), found(1, 40));
    }
    assert_eq!(max_timestamp(&Bytes::new(), 9_999), Ok(None));
}

#[test]
fn stamping_leaves_the_crc_right() {
    let data = batch(0, Codec::Lz4, &[1, 2]);
    let copy = stamp_copy(&data, 1 << 40, 9);
    // SAFETY: `data` was built above, nobody else has it, and the allocator's memory is writable.
    unsafe { stamp_in_place(&data, 1 << 40, 9) };
    assert_eq!(copy, data);
    let header = BatchHeader::parse(&data).expect("a header");
    assert_eq!((header.base_offset, header.leader_epoch), (1 << 40, 9));
    assert!(header.check_crc(&data).is_ok());
}

fn transactional(base_offset: i64, producer_id: i64, key: &str, value: Option<&str>) -> Bytes {
    let spec =
        BatchSpec { base_offset, producer_id, is_transactional: true, ..BatchSpec::default() };
    build_batch(&[record(0, key, value)], &spec).expect("a batch")
}

fn marker(base_offset: i64, producer_id: i64, kind: MarkerKind) -> Bytes {
    let spec = BatchSpec { base_offset, producer_id, producer_epoch: 2, ..BatchSpec::default() };
    build_marker(kind, 11, 77, &spec).expect("a marker")
}

#[test]
fn markers_say_what_they_said() {
    let data = marker(4, 1, MarkerKind::Commit);
    let header = BatchHeader::parse(&data).expect("a header");
    let said = EndMarker { kind: MarkerKind::Commit, coordinator_epoch: 11, timestamp: 77 };
    assert_eq!(EndMarker::parse(&header, &data), Ok(Some(said)));
    assert!(header.is_control() && header.is_transactional());
}

fn plain(base_offset: i64, key: &str, value: Option<&str>) -> Bytes {
    let spec = BatchSpec { base_offset, codec: Codec::Gzip, ..BatchSpec::default() };
    build_batch(&[record(0, key, value)], &spec).expect("a batch")
}

fn said(records: &[Record]) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let one = |record: &Record| {
        let key = record.key.as_ref().map(text).unwrap_or_default();
        (record.offset, key, record.value.as_ref().map(text))
    };
    records.iter().map(one).collect()
}

#[test]
fn the_last_record_of_each_key_is_kept() {
    let data = joined(&[
        plain(0, "a", Some("1")),
        plain(1, "b", Some("1")),
        plain(2, "a", Some("2")),
        plain(3, "b", None),
    ]);
    let mut last = LastByKey::new();
    last.add(&data, 9_999).expect("batches");
    let (kept, pending) = last.finish();
    assert_eq!(said(&kept), [(2, "a".into(), Some("2".into())), (3, "b".into(), None)]);
    assert!(pending.is_empty());
}

#[test]
fn records_of_transactions_wait_for_their_marker() {
    let data = joined(&[
        plain(0, "a", Some("plain")),
        transactional(1, 1, "a", Some("committed")),
        transactional(2, 2, "a", Some("aborted")),
        transactional(3, 3, "a", Some("open")),
        transactional(4, 1, "b", Some("older")),
        plain(5, "b", Some("newer")),
        marker(6, 2, MarkerKind::Abort),
        marker(7, 1, MarkerKind::Commit),
    ]);
    let mut last = LastByKey::new();
    last.add(&data, 9_999).expect("batches");
    let (kept, pending) = last.finish();
    let expected =
        [(1, "a".into(), Some("committed".into())), (5, "b".into(), Some("newer".into()))];
    assert_eq!(said(&kept), expected);
    assert_eq!(said(&pending), [(3, "a".into(), Some("open".into()))]);
}

#[test]
fn plain_data_leaves_an_empty_digest() {
    let digest = digest_of(&joined(&[plain(0, "a", None), plain(1, "a", None)])).expect("a digest");
    assert!(digest.is_empty() && digest.encode().is_empty());
}

#[test]
fn a_digest_holds_batches_and_markers() {
    let data = joined(&[transactional(0, 1, "a", None), marker(1, 1, MarkerKind::Abort)]);
    let digest = digest_of(&data).expect("a digest");
    let entries: Vec<_> = digest.entries().collect();
    assert_eq!(entries[0].base_offset, 0);
    assert_eq!((entries[1].marker, entries[1].coordinator_epoch), (Some(MarkerKind::Abort), 11));
    assert_eq!(entries[1].max_timestamp, 77);
}

#[test]
fn trouble_is_reported_where_it_is() {
    let good = plain(0, "a", Some("x"));
    let mut bad = marker(1, 1, MarkerKind::Commit).to_vec();
    bad[61] = 0x7f; // the length of the record
    let data = joined(&[good.clone(), bad.into()]);
    let trouble = digest_of(&data).expect_err("damaged");
    assert_eq!(trouble.position, good.len() + 61);
    let Err(ReadError::Corrupt(trouble)) = read_records(&data, 9_999) else {
        panic!("damaged records were read");
    };
    assert_eq!(trouble.position, good.len() + 61);
}

#[test]
fn damaged_bytes_never_panic() {
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % below as u64) as usize
    };
    for codec in Codec::ALL {
        let parts = [
            batch(0, codec, &[10, 30, 20]),
            transactional(3, 1, "a", Some("x")),
            marker(4, 1, MarkerKind::Commit),
        ];
        let whole = joined(&parts);
        for _ in 0..3_000 {
            let mut damaged = whole.to_vec();
            for _ in 0..=draw(4) {
                let at = draw(damaged.len());
                damaged[at] = draw(256) as u8;
            }
            damaged.truncate(draw(damaged.len()) + 1);
            let damaged = Bytes::from(damaged);
            let _ = batches(&damaged).count();
            let _ = read_records(&damaged, 10_000);
            let _ = find_timestamp(&damaged, 15, 0, 10_000);
            let _ = max_timestamp(&damaged, 10_000);
            let _ = digest_of(&damaged).map(|digest: Digest| digest.encode());
            let _ = LastByKey::new().add(&damaged, 10_000);
        }
    }
}
