//! Disks that fail: what ends a WAL, what only makes it wait, and that nothing hangs.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use automq_wal::{Block, Disk, DiskFile, Error, Options, OsDisk, OwnerFile, Refused, Wal};
use support::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Switches of a disk that fails on demand.
#[derive(Default)]
struct Faults {
    sync: AtomicBool,
    write: AtomicBool,
    owner: AtomicBool,
    close: AtomicBool,
    rename: AtomicBool,
    sync_dir: AtomicBool,
    panics: AtomicBool,
    full: AtomicBool,
    short_writes: AtomicBool,
    syncs: AtomicU32,
    held: Mutex<bool>,
    released: Condvar,
}

impl Faults {
    fn check(&self, switch: &AtomicBool) -> io::Result<()> {
        if switch.load(SeqCst) { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    }

    /// Syncs take until `release`.
    fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }
}

struct Faulty(Arc<Faults>);
struct FaultyFile(Arc<Faults>, Box<dyn DiskFile>);
struct FaultyOwner(Arc<Faults>, Box<dyn OwnerFile>);

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile(Arc::clone(&self.0), OsDisk.create(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile(Arc::clone(&self.0), OsDisk.open(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check(&self.0.rename)?;
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.check(&self.0.sync_dir)?;
        OsDisk.sync_dir(path)
    }
    fn open_owner(&self, path: &Path) -> io::Result<Box<dyn OwnerFile>> {
        Ok(Box::new(FaultyOwner(Arc::clone(&self.0), OsDisk.open_owner(path)?)))
    }
}

impl OwnerFile for FaultyOwner {
    fn read(&self, block: &mut Block) -> io::Result<()> {
        self.0.check(&self.0.owner)?;
        self.1.read(block)
    }
    fn is_direct(&self) -> bool {
        self.1.is_direct()
    }
}

impl DiskFile for FaultyFile {
    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        if self.0.full.load(SeqCst) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        self.1.allocate(size_bytes)
    }
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        assert!(!self.0.panics.load(SeqCst), "a bug");
        assert!(pieces.len() <= 1024);
        self.0.check(&self.0.write)?;
        if self.0.short_writes.load(SeqCst) {
            let some = &pieces[0][..pieces[0].len().min(1000)];
            return self.1.write_at(&[IoSlice::new(some)], offset);
        }
        self.1.write_at(pieces, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.syncs.fetch_add(1, SeqCst);
        let held = self.0.held.lock().unwrap();
        drop(self.0.released.wait_while(held, |held| *held).unwrap());
        self.0.check(&self.0.sync)?;
        self.1.sync()
    }
    fn close(self: Box<Self>) -> io::Result<()> {
        self.0.check(&self.0.close)?;
        self.1.close()
    }
}

fn wal_on(dir: &Dir, options: Options) -> (Wal, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Box::new(Faulty(Arc::clone(&faults)));
    (Wal::create_on(dir.path(), options, disk).unwrap(), faults)
}

/// A WAL with one durable record, and then one more appended after the fault was switched on.
fn fails_with(switch: impl Fn(&Faults) -> &AtomicBool, second_bytes: usize) -> (Wal, Dir, u64) {
    fails_on(options(), switch, second_bytes)
}

fn fails_on(
    options: Options,
    switch: impl Fn(&Faults) -> &AtomicBool,
    second_bytes: usize,
) -> (Wal, Dir, u64) {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options);
    append(&wal, 0, 100);
    commit(&wal);
    let durable = wal.durable();
    switch(&faults).store(true, SeqCst);
    append(&wal, 1, second_bytes);
    wal.submit();
    wait_until(|| wal.ended());
    switch(&faults).store(false, SeqCst);
    (wal, dir, durable)
}

#[test]
fn a_failed_sync_ends_the_wal_for_good() {
    let (wal, dir, durable) = fails_with(|faults| &faults.sync, 100);
    let failure = wal.failure().unwrap();
    assert_eq!((failure.operation.as_ref(), failure.errno), ("fdatasync", Some(EIO)));
    assert_eq!(failure.path, dir.segments()[0]);
    assert_eq!(failure.position, durable + 168);
    // The disk works again; what it would answer now proves nothing about the lost pages.
    let refused = wal.append(1, 1, 2, 2, payload(2, 100));
    assert!(matches!(refused, Err(Refused::Failed(_))));
    wal.submit();
    assert_eq!(wal.durable(), durable);
    assert!(matches!(wal.close(true, SOON), Err(Error::Failed(_))));
    assert_eq!(wal.durable(), durable);
}

#[test]
fn a_failed_write_ends_the_wal() {
    let (wal, _dir, durable) = fails_with(|faults| &faults.write, 100);
    assert_eq!(wal.failure().unwrap().operation, "write");
    assert_eq!(wal.durable(), durable);
}

#[test]
fn an_owner_block_that_cannot_be_read_ends_the_wal_before_anything_is_acknowledged() {
    let shared = Options { shared: Some(true), ..options() };
    let (wal, _dir, durable) = fails_on(shared, |faults| &faults.owner, 100);
    assert_eq!(wal.failure().unwrap().operation, "owner check");
    assert_eq!(wal.durable(), durable);
}

#[test]
fn a_failed_close_of_a_segment_ends_the_wal() {
    let (wal, _dir, durable) = fails_with(|faults| &faults.close, SEGMENT as usize);
    assert_eq!(wal.failure().unwrap().operation, "close");
    assert_eq!(wal.durable(), durable);
}

#[test]
fn a_failed_rename_or_directory_sync_ends_the_wal() {
    let (wal, _dir, durable) = fails_with(|faults| &faults.rename, SEGMENT as usize);
    assert_eq!((wal.durable(), wal.failure().is_some()), (durable, true));
    let (wal, _dir, durable) = fails_with(|faults| &faults.sync_dir, SEGMENT as usize);
    assert_eq!((wal.durable(), wal.failure().is_some()), (durable, true));
}

#[test]
fn a_panic_of_the_thread_is_a_failure_and_not_silence() {
    let (wal, _dir, durable) = fails_with(|faults| &faults.panics, 100);
    assert!(wal.failure().unwrap().message.contains("panic"));
    assert_eq!(wal.durable(), durable);
}

#[test]
fn what_was_durable_before_a_failure_is_recovered() {
    let (wal, dir, durable) = fails_with(|faults| &faults.sync, 100);
    drop(wal);
    let (records, _) = recover(dir.path(), 0).unwrap();
    assert_eq!(records[0].end_position, durable);
}

#[test]
fn short_writes_are_continued() {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options());
    faults.short_writes.store(true, SeqCst);
    for number in 0..40 {
        append(&wal, number, 3000 + 100 * number as usize);
    }
    commit(&wal);
    crash(&wal);
    let (records, _) = recover(dir.path(), 0).unwrap();
    assert_eq!(records.len(), 40);
    assert_eq!(records[39].payload, payload(39, 6900));
}

#[test]
fn more_pieces_than_one_call_takes_are_written() {
    let dir = Dir::new();
    let (wal, _faults) = wal_on(
        &dir,
        Options {
            segment_bytes: 16 << 20,
            capacity_bytes: 64 << 20,
            inflight_bytes_max: 64 << 20,
            ..options()
        },
    );
    for number in 0..1500 {
        append(&wal, number, 4096);
    }
    commit(&wal);
    crash(&wal);
    let (records, _) = recover(dir.path(), 0).unwrap();
    assert_eq!(numbers(&records), (0..1500).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_makes_appends_wait_until_there_is_room() {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options());
    append(&wal, 0, 100);
    commit(&wal);
    let durable = wal.durable();
    faults.full.store(true, SeqCst);
    append(&wal, 1, SEGMENT as usize);
    wal.submit();
    wait_until(|| wal.full().is_some());
    let full = wal.full().unwrap();
    assert!(full.needed_bytes > SEGMENT && full.path == dir.path().join("1"), "{full:?}");
    assert_eq!((wal.durable(), wal.failure()), (durable, None));
    append(&wal, 2, 100);
    wal.submit();
    faults.full.store(false, SeqCst);
    wait_until(|| wal.durable() == wal.end());
    assert_eq!(wal.full(), None);
    crash(&wal);
    assert_eq!(numbers(&recover(dir.path(), 0).unwrap().0), [0, 1, 2]);
}

#[test]
fn a_full_disk_is_left_by_a_trim() {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options());
    let first = append(&wal, 0, 50_000);
    let second = append(&wal, 1, 50_000);
    commit(&wal);
    faults.full.store(true, SeqCst);
    append(&wal, 2, 50_000);
    wal.submit();
    wait_until(|| wal.full().is_some());
    // The first segment goes, is kept as a spare, and the third record finds it.
    wal.trim(first).unwrap();
    wait_until(|| wal.durable() == wal.end());
    assert_eq!(wal.stats().segments_recycled, 1);
    crash(&wal);
    let (records, _) = recover(dir.path(), first).unwrap();
    assert_eq!(numbers(&records), [1, 2]);
    assert_eq!(records[0].end_position, second);
}

#[test]
fn a_wal_on_a_full_disk_can_be_closed() {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options());
    faults.full.store(true, SeqCst);
    append(&wal, 0, 100);
    wal.submit();
    wait_until(|| wal.full().is_some());
    match wal.close(true, SOON) {
        Err(Error::Failed(failure)) => assert_eq!(failure.errno, Some(ENOSPC)),
        other => panic!("not everything was written, but the close says {other:?}"),
    }
}

#[test]
fn what_gathers_during_a_sync_shares_the_next_one() {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options());
    append(&wal, 0, 100);
    commit(&wal);
    faults.hold();
    append(&wal, 1, 100);
    wal.submit();
    let before = faults.syncs.load(SeqCst);
    wait_until(|| faults.syncs.load(SeqCst) > before || wal.stats().commits > 1 || before > 2);
    for number in 2..100 {
        append(&wal, number, 100);
        wal.submit();
    }
    faults.release();
    wait_until(|| wal.durable() == wal.end());
    assert!(wal.stats().commits <= 4, "{:?}", wal.stats());
}

#[test]
fn a_disk_that_does_not_answer_blocks_neither_close_nor_drop() {
    let dir = Dir::new();
    let (wal, faults) = wal_on(&dir, options());
    faults.hold();
    append(&wal, 0, 100);
    wal.submit();
    wait_until(|| faults.syncs.load(SeqCst) > 0);
    let closed = wal.close(false, Duration::from_millis(20));
    assert!(matches!(closed, Err(Error::TimedOut { .. })));
    drop(wal);
    faults.release();
}

#[test]
fn a_real_file_system_that_is_full_only_makes_it_wait() {
    let dir = Dir::new();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"])
        .arg(dir.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: may not mount a tmpfs here");
        return;
    }
    let wal = Wal::create(dir.path(), options()).unwrap();
    let filler = dir.path().join("filler");
    std::fs::write(&filler, vec![1; 200 * 1024]).unwrap();
    let mut ends = Vec::new();
    for number in 0..4 {
        ends.push(append(&wal, number, 50_000));
        wal.submit();
    }
    wait_until(|| wal.full().is_some());
    let durable = wal.durable();
    assert!(durable < ends[3] && wal.failure().is_none());
    std::fs::remove_file(&filler).unwrap();
    wait_until(|| wal.durable() == ends[3]);
    crash(&wal);
    let read = recover(dir.path(), 0);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(dir.path()).output();
    assert!(unmounted.unwrap().status.success());
    assert_eq!(numbers(&read.unwrap().0), [0, 1, 2, 3]);
}
