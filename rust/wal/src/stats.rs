//! Plain numbers about a WAL.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets of sync latency, in microseconds; a last one has none.
pub const SYNC_BOUNDS_US: [u64; 12] =
    [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 512_000, 2_048_000];

/// A look at the counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups made durable.
    pub commits: u64,
    pub records: u64,
    /// Bytes of records, headers included.
    pub bytes: u64,
    pub sync_us_sum: u64,
    /// Syncs by latency; see [`SYNC_BOUNDS_US`].
    pub sync_counts: [u64; SYNC_BOUNDS_US.len() + 1],
    /// Appended and not yet durable.
    pub inflight_bytes: u64,
    pub inflight_records: u64,
    /// Disk space of the segments in use.
    pub live_bytes: u64,
    pub segments: u64,
    pub spare_segments: u64,
    pub segments_created: u64,
    pub segments_recycled: u64,
}

/// The disk has no room for another segment; appends wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    pub path: PathBuf,
    pub needed_bytes: u64,
    pub message: String,
}

/// The counters that the WAL's thread keeps.
#[derive(Debug, Default)]
pub struct Counters {
    pub commits: AtomicU64,
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub sync_us_sum: AtomicU64,
    pub sync_counts: [AtomicU64; SYNC_BOUNDS_US.len() + 1],
    pub segments: AtomicU64,
    pub spare_segments: AtomicU64,
    pub segments_created: AtomicU64,
    pub segments_recycled: AtomicU64,
}

impl Counters {
    pub fn synced(&self, took: Duration) {
        let took_us = took.as_micros() as u64;
        let bucket = SYNC_BOUNDS_US.partition_point(|bound| *bound < took_us);
        self.sync_counts[bucket].fetch_add(1, Relaxed);
        self.sync_us_sum.fetch_add(took_us, Relaxed);
    }

    pub fn committed(&self, records: u64, bytes: u64) {
        self.commits.fetch_add(1, Relaxed);
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// All of them; what the appending side knows is left at zero.
    pub fn look(&self) -> Stats {
        Stats {
            commits: self.commits.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            sync_us_sum: self.sync_us_sum.load(Relaxed),
            sync_counts: std::array::from_fn(|i| self.sync_counts[i].load(Relaxed)),
            segments: self.segments.load(Relaxed),
            spare_segments: self.spare_segments.load(Relaxed),
            segments_created: self.segments_created.load(Relaxed),
            segments_recycled: self.segments_recycled.load(Relaxed),
            ..Stats::default()
        }
    }
}
