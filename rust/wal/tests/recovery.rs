//! Recovery: what it hands out, what it calls the end, and what it calls damage.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use automq_wal::{
    Checked, Error, HEADER_BYTES, Options, Recovery, SEGMENT_HEADER_BYTES, Wal, owner_of,
    record_bytes,
};
use support::*;

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

fn zero(path: &Path, offset: u64, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; bytes as usize], offset).unwrap();
}

/// `groups` of three records of 100 bytes each, then a crash.
fn three_by_three(dir: &Dir, groups: i64) {
    let wal = Wal::create(dir.path(), options()).unwrap();
    for group in 0..groups {
        for number in 0..3 {
            append(&wal, group * 3 + number, 100);
        }
        commit(&wal);
    }
    crash(&wal);
}

const RECORD: u64 = 168;

#[test]
fn a_wal_says_whose_it_is_once_something_was_written() {
    let dir = Dir::new();
    assert_eq!(owner_of(dir.path(), 1).unwrap(), None);
    let wal = Wal::create(dir.path(), options()).unwrap();
    assert_eq!(owner_of(dir.path(), 1).unwrap(), None);
    append(&wal, 0, 100);
    commit(&wal);
    assert_eq!(owner_of(dir.path(), 1).unwrap(), Some((options().cluster_id, options().node_id)));
    crash(&wal);
    assert_eq!(owner_of(dir.path(), 1).unwrap(), Some((options().cluster_id, options().node_id)));
}

#[test]
fn records_of_all_sizes_are_read_back_in_chunks_of_all_sizes() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    let mut chance = Chance(11);
    let sizes = (0..300).map(|_| match chance.below(20) {
        0 => chance.below(3 * SEGMENT) as usize,
        1..4 => chance.below(9000) as usize,
        _ => chance.below(200) as usize,
    });
    let sizes = sizes.collect::<Vec<_>>();
    for (number, size) in sizes.iter().enumerate() {
        append(&wal, number as i64, *size);
        if number % 7 == 0 {
            commit(&wal);
        }
    }
    commit(&wal);
    let end = wal.end();
    crash(&wal);
    for chunk_bytes in [1, 5000, 1 << 16, 1 << 22] {
        let (records, found) = recover_in(dir.path(), 0, chunk_bytes).unwrap();
        assert_eq!(records.len(), sizes.len());
        for (number, record) in records.iter().enumerate() {
            assert_eq!(record.base_offset, number as i64);
            assert_eq!(record.payload, payload(number as i64, sizes[number]));
        }
        assert_eq!(found.position, end);
    }
}

#[test]
fn recovery_from_every_record_boundary_hands_out_the_rest() {
    let dir = Dir::new();
    three_by_three(&dir, 3);
    for number in 0..=9 {
        let (records, _) = recover(dir.path(), number * RECORD).unwrap();
        assert_eq!(numbers(&records), (number as i64..9).collect::<Vec<_>>());
    }
}

#[test]
fn a_flipped_bit_below_the_synced_position_is_damage_with_file_and_position() {
    let dir = Dir::new();
    three_by_three(&dir, 3);
    let path = dir.segments()[0].clone();
    // Magic, checksum, position, synced, stream, length, kind, payload: of every record but the
    // last group's, whose only witness would be a later group.
    for number in 0..6 {
        for at in [0, 4, 9, 17, 25, 52, 55, 56, HEADER_BYTES as u64 + 50] {
            let offset = SEGMENT_HEADER_BYTES + number * RECORD + at;
            flip(&path, offset);
            match recover(dir.path(), 0) {
                Err(Error::Damaged { path: named, position, .. }) => {
                    assert_eq!((named, position), (path.clone(), number * RECORD));
                }
                other => panic!("record {number}, byte {at}: {other:?}"),
            }
            flip(&path, offset);
        }
    }
    assert_eq!(recover(dir.path(), 0).unwrap().0.len(), 9);
}

#[test]
fn damage_says_what_to_do() {
    let dir = Dir::new();
    three_by_three(&dir, 2);
    flip(&dir.segments()[0], SEGMENT_HEADER_BYTES + 70);
    let text = recover(dir.path(), 0).unwrap_err().to_string();
    assert!(text.contains("00000000000000000000.wal is damaged at position 0"), "{text}");
    assert!(text.contains("keep the directory"), "{text}");
}

#[test]
fn records_before_the_damage_are_handed_out_first() {
    let dir = Dir::new();
    three_by_three(&dir, 3);
    flip(&dir.segments()[0], SEGMENT_HEADER_BYTES + 4 * RECORD + 70);
    let mut recovery = Recovery::open(dir.path(), 1, None, 0, 1 << 20, None).unwrap();
    assert_eq!(numbers(&recovery.next_chunk().unwrap().unwrap()), [0, 1, 2, 3]);
    assert!(matches!(recovery.next_chunk(), Err(Error::Damaged { .. })));
}

#[test]
fn a_group_torn_in_the_middle_is_the_normal_end() {
    let dir = Dir::new();
    three_by_three(&dir, 3);
    // The last group lost its second record; the third is there.
    zero(&dir.segments()[0], SEGMENT_HEADER_BYTES + 7 * RECORD, RECORD);
    let (records, end) = recover(dir.path(), 0).unwrap();
    assert_eq!(numbers(&records), (0..7).collect::<Vec<_>>());
    assert_eq!((end.position, end.clean, end.torn), (7 * RECORD, false, true));
}

#[test]
fn the_same_hole_in_an_earlier_group_is_damage() {
    let dir = Dir::new();
    three_by_three(&dir, 3);
    zero(&dir.segments()[0], SEGMENT_HEADER_BYTES + 4 * RECORD, RECORD);
    assert!(matches!(recover(dir.path(), 0), Err(Error::Damaged { .. })));
}

#[test]
fn the_end_marker_of_a_clean_close_witnesses_the_last_group() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    append(&wal, 0, 100);
    wal.close(true, SOON).unwrap();
    assert!(recover(dir.path(), 0).unwrap().1.clean);
    flip(&dir.segments()[0], SEGMENT_HEADER_BYTES + 70);
    assert!(matches!(recover(dir.path(), 0), Err(Error::Damaged { position: 0, .. })));
}

#[test]
fn a_torn_end_marker_is_an_unclean_end() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    append(&wal, 0, 100);
    wal.close(true, SOON).unwrap();
    flip(&dir.segments()[0], SEGMENT_HEADER_BYTES + RECORD + 20);
    let (records, end) = recover(dir.path(), 0).unwrap();
    assert_eq!((records.len(), end.clean), (1, false));
}

#[test]
fn old_records_of_a_recycled_segment_never_appear() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    let mut ends = vec![0];
    for number in 0..200 {
        ends.push(append(&wal, number, 2000));
        commit(&wal);
        wal.trim(ends[(number as usize).saturating_sub(2)]).unwrap();
    }
    let stats = wal.stats();
    assert!(stats.segments_recycled > 2, "{stats:?}");
    crash(&wal);
    let last = dir.segments().pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let magics = bytes[SEGMENT_HEADER_BYTES as usize..].chunks(record_bytes(2000) as usize);
    let in_file = magics.filter(|record| record.starts_with(b"AQW1")).count();
    let (records, end) = recover(dir.path(), ends[197]).unwrap();
    assert_eq!(numbers(&records), [197, 198, 199]);
    assert_eq!((end.position, end.torn), (ends[200], false));
    assert!(in_file > 20, "the file no longer holds its earlier life: the test proves nothing");
}

#[test]
fn a_segment_that_is_missing_or_cut_in_the_middle_is_damage() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    for number in 0..100 {
        append(&wal, number, 2000);
    }
    commit(&wal);
    crash(&wal);
    let paths = dir.segments();
    assert!(paths.len() >= 3);
    let whole = fs::read(&paths[1]).unwrap();
    fs::write(&paths[1], &whole[..SEGMENT_HEADER_BYTES as usize + 5000]).unwrap();
    assert!(matches!(recover(dir.path(), 0), Err(Error::Damaged { .. })));
    fs::remove_file(&paths[1]).unwrap();
    assert!(matches!(recover(dir.path(), 0), Err(Error::Damaged { .. })));
    fs::remove_file(&paths[0]).unwrap();
    assert!(matches!(recover(dir.path(), 0), Err(Error::Damaged { position: 0, .. })));
}

#[test]
fn a_damaged_segment_header_is_damage() {
    let dir = Dir::new();
    three_by_three(&dir, 1);
    flip(&dir.segments()[0], 20);
    assert!(matches!(recover(dir.path(), 0), Err(Error::Damaged { .. })));
}

#[test]
fn files_of_another_wal_or_cluster_are_refused() {
    let dir = Dir::new();
    three_by_three(&dir, 1);
    let stranger = Recovery::open(dir.path(), 1, Some([9; 16]), 0, 4096, None);
    assert!(matches!(stranger, Err(Error::Foreign { .. })));
    fs::rename(dir.path().join("1"), dir.path().join("2")).unwrap();
    let renamed = Recovery::open(dir.path(), 2, Some(CLUSTER), 0, 4096, None);
    assert!(matches!(renamed, Err(Error::Foreign { .. })));
}

#[test]
fn a_missing_wal_and_an_empty_one_are_told_apart() {
    let dir = Dir::new();
    assert!(matches!(recover(dir.path(), 0), Err(Error::Missing { .. })));
    crash(&Wal::create(dir.path(), options()).unwrap());
    assert_eq!(recover(dir.path(), 0).unwrap().1.position, 0);
    assert!(matches!(recover(dir.path(), 64), Err(Error::Damaged { position: 64, .. })));
}

#[test]
fn a_start_at_the_very_end_of_the_last_segment_is_an_empty_rest() {
    let dir = Dir::new();
    three_by_three(&dir, 1);
    let (records, end) = recover(dir.path(), 3 * RECORD).unwrap();
    assert_eq!((records.len(), end.position), (0, 3 * RECORD));
}

#[test]
fn impossible_options_are_refused_before_anything_is_created() {
    let dir = Dir::new();
    for wrong in [
        Options { segment_bytes: 65_537, ..options() },
        Options { segment_bytes: 4096, ..options() },
        Options { capacity_bytes: SEGMENT, ..options() },
        Options { inflight_bytes_max: 0, ..options() },
        Options { wal_id: -1, ..options() },
    ] {
        assert!(matches!(Wal::create(dir.path(), wrong), Err(Error::Invalid(_))));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_lock_names_its_holder() {
    let dir = Dir::new();
    let _wal = Wal::create(dir.path(), options()).unwrap();
    let text = recover(dir.path(), 0).unwrap_err().to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
}

#[test]
fn a_payload_that_was_checked_before_is_recovered_and_its_damage_found() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    for (number, bytes) in [(0, 5_000), (1, 20_000), (2, 100)] {
        let payload = payload(number, bytes);
        let checked = Checked { from: 21, crc: automq_crc::crc32c(&payload[21..]) };
        wal.append_checked(1, 1, number, number, payload, Some(checked)).unwrap();
    }
    commit(&wal);
    crash(&wal);
    let (records, _) = recover(dir.path(), 0).unwrap();
    let sizes: Vec<usize> = records.iter().map(|record| record.payload.len()).collect();
    assert_eq!(sizes, [5_000, 20_000, 100]);
    assert_eq!(records[1].payload, payload(1, 20_000));
    let second = SEGMENT_HEADER_BYTES + record_bytes(5_000);
    flip(&dir.segments()[0], second + HEADER_BYTES as u64 + 7_000);
    let kept = recover(dir.path(), 0).map(|(records, _)| records.len());
    assert!(!matches!(kept, Ok(2..)), "the damaged one is not handed out");
}
