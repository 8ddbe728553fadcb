//! Kafka record batches (magic 2, KIP-98): reading, checking, offset assignment, codecs, digests.
//! No I/O, no Python, no copy of a payload unless the name of the function says so.
//!
//! * [`BatchHeader`] and [`batches`] walk concatenated batches; [`BatchHeader::check_crc`] proves one.
//! * [`Digest`] condenses what the batches of a range do to producer state.
//!
//! Whatever the bytes are, the answer is a value or an error that says where; nothing panics.

mod digest;
mod header;
mod marker;
mod record;

pub use digest::{DIGEST_VERSION, Digest, DigestEntry, decode_digest, digest_of};
pub use header::{
    BatchHeader, Batches, Codec, Corrupt, HEADER_BYTES, TimestampType, add_sequence, batches,
    crc32c,
};
pub use marker::{EndMarker, MarkerKind};
