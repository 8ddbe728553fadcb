//! Two machines and one directory: a WAL is taken over while its writer may be alive.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use automq_wal::{Error, Options, OwnerReads, Record, Recovery, Taker, Wal, remove};
use support::*;

const SECOND: Taker = Taker { node_id: 2, node_epoch: 40 };
const THIRD: Taker = Taker { node_id: 3, node_epoch: 41 };

fn shared() -> Options {
    Options { shared: Some(true), ..options() }
}

fn take(dir: &Dir, taker: Taker) -> Result<Recovery, Error> {
    Recovery::open(dir.path(), 1, Some(CLUSTER), 0, 16 * 1024, Some(taker))
}

fn rest(mut recovery: Recovery) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(chunk) = recovery.next_chunk().unwrap() {
        records.extend(chunk);
    }
    records
}

/// What a writer that is still there says of its next group.
fn next_group(wal: &Wal, number: i64) -> String {
    append(wal, number, 100);
    wal.submit();
    wait_until(|| wal.ended());
    wal.failure().unwrap().to_string()
}

#[test]
fn a_live_writer_acknowledges_nothing_more_once_its_wal_is_taken_over() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), shared()).unwrap();
    assert_eq!(wal.owner_reads(), Some(OwnerReads::Direct));
    append(&wal, 0, 100);
    commit(&wal);
    let durable = wal.durable();

    let taken = take(&dir, SECOND).unwrap();
    let said = next_group(&wal, 1);

    assert!(said.contains("node 2 has taken this log over"), "{said}");
    assert_eq!(wal.durable(), durable);
    assert!(matches!(wal.close(true, SOON), Err(Error::Failed(_))));
    assert_eq!(numbers(&rest(taken))[0], 0);
}

#[test]
fn all_that_was_ever_acknowledged_is_read_by_a_taker_that_comes_at_any_moment() {
    for round in 0..40 {
        let dir = Dir::new();
        let wal = Wal::create(dir.path(), shared()).unwrap();
        let told = AtomicU64::new(0);
        let records = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !wal.ended() {
                    let bytes = (number % 7) as usize * 1_500;
                    if wal.append(1, 1, number, number, payload(number, bytes)).is_ok() {
                        number += 1;
                    }
                    wal.submit();
                    told.store(wal.durable(), SeqCst);
                }
            });
            wait_until(|| told.load(SeqCst) > 0);
            std::thread::sleep(Duration::from_micros(round * 311));
            rest(take(&dir, SECOND).unwrap())
        });
        let end = records.last().unwrap().end_position;
        assert!(end >= wal.durable(), "{end} is below {}, told durable", wal.durable());
        for (number, record) in records.iter().enumerate() {
            assert_eq!(record.payload, payload(number as i64, record.payload.len()));
        }
    }
}

#[test]
fn a_second_taker_reads_the_same_while_the_first_still_holds_what_it_holds() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), shared()).unwrap();
    append(&wal, 0, 100);
    commit(&wal);
    let first = take(&dir, SECOND).unwrap();
    let second = take(&dir, THIRD).unwrap();
    assert_eq!(numbers(&rest(second)), numbers(&rest(first)));
    assert!(next_group(&wal, 1).contains("node 3 has taken this log over"));
}

#[test]
fn half_a_takers_block_stops_the_writer_and_no_later_taker() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), shared()).unwrap();
    append(&wal, 0, 100);
    commit(&wal);
    let block = dir.path().join("1/owner");
    let mut torn = fs::read(&block).unwrap();
    torn[..512].fill(0xA5);
    let file = fs::OpenOptions::new().write(true).open(&block).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &torn, 0).unwrap();
    assert!(next_group(&wal, 1).contains("the owner block is not this node's any more"));
    assert_eq!(numbers(&rest(take(&dir, THIRD).unwrap()))[0], 0);
}

#[test]
fn another_clusters_wal_is_refused_and_its_writer_goes_on() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), shared()).unwrap();
    let stranger = Recovery::open(dir.path(), 1, Some([9; 16]), 0, 4096, Some(SECOND));
    assert!(matches!(stranger, Err(Error::Foreign { .. })));
    append(&wal, 0, 100);
    commit(&wal);
    wal.close(true, SOON).unwrap();
}

#[test]
fn without_an_owner_block_the_lock_of_a_writer_keeps_takers_out() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), options()).unwrap();
    assert_eq!(wal.owner_reads(), None);
    append(&wal, 0, 100);
    commit(&wal);
    assert!(matches!(take(&dir, SECOND), Err(Error::Locked { .. })));
    append(&wal, 1, 100);
    commit(&wal);
    crash(&wal);
    assert_eq!(numbers(&rest(take(&dir, SECOND).unwrap())), [0, 1]);
}

#[test]
fn a_wal_that_was_taken_is_removed_under_its_writer_which_then_acknowledges_nothing() {
    let dir = Dir::new();
    let wal = Wal::create(dir.path(), shared()).unwrap();
    append(&wal, 0, 100);
    commit(&wal);
    assert!(matches!(remove(dir.path(), 1), Err(Error::Locked { .. })));
    drop(rest(take(&dir, SECOND).unwrap()));

    assert!(remove(dir.path(), 1).unwrap());

    let durable = wal.durable();
    assert!(next_group(&wal, 1).contains("node 2 has taken this log over"));
    assert_eq!(wal.durable(), durable);
    assert!(!dir.path().join("1").exists());
}

#[test]
fn an_id_whose_owner_block_is_there_was_used() {
    let dir = Dir::new();
    drop(Wal::create(dir.path(), shared()).unwrap());
    wait_until(|| !matches!(Wal::create(dir.path(), shared()), Err(Error::Locked { .. })));
    assert!(matches!(Wal::create(dir.path(), shared()), Err(Error::Used { .. })));
}
