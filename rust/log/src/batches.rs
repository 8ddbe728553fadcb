//! Where one record batch ends and the next begins within a run of bytes.

use automq_batch::{BatchHeader, Corrupt};

/// One batch within a run of bytes, with offsets and counts that make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAt {
    pub position: usize,
    pub header: BatchHeader,
}

impl BatchAt {
    pub fn end_position(&self) -> usize {
        self.position + self.header.size_bytes
    }

    /// One more than the batch's last offset.
    pub fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    pub fn record_count(&self) -> u64 {
        u64::from(self.header.record_count.unsigned_abs())
    }
}

/// The batch that starts at `position` of `bytes`. Looks at its header only.
pub fn batch_at(bytes: &[u8], position: usize) -> Result<BatchAt, Corrupt> {
    let corrupt = |position, why: &str| Corrupt { position, why: why.to_owned() };
    let rest = bytes.get(position..).ok_or_else(|| corrupt(position, "behind the end"))?;
    let header = BatchHeader::parse(rest)
        .map_err(|inner| Corrupt { position: position + inner.position, why: inner.why })?;
    if header.base_offset < 0 || header.last_offset_delta < 0 {
        return Err(corrupt(position, "a batch with a negative offset"));
    }
    if header.next_offset() <= header.base_offset {
        return Err(corrupt(position, "a batch whose last offset passes 2^63"));
    }
    if header.record_count < 0 {
        return Err(corrupt(position + 57, "a batch with a negative count of records"));
    }
    Ok(BatchAt { position, header })
}

/// The batches of `bytes` from `position` on; ends after the first bad one.
pub fn walk(bytes: &[u8], position: usize) -> impl Iterator<Item = Result<BatchAt, Corrupt>> + '_ {
    let mut at = position;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let batch = batch_at(bytes, at);
        at = batch.as_ref().map_or(bytes.len(), BatchAt::end_position);
        Some(batch)
    })
}

#[cfg(test)]
pub mod samples {
    //! Batches for tests: right headers around filler.

    use automq_batch::{BatchHeader, HEADER_BYTES, crc32c};
    use bytes::Bytes;

    /// A batch without a producer.
    pub fn batch(base_offset: i64, records: u32, max_timestamp: i64, size_bytes: usize) -> Bytes {
        of(header(base_offset, records, max_timestamp, size_bytes))
    }

    /// A batch of an idempotent producer.
    pub fn idempotent(base_offset: i64, producer_id: i64, size_bytes: usize) -> Bytes {
        let base_sequence = base_offset as i32;
        let plain = header(base_offset, 1, base_offset, size_bytes);
        of(BatchHeader { producer_id, producer_epoch: 0, base_sequence, ..plain })
    }

    fn header(base_offset: i64, records: u32, timestamp: i64, size_bytes: usize) -> BatchHeader {
        BatchHeader {
            base_offset,
            size_bytes: size_bytes.max(HEADER_BYTES),
            leader_epoch: 0,
            crc: 0,
            attributes: 0,
            last_offset_delta: records as i32 - 1,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: records as i32,
        }
    }

    fn of(mut header: BatchHeader) -> Bytes {
        let filler = (HEADER_BYTES..header.size_bytes)
            .map(|at| (header.base_offset as usize).wrapping_mul(31).wrapping_add(at) as u8);
        let mut raw: Vec<u8> = header.encode().into_iter().chain(filler).collect();
        header.crc = crc32c(&raw[21..]);
        raw[..HEADER_BYTES].copy_from_slice(&header.encode());
        raw.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_one_another() {
        let bytes = [samples::batch(5, 3, 70, 100), samples::batch(8, 1, 60, 61)].concat();
        let batches: Vec<_> = walk(&bytes, 0).map(|batch| batch.unwrap()).collect();
        assert_eq!(batches.len(), 2);
        assert_eq!((batches[0].header.base_offset, batches[0].next_offset()), (5, 8));
        assert_eq!((batches[1].position, batches[1].end_position()), (100, 161));
        assert_eq!(batches[0].record_count(), 3);
    }

    #[test]
    fn a_cut_off_batch_is_named_with_its_position() {
        let bytes = [samples::batch(5, 3, 70, 100), samples::batch(8, 1, 60, 80)].concat();
        let last = walk(&bytes[..179], 0).last().unwrap();
        assert_eq!(last.unwrap_err().position, 108);
    }

    #[test]
    fn no_header_bytes_make_it_panic() {
        for at in 0..61 {
            for byte in [0x00, 0x7f, 0x80, 0xff] {
                let mut raw = samples::batch(5, 3, 70, 100).to_vec();
                raw[at] = byte;
                let _ = batch_at(&raw, 0);
                let _ = batch_at(&raw[..at], 0);
            }
        }
    }
}
