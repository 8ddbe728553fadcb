//! Blocks and digests: where they lie, what they must be, and what is read out of them.

use automq_batch::{Corrupt, crc32c};
use automq_crc::{continued, crc32c_of_rest};
use bytes::Bytes;

use super::{DamagedObject, i64_at, u32_at, u64_at};
use crate::batches::walk;
use crate::cache::CacheRead;
use crate::summed::Summed;

pub const BLOCK_MAGIC: [u8; 4] = *b"AQB1";
pub const BLOCK_HEADER_BYTES: usize = 48;
/// Magic and CRC, which the CRC does not cover.
const SUMMED_FROM: usize = 8;
pub const DIGEST_HEADER_BYTES: usize = 4;

/// One block of one object: offsets `[start, end)` of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    pub object_id: i64,
    pub stream: i64,
    pub start: i64,
    pub end: i64,
    pub record_count: u64,
    pub position: u64,
    /// With its header.
    pub size_bytes: u64,
    pub max_timestamp: i64,
}

/// The digest of one stream in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestRef {
    pub object_id: i64,
    pub stream: i64,
    pub position: u64,
    /// With its checksum.
    pub size_bytes: u64,
}

/// What `open_block` compares; everything in front of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    pub object_id: i64,
    pub stream: i64,
    pub start: i64,
    pub end: i64,
    pub payload_bytes: u64,
}

impl BlockHeader {
    /// The header's bytes for a payload made of `pieces`.
    pub fn encode(&self, pieces: &[Summed]) -> [u8; BLOCK_HEADER_BYTES] {
        let mut out = [0; BLOCK_HEADER_BYTES];
        out[0..4].copy_from_slice(&BLOCK_MAGIC);
        out[8..16].copy_from_slice(&self.object_id.to_be_bytes());
        out[16..24].copy_from_slice(&self.stream.to_be_bytes());
        out[24..32].copy_from_slice(&self.start.to_be_bytes());
        out[32..40].copy_from_slice(&self.end.to_be_bytes());
        out[40..48].copy_from_slice(&self.payload_bytes.to_be_bytes());
        let crc = pieces.iter().fold(crc32c(&out[8..]), |crc, piece| piece.sum_behind(crc));
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The header at the start of `data`, a whole block that lies at `position`. `found`: the
    /// CRC-32C of what the header's own is of.
    fn decode(data: &[u8], found: u32, position: u64) -> Result<Self, DamagedObject> {
        if data.len() < BLOCK_HEADER_BYTES {
            let why = format!("{} bytes where a block should be", data.len());
            return Err(DamagedObject::at(position, why));
        }
        if data[0..4] != BLOCK_MAGIC {
            return Err(DamagedObject::at(position, "no block starts here"));
        }
        let stored = u32_at(data, 4);
        if stored != found {
            let why =
                format!("a block's stored CRC-32C is {stored:08x}, its bytes give {found:08x}");
            return Err(DamagedObject::at(position, why));
        }
        let header = Self {
            object_id: i64_at(data, 8),
            stream: i64_at(data, 16),
            start: i64_at(data, 24),
            end: i64_at(data, 32),
            payload_bytes: u64_at(data, 40),
        };
        if header.payload_bytes != (data.len() - BLOCK_HEADER_BYTES) as u64 {
            let why = format!("a block of {} bytes of payload", header.payload_bytes);
            return Err(DamagedObject::at(position, why));
        }
        Ok(header)
    }
}

/// The batches of a block, without a copy. `data` is the whole block as it was read.
pub fn open_block(data: &Bytes, block: &BlockRef) -> Result<Bytes, DamagedObject> {
    let found = data.get(SUMMED_FROM..).map_or(0, crc32c);
    open(data, found, block)
}

/// The same where whoever has read `data` knows the CRC-32C of all of it: nothing of it is touched
/// but the header.
pub fn open_summed_block(
    data: &Bytes,
    of_all: u32,
    block: &BlockRef,
) -> Result<Bytes, DamagedObject> {
    let Some((front, rest)) = data.split_at_checked(SUMMED_FROM) else {
        return open_block(data, block);
    };
    open(data, crc32c_of_rest(of_all, front, rest.len() as u64), block)
}

fn open(data: &Bytes, found: u32, block: &BlockRef) -> Result<Bytes, DamagedObject> {
    if data.len() as u64 != block.size_bytes {
        let why = format!("{} bytes of a block of {}", data.len(), block.size_bytes);
        return Err(DamagedObject::at(block.position, why));
    }
    let header = BlockHeader::decode(data, found, block.position)?;
    let found = (header.object_id, header.stream, header.start, header.end);
    let wanted = (block.object_id, block.stream, block.start, block.end);
    if found != wanted {
        let why = format!("a block of (object, stream, start, end) {found:?}, wanted {wanted:?}");
        return Err(DamagedObject::at(block.position, why));
    }
    Ok(data.slice(BLOCK_HEADER_BYTES..))
}

pub fn digest_checksum(object_id: i64, stream: i64, digest: &[u8]) -> u32 {
    let ids = continued(crc32c(&object_id.to_be_bytes()), &stream.to_be_bytes());
    continued(ids, digest)
}

/// The digest, for `automq_batch::decode_digest`. `data` is what was read at `digest`.
pub fn open_digest(data: &Bytes, digest: &DigestRef) -> Result<Bytes, DamagedObject> {
    if data.len() as u64 != digest.size_bytes || data.len() < DIGEST_HEADER_BYTES {
        let why = format!("{} bytes of a digest of {}", data.len(), digest.size_bytes);
        return Err(DamagedObject::at(digest.position, why));
    }
    let content = data.slice(DIGEST_HEADER_BYTES..);
    let found = digest_checksum(digest.object_id, digest.stream, &content);
    if u32_at(data, 0) != found {
        let why = format!("the digest of stream {} is not what its CRC-32C says", digest.stream);
        return Err(DamagedObject::at(digest.position, why));
    }
    Ok(content)
}

/// Whole batches of `batches` from the one that holds `start` (or the first above it) on.
///
/// They end at or below `end`; over `bytes_max` only with `at_least_one`, by one batch only.
pub fn cut(
    batches: &Bytes,
    start: i64,
    end: i64,
    bytes_max: usize,
    at_least_one: bool,
) -> Result<CacheRead, Corrupt> {
    cut_on(batches, start, end, bytes_max, at_least_one).map(|(read, _)| read)
}

/// The same, and the next offset of the batch at which it stopped; None: nothing is left.
pub(crate) fn cut_on(
    batches: &Bytes,
    start: i64,
    end: i64,
    bytes_max: usize,
    at_least_one: bool,
) -> Result<(CacheRead, Option<i64>), Corrupt> {
    let mut read = CacheRead::empty(start);
    let mut stopped_at = None;
    let mut from = None;
    let mut to = 0;
    for batch in walk(batches, 0) {
        let batch = batch?;
        if batch.next_offset() <= start {
            continue;
        }
        let first = *from.get_or_insert(batch.position);
        let fits = batch.end_position() - first <= bytes_max || (at_least_one && to == 0);
        if batch.next_offset() > end || !fits {
            stopped_at = Some(batch.next_offset());
            break;
        }
        if to == 0 {
            read.base_offset = batch.header.base_offset;
        }
        to = batch.end_position();
        read.next_offset = batch.next_offset();
    }
    if let Some(from) = from.filter(|_| to > 0) {
        read.size_bytes = to - from;
        read.bufs.push(batches.slice(from..to));
    }
    Ok((read, stopped_at))
}
