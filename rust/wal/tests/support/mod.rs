//! What the tests of this crate share.
#![allow(dead_code, reason = "every test file uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use automq_wal::{End, Error, Options, Record, Recovery, Wal};
use bytes::Bytes;

pub const SEGMENT: u64 = 64 * 1024;
pub const CLUSTER: [u8; 16] = *b"0123456789abcdef";
pub const SOON: Duration = Duration::from_secs(20);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory of the test's own, gone with it.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("automq-wal-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The segment files of WAL 1, ascending.
    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join("1")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths = paths
            .filter(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name.ends_with(".wal") && !name.starts_with("spare")
            })
            .collect::<Vec<_>>();
        paths.sort();
        paths
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn options() -> Options {
    Options {
        wal_id: 1,
        node_id: 4,
        cluster_id: CLUSTER,
        segment_bytes: SEGMENT,
        capacity_bytes: 64 * SEGMENT,
        inflight_bytes_max: 32 * SEGMENT,
        iops_max: 0,
        spare_segments_max: 2,
        shared: Some(false),
    }
}

/// The payload that record `number` has in these tests.
pub fn payload(number: i64, bytes: usize) -> Bytes {
    let mut chance = Chance(number as u64 + 1);
    (0..bytes).map(|_| chance.next() as u8).collect::<Vec<_>>().into()
}

pub fn append(wal: &Wal, number: i64, bytes: usize) -> u64 {
    wal.append(number % 5, 1, number, number, payload(number, bytes)).unwrap()
}

/// One group: everything appended is durable afterwards.
pub fn commit(wal: &Wal) {
    wal.submit();
    wait_until(|| wal.durable() == wal.end());
}

pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about in time");
        std::thread::yield_now();
    }
}

pub fn crash(wal: &Wal) {
    // What a failed WAL says is the test's own business.
    let _ = wal.close(false, SOON);
}

pub fn recover(root: &Path, start: u64) -> Result<(Vec<Record>, End), Error> {
    recover_in(root, start, 16 * 1024)
}

pub fn recover_in(
    root: &Path,
    start: u64,
    chunk_bytes: usize,
) -> Result<(Vec<Record>, End), Error> {
    let mut recovery = Recovery::open(root, 1, Some(CLUSTER), start, chunk_bytes, None)?;
    let mut records = Vec::new();
    while let Some(chunk) = recovery.next_chunk()? {
        assert!(!chunk.is_empty());
        records.extend(chunk);
    }
    Ok((records, recovery.end().unwrap()))
}

pub fn numbers(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.base_offset).collect()
}

/// xorshift64*: the same numbers for a seed, for ever.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
