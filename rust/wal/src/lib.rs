//! The write-ahead log: on files (one thread, group commit, recovery), and the bytes of the one in an
//! object store ([`object`]).
//!
//! One WAL is one directory, `<root>/<wal id>/`, written by one incarnation of one node and never
//! reopened for writing: a WAL id is used once. [`Wal`] appends, [`Recovery`] reads what is left
//! (and [`Reader`] does so on a thread of its own), [`remove`] deletes it once it was taken over.
//!
//! # Invariants
//!
//! * `durable` moves only after a successful fdatasync of everything below it.
//! * A segment gets its final name only after everything in the segments before it is synced, and
//!   its own header too. So a segment that is there proves the whole log before it.
//! * After any failed write, sync or close nothing more is written, synced or acknowledged.
//! * On a shared file system nothing is acknowledged before the owner block was found to be the
//!   writer's own, after the sync; a taker writes and syncs it before it reads (the argument is on
//!   the page of `owner`).
//! * Bytes left over from a file's earlier life never pass for a record: the checksum covers the
//!   position and the WAL's id, and the position must be the one where the record is found.
//!
//! # Bytes on disk (format version 1)
//!
//! All integers are little-endian. A **position** counts bytes of records since the WAL began,
//! without gaps; records are padded to 8 bytes, so every position is a multiple of 8.
//!
//! `lock`: held with flock by the owner; its text is the owner's pid.
//! `owner`: the owner block, if the directory may be shared with other machines.
//! `<first position, 20 digits>.wal`: a segment. `spare-<...>.wal`, `new.tmp`, `taken.tmp`: no
//! content.
//!
//! | at | size | owner block, 4,096 bytes |
//! |---:|---:|---|
//! | 0 | 8 | `AQWALOWN` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | CRC-32C of bytes 16 to 4,096 |
//! | 16 | 8 | WAL id |
//! | 24 | 4 | node id: the writer's, or the taker's |
//! | 28 | 4 | zero |
//! | 32 | 16 | cluster id |
//! | 48 | 8 | node epoch of the taker; -1: the writer |
//! | 56 | | zero to the end |
//!
//! A segment is a header of 4,096 bytes, then records. Position p is at `4096 + p - first`.
//!
//! | at | size | segment header |
//! |---:|---:|---|
//! | 0 | 8 | `AQWALSEG` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | CRC-32C of bytes 16 to 4,096 |
//! | 16 | 8 | WAL id |
//! | 24 | 4 | node id |
//! | 28 | 4 | zero |
//! | 32 | 16 | cluster id |
//! | 48 | 8 | first position: everything below it was synced before this header was written |
//! | 56 | 8 | size of the file |
//! | 64 | | zero to the end |
//!
//! | at | size | record header |
//! |---:|---:|---|
//! | 0 | 4 | `AQW1`, the digit is the version |
//! | 4 | 4 | CRC-32C of the WAL's id (8 bytes, not stored), bytes 8 to 64, the payload |
//! | 8 | 8 | position of this record |
//! | 16 | 8 | position known synced when this was written |
//! | 24 | 8 | stream id |
//! | 32 | 8 | base offset |
//! | 40 | 8 | last offset |
//! | 48 | 4 | epoch |
//! | 52 | 4 | payload size |
//! | 56 | 2 | kind: 1 data, 2 end of a WAL that was closed cleanly (no payload) |
//! | 58 | 2 | flags, zero |
//! | 60 | 4 | zero |
//! | 64 | | payload, then zero to 7 bytes of padding |
//!
//! # Where a WAL ends
//!
//! One group of records is one vectored write and one sync; a power cut may keep any part of it.
//! So a bad record is either the torn tail (the normal end), or damage to something that was
//! acknowledged. Every record names the position known synced when it was written, and so does
//! every segment by its first position. Below the highest of these a bad record is damage, above
//! it is the end. Only the last synced group of a WAL that was not closed has no later witness.
//!
//! The drive is taken to write a sector whole or not at all: the first sector of a group may also
//! hold the end of the group before it, rewritten with the same bytes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod dir;
mod direct;
mod disk;
mod error;
mod layout;
pub mod object;
mod options;
mod owner;
mod pace;
mod place;
mod reader;
mod record;
mod recover;
mod segment;
mod shared;
mod signal;
mod stats;
mod wal;
mod writer;

pub use dir::{remove, wal_ids};
pub use disk::{Disk, DiskFile, OsDisk, OwnerFile};
pub use error::{Error, Failure, Refused};
pub use options::Options;
pub use owner::{Block, Owner, OwnerReads, Taker};
pub use place::is_shared;
pub use reader::{Reader, Step};
pub use record::{Checked, HEADER_BYTES, Record, record_bytes};
pub use recover::{End, Recovery, owner_of};
pub use segment::{SEGMENT_HEADER_BYTES, segment_name};
pub use stats::{Full, SYNC_BOUNDS_US, Stats};
pub use wal::Wal;
