//! Batches, and what is known of their checksum.

use automq_batch::CRC_FROM;
use automq_crc::{JOINED_BYTES_MIN, continued, joined};
use bytes::Bytes;

/// Bytes, and where they are one batch perhaps the CRC-32C of all but its first `CRC_FROM` ones.
///
/// Invariant: that was computed from these bytes, not copied from anywhere. Carried on into a block
/// it says more than a new one: bytes that change in memory meanwhile do not get one that fits them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summed {
    pub bytes: Bytes,
    known: Option<u32>,
}

impl From<Bytes> for Summed {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, known: None }
    }
}

impl Summed {
    /// One batch, and the checksum that was found to be right for it, if any was.
    pub fn batch(bytes: Bytes, known: Option<u32>) -> Self {
        let known = known.filter(|_| bytes.len() >= JOINED_BYTES_MIN);
        Self { bytes, known }
    }

    pub fn known(&self) -> Option<u32> {
        self.known
    }

    /// Positions `[from, to)`; what is known goes with the whole only.
    pub fn part(&self, from: usize, to: usize) -> Self {
        if (from, to) == (0, self.bytes.len()) {
            return self.clone();
        }
        self.bytes.slice(from..to).into()
    }

    /// The CRC-32C of what has `before` and, behind it, these bytes.
    pub fn sum_behind(&self, before: u32) -> u32 {
        let Some(known) = self.known else { return continued(before, &self.bytes) };
        let (front, rest) = self.bytes.split_at(CRC_FROM);
        let sum = joined(continued(before, front), known, rest.len() as u64);
        debug_assert_eq!(sum, continued(before, &self.bytes), "not what was known");
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::batch;

    #[test]
    fn what_is_known_gives_what_the_bytes_give() {
        for size in [100, JOINED_BYTES_MIN - 1, JOINED_BYTES_MIN, 70_000] {
            let bytes = batch(7, 2, 9, size);
            let known = automq_crc::crc32c(&bytes[CRC_FROM..]);
            let summed = Summed::batch(bytes.clone(), Some(known));
            assert_eq!(summed.known().is_some(), size >= JOINED_BYTES_MIN);
            assert_eq!(summed.sum_behind(0x1234), Summed::from(bytes.clone()).sum_behind(0x1234));
            assert_eq!(summed.part(0, size), summed);
            assert_eq!(summed.part(1, size).known(), None);
        }
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn bytes_that_changed_do_not_get_a_checksum_that_fits_them() {
        let mut bytes = batch(7, 2, 9, 8000).to_vec();
        let known = automq_crc::crc32c(&bytes[CRC_FROM..]);
        bytes[5000] ^= 4;
        let changed = Summed::batch(bytes.clone().into(), Some(known));
        assert_ne!(changed.sum_behind(0), automq_crc::crc32c(&bytes));
    }
}
