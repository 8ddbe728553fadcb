//! The 61 bytes in front of a batch, and the walk over batches that lie one after another.

use std::fmt;

use bytes::Bytes;

/// Bytes in front of the records.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length, which the length does not count.
pub(crate) const LENGTH_END: usize = 12;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// A batch's CRC-32C covers all from here on.
pub const CRC_FROM: usize = ATTRIBUTES_AT;
pub(crate) const BASE_TIMESTAMP_AT: usize = 27;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const COUNT_AT: usize = 57;

pub(crate) const CODEC_MASK: i16 = 0x07;
pub(crate) const LOG_APPEND_TIME_FLAG: i16 = 0x08;
pub(crate) const TRANSACTIONAL_FLAG: i16 = 0x10;
pub(crate) const CONTROL_FLAG: i16 = 0x20;
pub(crate) const DELETE_HORIZON_FLAG: i16 = 0x40;

pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_SEQUENCE: i32 = -1;
pub const NO_TIMESTAMP: i64 = -1;

/// Bytes that are not what they should be: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    pub position: usize,
    pub why: String,
}

impl Corrupt {
    pub(crate) fn new(position: usize, why: impl Into<String>) -> Self {
        Self { position, why: why.into() }
    }

    /// The same trouble, seen from `base` bytes further out.
    pub(crate) fn shifted(mut self, base: usize) -> Self {
        self.position += base;
        self
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.why, self.position)
    }
}

impl std::error::Error for Corrupt {}

/// How the records of a batch are compressed; the numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    pub fn from_id(id: i16) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// Kafka's name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// `uncompressed` is `compression.type`'s word for none.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "uncompressed" { "none" } else { name };
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// `sequence + by`, going from 2^31 - 1 to 0 as Kafka's sequences do.
pub fn add_sequence(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    if sum > i64::from(i32::MAX) { (sum - i64::from(i32::MAX) - 1) as i32 } else { sum as i32 }
}

pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(data)
}

/// Every field of a batch's header, as it lies in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// The whole batch, header included. At least `HEADER_BYTES`.
    pub size_bytes: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// The batch at the start of `data`; `data` may go on behind it.
    ///
    /// Refuses what cannot be a whole batch of magic 2. Counts, flags and CRC are not judged.
    pub fn parse(data: &[u8]) -> Result<Self, Corrupt> {
        let Some(head) = data.first_chunk::<HEADER_BYTES>() else {
            let (have, why) = (data.len(), "where a batch header of 61 bytes should be");
            return Err(Corrupt::new(0, format!("{have} bytes {why}")));
        };
        if head[MAGIC_AT] != 2 {
            let magic = head[MAGIC_AT] as i8;
            return Err(Corrupt::new(MAGIC_AT, format!("magic {magic} where 2 should be")));
        }
        let length = i32::from_be_bytes(take(head, 8));
        let size = i64::from(length) + LENGTH_END as i64;
        if size < HEADER_BYTES as i64 {
            let why = format!("a batch of {size} bytes, less than its header of {HEADER_BYTES}");
            return Err(Corrupt::new(8, why));
        }
        if size > data.len() as i64 {
            let why = format!("a batch of {size} bytes, but only {} are there", data.len());
            return Err(Corrupt::new(8, why));
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(take(head, 0)),
            size_bytes: size as usize,
            leader_epoch: i32::from_be_bytes(take(head, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(take(head, CRC_AT)),
            attributes: i16::from_be_bytes(take(head, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(take(head, 23)),
            base_timestamp: i64::from_be_bytes(take(head, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(take(head, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(take(head, 43)),
            producer_epoch: i16::from_be_bytes(take(head, 51)),
            base_sequence: i32::from_be_bytes(take(head, 53)),
            record_count: i32::from_be_bytes(take(head, COUNT_AT)),
        })
    }

    /// The header's bytes. `size_bytes` and `crc` are written as they stand.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        let length = (self.size_bytes - LENGTH_END) as i32;
        head[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        head[8..12].copy_from_slice(&length.to_be_bytes());
        head[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        head[MAGIC_AT] = 2;
        head[17..21].copy_from_slice(&self.crc.to_be_bytes());
        head[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        head[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        head[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        head[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        head[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        head[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        head[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        head[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        head
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last one.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// None when the bits name no codec (5 to 7).
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_id(self.attributes & CODEC_MASK)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_FLAG == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_FLAG != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_FLAG != 0
    }

    /// When tombstones and markers of a cleaned batch may go (KIP-534); it lies where the base
    /// timestamp was.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_FLAG != 0).then_some(self.base_timestamp)
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// The timestamp of a record: the broker's, where the batch carries LogAppendTime.
    pub fn record_timestamp(&self, delta: i64) -> i64 {
        match self.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// Checks the CRC-32C of `batch`, which is this header's whole batch.
    pub fn check_crc(&self, batch: &[u8]) -> Result<(), Corrupt> {
        let found = crc32c(&batch[ATTRIBUTES_AT..self.size_bytes]);
        if found == self.crc {
            return Ok(());
        }
        let why = format!("stored CRC-32C {:08x}, the bytes give {found:08x}", self.crc);
        Err(Corrupt::new(CRC_AT, why))
    }
}

/// `N` bytes from `at`, which the caller keeps inside the header.
fn take<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&head[at..at + N]);
    out
}

/// Walks concatenated batches. After the first error it ends.
///
/// Positions in errors count from the start of `data`. The CRC is not checked.
pub fn batches(data: &Bytes) -> Batches<'_> {
    Batches { data, at: 0 }
}

pub struct Batches<'a> {
    data: &'a Bytes,
    at: usize,
}

impl Batches<'_> {
    /// Where the next batch starts.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<(BatchHeader, Bytes), Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.data.len() {
            return None;
        }
        let start = self.at;
        match BatchHeader::parse(&self.data[start..]) {
            Ok(header) => {
                self.at = start + header.size_bytes;
                Some(Ok((header, self.data.slice(start..self.at))))
            }
            Err(corrupt) => {
                self.at = self.data.len();
                Some(Err(corrupt.shifted(start)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: 7,
            size_bytes: HEADER_BYTES,
            leader_epoch: 3,
            crc: 0,
            attributes: 0x10 | 4,
            last_offset_delta: 2,
            base_timestamp: 100,
            max_timestamp: 120,
            producer_id: 9,
            producer_epoch: 1,
            base_sequence: i32::MAX - 1,
            record_count: 3,
        }
    }

    #[test]
    fn encoding_inverts_parsing() {
        let header = sample();
        assert_eq!(BatchHeader::parse(&header.encode()), Ok(header));
        assert_eq!(header.last_offset(), 9);
        assert_eq!(header.codec(), Some(Codec::Zstd));
        assert!(header.is_transactional() && !header.is_control());
    }

    #[test]
    fn sequences_go_from_the_largest_to_zero() {
        assert_eq!(sample().last_sequence(), 0);
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX, i32::MAX), i32::MAX - 1);
    }

    #[test]
    fn the_walk_says_where_the_trouble_is() {
        let mut bytes = sample().encode().to_vec();
        bytes.extend_from_slice(&sample().encode());
        bytes[HEADER_BYTES + MAGIC_AT] = 1;
        let data = Bytes::from(bytes);
        let all: Vec<_> = batches(&data).collect();
        assert!(all[0].is_ok());
        let trouble = all[1].as_ref().expect_err("magic 1");
        assert_eq!(trouble.position, HEADER_BYTES + MAGIC_AT);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_batch_that_is_cut_short_is_refused() {
        let whole = sample().encode();
        for end in 0..HEADER_BYTES {
            assert!(BatchHeader::parse(&whole[..end]).is_err(), "{end} bytes");
        }
        for length in [-1, 0, 48, 50, i32::MAX, i32::MIN] {
            let mut bytes = whole;
            bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
            assert!(BatchHeader::parse(&bytes).is_err(), "length {length}");
        }
    }

    #[test]
    fn the_crc_covers_all_behind_it() {
        let mut header = sample();
        header.crc = crc32c(&header.encode()[ATTRIBUTES_AT..]);
        let bytes = header.encode();
        assert!(header.check_crc(&bytes).is_ok());
        for at in ATTRIBUTES_AT..HEADER_BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert!(header.check_crc(&damaged).is_err(), "byte {at}");
        }
    }
}
