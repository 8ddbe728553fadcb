//! Segment files: names and headers.

use std::path::Path;

use crate::error::Error;
use crate::options::Options;
use crate::record::u64_at;

pub const SEGMENT_HEADER_BYTES: u64 = 4096;
const MAGIC: &[u8; 8] = b"AQWALSEG";
const VERSION: u32 = 1;

/// The name of the segment whose first record stands at `first_position`.
pub fn segment_name(first_position: u64) -> String {
    format!("{first_position:020}.wal")
}

/// The first position that a segment's name tells; `None` for any other file.
pub fn position_of_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    pub wal_id: i64,
    pub node_id: i32,
    pub cluster_id: [u8; 16],
    pub first_position: u64,
    pub file_bytes: u64,
}

impl SegmentHeader {
    pub fn new(options: &Options, first_position: u64, file_bytes: u64) -> Self {
        Self {
            wal_id: options.wal_id,
            node_id: options.node_id,
            cluster_id: options.cluster_id,
            first_position,
            file_bytes,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; SEGMENT_HEADER_BYTES as usize];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.wal_id.to_le_bytes());
        out[24..28].copy_from_slice(&self.node_id.to_le_bytes());
        out[32..48].copy_from_slice(&self.cluster_id);
        out[48..56].copy_from_slice(&self.first_position.to_le_bytes());
        out[56..64].copy_from_slice(&self.file_bytes.to_le_bytes());
        let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &out[16..]) as u32;
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header. `first_position` is what the file's name says.
    pub fn parse(path: &Path, first_position: u64, bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |why: &str| {
            Err(Error::Damaged {
                path: path.to_owned(),
                position: first_position,
                why: format!("the segment's header {why}"),
            })
        };
        if bytes.len() < SEGMENT_HEADER_BYTES as usize {
            return damaged("is cut short");
        }
        let bytes = &bytes[..SEGMENT_HEADER_BYTES as usize];
        if &bytes[0..8] != MAGIC {
            return damaged("does not begin with AQWALSEG");
        }
        let checksum = u64_at(bytes, 8) >> 32;
        if checksum != crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[16..]) {
            return damaged("does not match its checksum");
        }
        let version = u64_at(bytes, 8) as u32;
        if version != VERSION {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                position: first_position,
                why: format!("format version {version}, known is {VERSION}"),
            });
        }
        let mut cluster_id = [0; 16];
        cluster_id.copy_from_slice(&bytes[32..48]);
        let header = Self {
            wal_id: u64_at(bytes, 16) as i64,
            node_id: u64_at(bytes, 24) as i32,
            cluster_id,
            first_position: u64_at(bytes, 48),
            file_bytes: u64_at(bytes, 56),
        };
        if header.first_position != first_position {
            return damaged(&format!("names position {}", header.first_position));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        let (wal_id, node_id, cluster_id) = (5, 2, *b"0123456789abcdef");
        SegmentHeader { wal_id, node_id, cluster_id, first_position: 4096, file_bytes: 65536 }
    }

    #[test]
    fn a_header_is_read_back_as_written() {
        let read = SegmentHeader::parse(Path::new("x"), 4096, &header().encode());
        assert_eq!(read.ok(), Some(header()));
    }

    #[test]
    fn a_flipped_bit_is_damage() {
        for at in [0, 9, 13, 17, 50, 4095] {
            let mut bytes = header().encode();
            bytes[at] ^= 1;
            assert!(SegmentHeader::parse(Path::new("x"), 4096, &bytes).is_err(), "{at}");
        }
    }

    #[test]
    fn a_segment_under_another_name_is_damage() {
        let read = SegmentHeader::parse(Path::new("x"), 8192, &header().encode());
        assert!(matches!(read, Err(Error::Damaged { position: 8192, .. })));
    }

    #[test]
    fn only_names_of_segments_are_segments() {
        assert_eq!(position_of_name(&segment_name(77)), Some(77));
        assert_eq!(position_of_name("spare-00000000000000000001.wal"), None);
        assert_eq!(position_of_name("+0000000000000000001.wal"), None);
        assert_eq!(position_of_name("lock"), None);
    }
}
