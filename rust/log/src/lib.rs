//! Where batches are between the WAL and the reader: in memory, and in objects.
//!
//! * [`cache`]: recent batches by stream, until an object holds them and as long as there is room.
//! * [`object`]: the format of objects, byte by byte; writing, finding, verifying, listing.
//! * [`blockcache`]: blocks and indexes of objects that were read, within a budget of bytes.
//! * [`summed`]: batches with the checksum that they came with, so that none is computed twice.
//! * [`wish`]: what one read needs of an object, and gets out of its blocks.
//!
//! No I/O, no Python, no knowledge of topics. Bytes that come from a store are verified before they
//! are believed, and whatever they are, nothing panics.

pub mod batches;
pub mod blockcache;
pub mod cache;
pub mod object;
pub mod summed;
pub mod wish;
