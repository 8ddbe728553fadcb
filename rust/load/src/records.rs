//! Batches to produce, and a cheap walk over the ones that were fetched.

use automq_batch::{BatchSpec, HEADER_BYTES, NewRecord, build_batch};
use bytes::Bytes;

use crate::clock::wall_ms;
use crate::failure::{Failure, Result};

const LAST_OFFSET_DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;
/// Base offset and length, which the length does not count.
const LENGTH_END: usize = 12;

/// Bytes that do not compress, the same for every run.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A batch of values without keys, with today's timestamp.
pub fn batch_of(values: impl Iterator<Item = Bytes>) -> Result<Bytes> {
    let timestamp = wall_ms();
    let record =
        |value| NewRecord { timestamp, key: None, value: Some(value), headers: Vec::new() };
    let records: Vec<_> = values.map(record).collect();
    Ok(build_batch(&records, &BatchSpec::default())?)
}

/// A batch of `count` records of `record_bytes` each.
pub fn noise_batch(count: usize, record_bytes: usize, seed: u64) -> Result<Bytes> {
    let value = |n: usize| Bytes::from(noise(record_bytes, seed + n as u64 + 1));
    batch_of((0..count).map(value))
}

/// What whole batches in a row hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    pub records: u64,
    pub bytes: usize,
    pub next_offset: i64,
}

/// Walk the whole batches of `data`, which may end within one, from `next_offset` on. Fails unless
/// each begins where the one before ended, and holds as many records as it has offsets.
pub fn walk(data: &[u8], next_offset: i64) -> Result<Walked> {
    let mut walked = Walked { next_offset, ..Walked::default() };
    while let Some(batch) = whole_batch(&data[walked.bytes..])? {
        let field = |at: usize| i32::from_be_bytes([0, 1, 2, 3].map(|n| batch[at + n]));
        let base_offset = (i64::from(field(0)) << 32) | i64::from(field(4) as u32);
        let offsets = field(LAST_OFFSET_DELTA_AT) + 1;
        if base_offset != walked.next_offset || offsets != field(COUNT_AT) || offsets < 1 {
            let due = walked.next_offset;
            return Err(Failure::new(format!("fetched offset {base_offset}, and {due} was due")));
        }
        walked.records += offsets as u64;
        walked.bytes += batch.len();
        walked.next_offset += i64::from(offsets);
    }
    Ok(walked)
}

fn whole_batch(data: &[u8]) -> Result<Option<&[u8]>> {
    if data.len() < HEADER_BYTES {
        return Ok(None);
    }
    let length = i32::from_be_bytes([data[8], data[9], data[10], data[11]]);
    match usize::try_from(length).map(|length| LENGTH_END + length) {
        Ok(size) if size >= HEADER_BYTES => Ok(data.get(..size)),
        _ => Err(Failure::new(format!("fetched a batch of {length} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, count: usize) -> Vec<u8> {
        let mut batch = noise_batch(count, 10, 1).unwrap().to_vec();
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        batch
    }

    #[test]
    fn whole_batches_are_counted_and_a_cut_one_is_left() {
        let mut data = [at(5, 3), at(8, 2)].concat();
        let whole = data.len();
        data.extend_from_slice(&at(10, 1)[..70]);
        let walked = walk(&data, 5).unwrap();
        assert_eq!(walked, Walked { records: 5, bytes: whole, next_offset: 10 });
    }

    #[test]
    fn a_gap_or_a_repetition_is_refused() {
        assert!(walk(&at(6, 1), 5).is_err());
        assert!(walk(&at(4, 1), 5).is_err());
        assert!(walk(&[at(5, 1), at(5, 1)].concat(), 5).is_err());
    }

    #[test]
    fn offsets_beyond_32_bits_are_read() {
        let base = (7 << 32) + (1 << 31);
        assert_eq!(walk(&at(base, 1), base).unwrap().next_offset, base + 1);
    }

    #[test]
    fn noise_differs_by_seed_and_not_by_run() {
        assert_eq!(noise(100, 1), noise(100, 1));
        assert_ne!(noise(100, 1), noise(100, 2));
    }
}
