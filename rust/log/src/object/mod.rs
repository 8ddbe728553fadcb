//! The format of objects, version 1.
//!
//! An object holds runs of whole record batches, one run a stream, in order of stream ids. All
//! numbers are big-endian; checksums are CRC-32C; `uvarint` is base 128, least significant group
//! first, 10 bytes at most; `zigzag` is a uvarint of `(n << 1) ^ (n >> 63)`.
//!
//! ```text
//! block *       position 0 on, without gaps: by stream, then by offset
//! digest *      of streams that have one, by stream
//! index
//! footer        72 bytes, the end of the object
//!
//! block     0 magic "AQB1" | 4 checksum u32 of [8, end) | 8 object id i64 | 16 stream i64
//!           | 24 start i64 | 32 end i64 | 40 payload bytes u64 | 48 payload: whole batches
//! digest    0 checksum u32 of object id i64, stream i64 and [4, end) | 4 digest (automq-batch)
//! index     0 magic "AQI1" | 4 checksum u32 of [8, end) | 8 object id i64 | 16 cluster id
//!           | 32 version u16 | 34 flags u16 = 0 | 36 streams u32 | 40 blocks u32 | 44 columns
//! footer    0 object id i64 | 8 cluster id | 24 object bytes u64 | 32 digest position u64
//!           | 40 index position u64 | 48 index bytes u64 | 56 index checksum u32 | 60 version u16
//!           | 62 flags u16 = 0 | 64 checksum u32 of [0, 64) | 68 magic "AQO1"
//! ```
//!
//! The index's columns, one after another, a uvarint each unless said otherwise:
//! for each stream: difference to the stream before (the first: the id), blocks (1 or more), bytes
//! of its digest with checksum (0: none); for each block: start, as the difference to the end of
//! the stream's block before (the first: the start), end - start (1 or more), records, bytes with
//! header, max timestamp as a zigzag difference to the block before (the first: to 0, wrapping).
//! Positions are sums of sizes, so they cannot disagree with them.
//!
//! A reader that knows an object from the metadata log needs no footer: the index is complete with
//! its own ids and checksum. The footer serves those who have only the object.
//!
//! A block's range covers what lies before its first batch too (a gap left by log compaction), so
//! the block found for an offset is the one to read, whether the offset still exists or not.

mod block;
mod body;
mod build;
mod footer;
mod index;
mod inspect;
mod merge;
mod varint;
mod writer;

#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use block::cut_on;
pub use block::{BlockRef, DigestRef, cut, open_block, open_digest, open_summed_block};
pub use build::build_object;
pub use footer::{FOOTER_BYTES, Footer, parse_footer};
pub use index::ObjectIndex;
pub use inspect::{Part, inspect};
pub use merge::{MergeError, MergePart, ObjectMerge, Span};
pub use writer::{BLOCK_BYTES, BuiltObject, ObjectWriter, Range, WriteError};

/// The version that is written; no other is known yet.
pub const OBJECT_VERSION: u16 = 1;

pub type ClusterId = [u8; 16];

/// Bytes of an object that are not what was written, and where in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedObject {
    pub position: u64,
    pub why: String,
}

impl DamagedObject {
    fn at(position: u64, why: impl Into<String>) -> Self {
        Self { position, why: why.into() }
    }
}

impl fmt::Display for DamagedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {} of the object)", self.why, self.position)
    }
}

impl std::error::Error for DamagedObject {}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(take(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(take(bytes, at))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(take(bytes, at))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(take(bytes, at))
}

/// Hexadecimal, for messages.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses an index or a footer that belongs elsewhere.
fn check_identity(
    position: u64,
    (object_id, cluster_id): (i64, ClusterId),
    wanted: (Option<i64>, Option<ClusterId>),
) -> Result<(), DamagedObject> {
    if wanted.1.is_some_and(|wanted| wanted != cluster_id) {
        let why = format!("an object of cluster {}", hex(&cluster_id));
        return Err(DamagedObject::at(position, why));
    }
    if let Some(wanted) = wanted.0.filter(|wanted| *wanted != object_id) {
        let why = format!("object {object_id} where object {wanted} should be");
        return Err(DamagedObject::at(position, why));
    }
    Ok(())
}

fn check_version(position: u64, version: u16, flags: u16) -> Result<(), DamagedObject> {
    if version != OBJECT_VERSION || flags != 0 {
        let why = format!("format version {version}, flags {flags}; known is {OBJECT_VERSION}, 0");
        return Err(DamagedObject::at(position, why));
    }
    Ok(())
}
