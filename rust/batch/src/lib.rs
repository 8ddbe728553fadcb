//! Kafka record batches (magic 2, KIP-98): reading, checking, offset assignment, codecs, digests.
//! No I/O, no Python, no copy of a payload unless the name of the function says so.
//!
//! * [`BatchHeader`] and [`batches`] walk concatenated batches; [`BatchHeader::check_crc`] proves one.
//! * [`check_produce`] judges what a producer sent and answers what is to be stored.
//! * [`build_batch`], [`build_marker`], [`restamp`], [`stamp_copy`], [`stamp_in_place`] make batches.
//! * [`read_records`], [`find_timestamp`], [`max_timestamp`], [`LastByKey`] read records.
//! * [`Digest`] condenses what the batches of a range do to producer state.
//!
//! Whatever the bytes are, the answer is a value or an error that says where; nothing panics.

mod build;
mod check;
mod compress;
mod digest;
mod header;
mod last_by_key;
mod marker;
mod read;
mod record;

pub use build::{
    BatchSpec, NewRecord, build_batch, build_marker, recompress, restamp, stamp_copy,
    stamp_in_place,
};
pub use check::{ErrorCode, ProduceRules, Refused, check_produce};
pub use compress::{UnpackError, pack, unpack};
pub use digest::{DIGEST_VERSION, Digest, DigestEntry, decode_digest, digest_of};
pub use header::{
    BatchHeader, Batches, CRC_FROM, Codec, Corrupt, HEADER_BYTES, NO_PRODUCER_ID, NO_SEQUENCE,
    NO_TIMESTAMP, TimestampType, add_sequence, batches, crc32c,
};
pub use last_by_key::LastByKey;
pub use marker::{EndMarker, MarkerKind};
pub use read::{
    Found, ReadError, Record, find_timestamp, max_timestamp, read_records, unpack_records,
};
