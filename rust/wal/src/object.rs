//! One object of a write-ahead log that lies in an object store: its bytes.
//!
//! Such a WAL is a run of numbered objects, each created if absent under the number after the one
//! before. A **batch** holds records, a **fence** ends the WAL for its owner, an **end** was written
//! by the owner itself, and the **begin** mark says whose the WAL is. One object is one write of the
//! store, whole or not there, so its checksum covers all of it and there is no torn tail.
//!
//! # Bytes of an object (format version 1)
//!
//! All integers are little-endian.
//!
//! | at | size | header |
//! |---:|---:|---|
//! | 0 | 8 | `AQWALOBJ` |
//! | 8 | 4 | CRC-32C of bytes 12 to 96 |
//! | 12 | 2 | format version, 1 |
//! | 14 | 2 | kind: 1 begin, 2 batch, 3 fence, 4 end |
//! | 16 | 8 | WAL id |
//! | 24 | 8 | number (0 for the begin mark) |
//! | 32 | 16 | cluster id |
//! | 48 | 16 | nonce: which attempt to create this number it is |
//! | 64 | 4 | id of the node that wrote it: the owner, or the taker that fenced |
//! | 68 | 4 | count of records |
//! | 72 | 8 | size of all that follows the header |
//! | 80 | 4 | CRC-32C of all that follows the header |
//! | 84 | 4 | 1 + how many of the numbers right below were not acknowledged yet; 0: not said |
//! | 88 | 8 | epoch of that node |
//! | 96 | | 32 bytes a record, then the payloads, in the records' order, without gaps |
//!
//! | at | size | record |
//! |---:|---:|---|
//! | 0 | 8 | stream id |
//! | 8 | 8 | base offset |
//! | 16 | 8 | last offset |
//! | 24 | 4 | epoch |
//! | 28 | 4 | payload size |

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

use crate::record::Record;

/// What a header takes; as much is enough to tell what an object is.
pub const OBJECT_HEADER_BYTES: usize = 96;
/// What a record takes beside its payload.
pub const OBJECT_RECORD_BYTES: usize = 32;
/// A position is the number of an object in its upper bits and of a record in it in these.
pub const INDEX_BITS: u32 = 24;
/// So many records end a batch.
pub const RECORDS_MAX: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"AQWALOBJ";
const VERSION: u16 = 1;
/// Payloads below this are copied next to each other: a piece of its own costs more than its bytes.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

/// What an object of a WAL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Begin,
    Batch,
    Fence,
    End,
}

impl Kind {
    /// As it is stored.
    pub fn code(self) -> u16 {
        match self {
            Self::Begin => 1,
            Self::Batch => 2,
            Self::Fence => 3,
            Self::End => 4,
        }
    }

    /// The kind of a stored code.
    pub fn of(code: u16) -> Option<Self> {
        [Self::Begin, Self::Batch, Self::Fence, Self::End].into_iter().find(|it| it.code() == code)
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHeader {
    pub kind: Kind,
    pub wal_id: i64,
    pub number: u64,
    pub cluster_id: [u8; 16],
    pub nonce: [u8; 16],
    pub node_id: i32,
    pub node_epoch: i64,
    pub records: u32,
    pub body_bytes: u64,
    pub body_crc: u32,
    /// Every number below this one was stored and acknowledged when the batch was sent, so none of
    /// them is ever absent, but for those that are trimmed.
    pub acknowledged: Option<u64>,
}

/// Why bytes are no object of a WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadObject {
    /// They are not what was written.
    Damaged(&'static str),
    /// A later version wrote them.
    Unsupported(u16),
}

impl fmt::Display for BadObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) => f.write_str(why),
            Self::Unsupported(version) => {
                write!(f, "it has format version {version}; this release knows up to {VERSION}")
            }
        }
    }
}

impl std::error::Error for BadObject {}

impl ObjectHeader {
    fn encode(&self) -> [u8; OBJECT_HEADER_BYTES] {
        let mut out = [0; OBJECT_HEADER_BYTES];
        out[0..8].copy_from_slice(MAGIC);
        out[12..14].copy_from_slice(&VERSION.to_le_bytes());
        out[14..16].copy_from_slice(&self.kind.code().to_le_bytes());
        out[16..24].copy_from_slice(&self.wal_id.to_le_bytes());
        out[24..32].copy_from_slice(&self.number.to_le_bytes());
        out[32..48].copy_from_slice(&self.cluster_id);
        out[48..64].copy_from_slice(&self.nonce);
        out[64..68].copy_from_slice(&self.node_id.to_le_bytes());
        out[68..72].copy_from_slice(&self.records.to_le_bytes());
        out[72..80].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[80..84].copy_from_slice(&self.body_crc.to_le_bytes());
        out[84..88].copy_from_slice(&self.behind().to_le_bytes());
        out[88..96].copy_from_slice(&self.node_epoch.to_le_bytes());
        let checksum = crc(&[&out[12..]]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// How far what was acknowledged is behind the number, as it is stored.
    fn behind(&self) -> u32 {
        let behind = self.acknowledged.and_then(|upto| self.number.checked_sub(upto));
        behind.and_then(|it| u32::try_from(it + 1).ok()).unwrap_or(0)
    }

    /// The header that `bytes` begin with, its checksum verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadObject> {
        let Some(header) = bytes.first_chunk::<OBJECT_HEADER_BYTES>() else {
            return Err(BadObject::Damaged("it is shorter than a header"));
        };
        if &header[0..8] != MAGIC {
            return Err(BadObject::Damaged("it does not begin as an object of a WAL"));
        }
        let version = u16::from_le_bytes(part(header, 12));
        if version != VERSION {
            return Err(BadObject::Unsupported(version));
        }
        if crc(&[&header[12..]]) != u32::from_le_bytes(part(header, 8)) {
            return Err(BadObject::Damaged("the checksum of its header does not match"));
        }
        let Some(kind) = Kind::of(u16::from_le_bytes(part(header, 14))) else {
            return Err(BadObject::Damaged("it is of no known kind"));
        };
        let number = u64::from_le_bytes(part(header, 24));
        let behind = u32::from_le_bytes(part(header, 84)).checked_sub(1);
        let acknowledged = behind.and_then(|it| number.checked_sub(u64::from(it)));
        Ok(Self {
            kind,
            wal_id: i64::from_le_bytes(part(header, 16)),
            number,
            cluster_id: part(header, 32),
            nonce: part(header, 48),
            node_id: i32::from_le_bytes(part(header, 64)),
            node_epoch: i64::from_le_bytes(part(header, 88)),
            records: u32::from_le_bytes(part(header, 68)),
            body_bytes: u64::from_le_bytes(part(header, 72)),
            body_crc: u32::from_le_bytes(part(header, 80)),
            acknowledged,
        })
    }
}

/// Records on their way into one object.
#[derive(Debug, Default)]
pub struct ObjectBatch {
    table: BytesMut,
    payloads: Vec<Bytes>,
    payload_bytes: usize,
}

impl ObjectBatch {
    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// The size of the object that it makes.
    pub fn size_bytes(&self) -> usize {
        OBJECT_HEADER_BYTES + self.table.len() + self.payload_bytes
    }

    /// Adds a record. The payload is shared, not copied.
    pub fn push(&mut self, stream: i64, epoch: i32, base: i64, last: i64, payload: Bytes) {
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        assert_eq!(size as usize, payload.len(), "a payload of {} bytes", payload.len());
        self.table.put_i64_le(stream);
        self.table.put_i64_le(base);
        self.table.put_i64_le(last);
        self.table.put_i32_le(epoch);
        self.table.put_u32_le(size);
        self.payload_bytes += payload.len();
        self.payloads.push(payload);
    }

    /// The object's bytes in pieces. `header` gets count, size and checksum of what it holds.
    pub fn encode(&self, mut header: ObjectHeader) -> Vec<Bytes> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.table);
        self.payloads.iter().for_each(|payload| digest.update(payload));
        header.records = u32::try_from(self.payloads.len()).unwrap_or(u32::MAX);
        header.body_bytes = (self.table.len() + self.payload_bytes) as u64;
        header.body_crc = finish(&digest);
        let mut pieces = Vec::new();
        let mut copied = BytesMut::with_capacity(OBJECT_HEADER_BYTES + self.table.len());
        copied.put_slice(&header.encode());
        copied.put_slice(&self.table);
        for payload in &self.payloads {
            if payload.len() < COPIED_BELOW_BYTES {
                copied.put_slice(payload);
                continue;
            }
            if !copied.is_empty() {
                pieces.push(copied.split().freeze());
            }
            pieces.push(payload.clone());
        }
        if !copied.is_empty() {
            pieces.push(copied.freeze());
        }
        pieces
    }
}

/// The position of a record: `index` records are before it in object `number`.
pub fn position_of(number: u64, index: usize) -> u64 {
    number << INDEX_BITS | index as u64
}

/// The header and the records of a whole object, all of it verified. Payloads share its memory.
pub fn read_object(data: &Bytes) -> Result<(ObjectHeader, Vec<Record>), BadObject> {
    let header = ObjectHeader::parse(data)?;
    let body = data.slice(OBJECT_HEADER_BYTES..);
    if body.len() as u64 != header.body_bytes {
        return Err(BadObject::Damaged("its size is not the one that it names"));
    }
    if crc(&[&body]) != header.body_crc {
        return Err(BadObject::Damaged("its checksum does not match"));
    }
    let wrong = BadObject::Damaged("its table of records does not fit its size");
    let count = header.records as usize;
    let table_bytes = count.checked_mul(OBJECT_RECORD_BYTES).ok_or_else(|| wrong.clone())?;
    let Some(table) = body.get(..table_bytes) else { return Err(wrong) };
    let mut records = Vec::with_capacity(count);
    let mut at = table_bytes;
    let (rows, _) = table.as_chunks::<OBJECT_RECORD_BYTES>();
    for (index, row) in rows.iter().enumerate() {
        let end = at + u32::from_le_bytes(part(row, 28)) as usize;
        if end > body.len() {
            return Err(wrong);
        }
        records.push(Record {
            position: position_of(header.number, index),
            end_position: position_of(header.number, index + 1),
            stream: i64::from_le_bytes(part(row, 0)),
            base_offset: i64::from_le_bytes(part(row, 8)),
            last_offset: i64::from_le_bytes(part(row, 16)),
            epoch: i32::from_le_bytes(part(row, 24)),
            payload: body.slice(at..end),
        });
        at = end;
    }
    if at != body.len() {
        return Err(wrong);
    }
    Ok((header, records))
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|bytes| digest.update(bytes));
    finish(&digest)
}

fn finish(digest: &Digest) -> u32 {
    // A CRC of 32 bits, in the lower half of what the library gives for every kind.
    (digest.finalize() & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, number: u64) -> ObjectHeader {
        ObjectHeader {
            kind,
            wal_id: 7,
            number,
            cluster_id: *b"0123456789abcdef",
            nonce: *b"nonce-nonce-nonc",
            node_id: 3,
            node_epoch: 9,
            records: 0,
            body_bytes: 0,
            body_crc: 0,
            acknowledged: None,
        }
    }

    fn joined(pieces: Vec<Bytes>) -> Bytes {
        pieces.concat().into()
    }

    fn batch(sizes: &[usize]) -> ObjectBatch {
        let mut batch = ObjectBatch::default();
        for (number, size) in sizes.iter().enumerate() {
            let payload = Bytes::from(vec![number as u8; *size]);
            batch.push(1 << 40, 5, number as i64, number as i64 + 9, payload);
        }
        batch
    }

    #[test]
    fn what_was_put_in_comes_out_with_its_positions() {
        let batch = batch(&[10, 0, 40_000, 3]);
        let data = joined(batch.encode(header(Kind::Batch, 6)));
        assert_eq!(data.len(), batch.size_bytes());
        let (read, records) = read_object(&data).unwrap();
        assert_eq!((read.kind, read.number, read.node_id, read.node_epoch), (Kind::Batch, 6, 3, 9));
        assert_eq!((read.nonce, read.records), (*b"nonce-nonce-nonc", 4));
        assert_eq!(records.len(), 4);
        assert_eq!((records[2].position, records[2].end_position), (6 << 24 | 2, 6 << 24 | 3));
        assert_eq!((records[2].stream, records[2].epoch), (1 << 40, 5));
        assert_eq!((records[2].base_offset, records[2].last_offset), (2, 11));
        assert_eq!(records[2].payload, vec![2; 40_000]);
        assert_eq!(records[3].payload, vec![3; 3]);
    }

    #[test]
    fn large_payloads_are_pieces_of_their_own_and_small_ones_share_one() {
        assert_eq!(batch(&[10, 20, 30]).encode(header(Kind::Batch, 0)).len(), 1);
        assert_eq!(batch(&[10, 20_000, 30, 40]).encode(header(Kind::Batch, 0)).len(), 3);
        assert_eq!(batch(&[20_000, 20_000]).encode(header(Kind::Batch, 0)).len(), 3);
    }

    #[test]
    fn marks_have_no_records() {
        for kind in [Kind::Begin, Kind::Fence, Kind::End] {
            let data = joined(ObjectBatch::default().encode(header(kind, 1)));
            assert_eq!(data.len(), OBJECT_HEADER_BYTES);
            let (read, records) = read_object(&data).unwrap();
            assert_eq!((read.kind, records.len()), (kind, 0));
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let data = joined(batch(&[5, 7]).encode(header(Kind::Batch, 6)));
        for at in 0..data.len() {
            for bit in 0..8 {
                let mut changed = data.to_vec();
                changed[at] ^= 1 << bit;
                assert!(read_object(&changed.into()).is_err(), "byte {at}, bit {bit}");
            }
            assert!(read_object(&data.slice(..at)).is_err(), "cut at {at}");
        }
        let longer = [&data[..], b"x"].concat();
        assert!(read_object(&longer.into()).is_err());
    }

    #[test]
    fn what_was_acknowledged_is_kept_and_may_be_left_unsaid() {
        let far = u64::from(u32::MAX) + 9;
        for (number, said, read) in [
            (6, None, None),
            (6, Some(6), Some(6)),
            (6, Some(0), Some(0)),
            (6, Some(7), None),
            (far, Some(10), Some(10)),
            (far, Some(9), None),
        ] {
            let header = ObjectHeader { acknowledged: said, ..header(Kind::Batch, number) };
            let data = joined(batch(&[5]).encode(header));
            assert_eq!(read_object(&data).unwrap().0.acknowledged, read, "{number} {said:?}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut data = joined(batch(&[5]).encode(header(Kind::Batch, 6))).to_vec();
        data[12] = 2;
        assert_eq!(read_object(&data.into()), Err(BadObject::Unsupported(2)));
    }

    #[test]
    fn a_header_alone_says_what_an_object_is() {
        let data = joined(batch(&[5_000]).encode(header(Kind::Batch, 6)));
        let read = ObjectHeader::parse(&data[..OBJECT_HEADER_BYTES]).unwrap();
        assert_eq!((read.kind, read.records), (Kind::Batch, 1));
    }
}
