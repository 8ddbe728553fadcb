//! One record: its bytes and its checksum.

use automq_crc::{JOINED_BYTES_MIN, joined};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

pub const HEADER_BYTES: usize = 64;
const MAGIC: u32 = u32::from_le_bytes(*b"AQW1");

pub const KIND_DATA: u16 = 1;
pub const KIND_END: u16 = 2;

/// What one append wrote, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: u64,
    pub end_position: u64,
    pub stream: i64,
    pub epoch: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub payload: Bytes,
}

/// What whoever appends has just found of a payload: the CRC-32C of all from a position on.
///
/// Invariant: it was computed from these bytes, not copied from anywhere. A checksum carried on says
/// more than a new one: bytes that change in memory meanwhile do not get one that fits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    pub from: usize,
    pub crc: u32,
}

/// How many bytes of the log a record with such a payload takes.
pub fn record_bytes(payload_bytes: usize) -> u64 {
    (HEADER_BYTES + payload_bytes).next_multiple_of(8) as u64
}

/// The fields of a record's header, without magic and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub position: u64,
    pub synced: u64,
    pub stream: i64,
    pub base_offset: i64,
    pub last_offset: i64,
    pub epoch: i32,
    pub payload_bytes: u32,
    pub kind: u16,
    pub flags: u16,
}

impl Header {
    /// The header's bytes; the checksum is that of the header and `payload`.
    pub fn encode(&self, seal: Seal, payload: &[u8]) -> [u8; HEADER_BYTES] {
        self.encode_checked(seal, payload, None)
    }

    /// The same bytes, without reading what was `checked`.
    pub fn encode_checked(
        &self,
        seal: Seal,
        payload: &[u8],
        checked: Option<Checked>,
    ) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.position.to_le_bytes());
        out[16..24].copy_from_slice(&self.synced.to_le_bytes());
        out[24..32].copy_from_slice(&self.stream.to_le_bytes());
        out[32..40].copy_from_slice(&self.base_offset.to_le_bytes());
        out[40..48].copy_from_slice(&self.last_offset.to_le_bytes());
        out[48..52].copy_from_slice(&self.epoch.to_le_bytes());
        out[52..56].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[56..58].copy_from_slice(&self.kind.to_le_bytes());
        out[58..60].copy_from_slice(&self.flags.to_le_bytes());
        let checksum = match checked {
            Some(it) if payload.len() >= it.from + JOINED_BYTES_MIN => {
                let first = seal.of(&out[8..], &payload[..it.from]);
                joined(first, it.crc, (payload.len() - it.from) as u64)
            }
            _ => seal.of(&out[8..], payload),
        };
        debug_assert_eq!(checksum, seal.of(&out[8..], payload), "not what was checked");
        out[4..8].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The header that `bytes` begin with, not yet verified; `None` if the magic is not there.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        if u32_at(bytes, 0) != MAGIC {
            return None;
        }
        Some(Self {
            position: u64_at(bytes, 8),
            synced: u64_at(bytes, 16),
            stream: u64_at(bytes, 24) as i64,
            base_offset: u64_at(bytes, 32) as i64,
            last_offset: u64_at(bytes, 40) as i64,
            epoch: u32_at(bytes, 48) as i32,
            payload_bytes: u32_at(bytes, 52),
            kind: u16::from_le_bytes([bytes[56], bytes[57]]),
            flags: u16::from_le_bytes([bytes[58], bytes[59]]),
        })
    }

    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.payload_bytes as usize)
    }
}

/// The beginning of every checksum of one WAL: its id has been digested.
#[derive(Debug, Clone, Copy)]
pub struct Seal(u64);

impl Seal {
    pub fn new(wal_id: i64) -> Self {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&wal_id.to_le_bytes());
        Self(digest.get_state())
    }

    fn of(self, header: &[u8], payload: &[u8]) -> u32 {
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, self.0);
        digest.update(header);
        digest.update(payload);
        digest.finalize() as u32
    }

    /// Does the checksum of this header and its payload hold?
    pub fn holds(self, header: &[u8; HEADER_BYTES], payload: &[u8]) -> bool {
        u32_at(header, 4) == self.of(&header[8..], payload)
    }
}

/// Does a record header stand at `position` here? (Cheap; says nothing about its checksum.)
pub fn looks_like(bytes: &[u8], position: u64) -> bool {
    bytes.len() >= 16 && u32_at(bytes, 0) == MAGIC && u64_at(bytes, 8) == position
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            position: 4096,
            synced: 1024,
            stream: 7,
            base_offset: 100,
            last_offset: 104,
            epoch: 3,
            payload_bytes: 5,
            kind: KIND_DATA,
            flags: 0,
        }
    }

    #[test]
    fn a_header_is_read_back_as_written() {
        let bytes = header().encode(Seal::new(9), b"hello");
        assert_eq!(Header::parse(&bytes), Some(header()));
        assert!(Seal::new(9).holds(&bytes, b"hello"));
    }

    #[test]
    fn a_payload_that_was_checked_gets_the_same_header_unread() {
        for size in [0, 21, 4_095, 4_117, 5_000, 200_000] {
            let payload: Vec<u8> = (0..size).map(|at| (at * 3 + 1) as u8).collect();
            for from in [0, 21, size].into_iter().filter(|from| *from <= size) {
                let crc = automq_crc::crc32c(&payload[from..]);
                let header = Header { payload_bytes: size as u32, ..header() };
                let checked =
                    header.encode_checked(Seal::new(9), &payload, Some(Checked { from, crc }));
                assert_eq!(checked, header.encode(Seal::new(9), &payload), "{from} of {size}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_header_and_payload_is_found() {
        let seal = Seal::new(9);
        let bytes = header().encode(seal, b"hello");
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&flipped).is_none() || !seal.holds(&flipped, b"hello"), "{bit}");
        }
        assert!(!seal.holds(&bytes, b"hellp"));
    }

    #[test]
    fn a_record_of_another_wal_does_not_pass() {
        let bytes = header().encode(Seal::new(9), b"hello");
        assert!(!Seal::new(10).holds(&bytes, b"hello"));
    }

    #[test]
    fn the_bytes_of_a_record_are_those_of_the_specification() {
        let mut expected = Vec::from(*b"AQW1");
        let mut rest = Vec::new();
        for field in [4096_i64, 1024, 7, 100, 104] {
            rest.extend(field.to_le_bytes());
        }
        rest.extend([3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let covered = [&9_i64.to_le_bytes(), rest.as_slice(), b"hello"].concat();
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &covered) as u32;
        expected.extend(crc.to_le_bytes());
        expected.extend(rest);
        assert_eq!(header().encode(Seal::new(9), b"hello").as_slice(), expected);
    }
}
