//! Who a WAL belongs to, and its budgets.

use crate::error::Error;

/// Settings of one WAL.
#[derive(Debug, Clone)]
pub struct Options {
    pub wal_id: i64,
    pub node_id: i32,
    pub cluster_id: [u8; 16],
    /// Size of a segment file; one that must hold a larger record grows.
    pub segment_bytes: u64,
    /// How much disk space all segments together may take.
    pub capacity_bytes: u64,
    /// How much may wait for the disk before appends are refused.
    pub inflight_bytes_max: u64,
    /// Syncs a second, 0 for no limit.
    pub iops_max: u32,
    /// How many trimmed segments are kept to be written again.
    pub spare_segments_max: usize,
    /// Whether other machines may write the directory, so that there is an owner block and it is
    /// read before anything is acknowledged. `None`: as the file system's type tells.
    pub shared: Option<bool>,
}

impl Options {
    pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.wal_id < 0 {
            return Err(Error::Invalid(format!("WAL id {} is negative", self.wal_id)));
        }
        if self.segment_bytes < Self::SEGMENT_BYTES_MIN || !self.segment_bytes.is_multiple_of(4096)
        {
            return Err(Error::Invalid(format!(
                "a WAL segment of {} bytes: must be a multiple of 4096 and at least {}",
                self.segment_bytes,
                Self::SEGMENT_BYTES_MIN
            )));
        }
        if self.capacity_bytes < 2 * self.segment_bytes {
            return Err(Error::Invalid(format!(
                "a WAL of {} bytes: must hold at least two segments of {}",
                self.capacity_bytes, self.segment_bytes
            )));
        }
        if self.inflight_bytes_max == 0 {
            return Err(Error::Invalid("0 bytes may wait for the WAL: must be more".to_owned()));
        }
        Ok(())
    }
}
