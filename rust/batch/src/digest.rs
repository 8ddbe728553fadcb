//! What the batches of one range do to producer state, without the batches.
//!
//! Invariant: applying the digest's entries in order to any state gives what applying every batch
//! header of the range would have given. So a data batch may be left out when five later ones of
//! its producer are there (a state keeps five), unless a transaction may have begun with it.
//! Markers are all kept, for the list of aborted transactions. Batches without a producer id leave
//! no trace: their digest is empty, and empty is encoded as no bytes.
//!
//! Encoded: version (1 byte), then entries of 40 bytes, big-endian: producer id i64, base offset
//! i64, max timestamp i64, last offset delta i32, base sequence i32, coordinator epoch i32,
//! producer epoch i16, kind u8 (0 data, 1 transactional data, 2 abort, 3 commit), reserved u8 (0).

use std::collections::{HashMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use crate::header::{
    BatchHeader, Corrupt, HEADER_BYTES, NO_PRODUCER_ID, NO_SEQUENCE, add_sequence, batches,
};
use crate::marker::{EndMarker, MarkerKind};

/// The version that is written.
pub const DIGEST_VERSION: u8 = 1;
const ENTRY_BYTES: usize = 40;
/// As many as a producer may have in flight; what a state remembers of each (Kafka).
const BATCHES_KEPT: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Data = 0,
    Transactional = 1,
    Abort = 2,
    Commit = 3,
}

/// A batch header, as far as it matters to producer state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestEntry {
    pub producer_id: i64,
    pub base_offset: i64,
    /// Of a marker: its record's timestamp.
    pub max_timestamp: i64,
    pub last_offset_delta: i32,
    pub base_sequence: i32,
    /// Of markers; -1 in data.
    pub coordinator_epoch: i32,
    pub producer_epoch: i16,
    pub is_transactional: bool,
    /// None in data.
    pub marker: Option<MarkerKind>,
}

impl DigestEntry {
    /// What `batch` does to producer state; None if nothing. `batch` is the whole batch of `header`.
    pub fn of(header: &BatchHeader, batch: &[u8]) -> Result<Option<Self>, Corrupt> {
        if !header.has_producer_id() {
            return Ok(None);
        }
        let mut entry = Self {
            producer_id: header.producer_id,
            base_offset: header.base_offset,
            max_timestamp: header.max_timestamp,
            last_offset_delta: header.last_offset_delta,
            base_sequence: header.base_sequence,
            coordinator_epoch: -1,
            producer_epoch: header.producer_epoch,
            is_transactional: header.is_transactional(),
            marker: None,
        };
        if header.is_control() {
            let Some(marker) = EndMarker::parse(header, batch)? else {
                return Ok(None);
            };
            entry.max_timestamp = marker.timestamp;
            entry.coordinator_epoch = marker.coordinator_epoch;
            entry.is_transactional = true;
            entry.marker = Some(marker.kind);
        }
        Ok(Some(entry))
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    fn kind(&self) -> Kind {
        match (self.marker, self.is_transactional) {
            (Some(MarkerKind::Abort), _) => Kind::Abort,
            (Some(MarkerKind::Commit), _) => Kind::Commit,
            (None, true) => Kind::Transactional,
            (None, false) => Kind::Data,
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i64(self.producer_id);
        out.put_i64(self.base_offset);
        out.put_i64(self.max_timestamp);
        out.put_i32(self.last_offset_delta);
        out.put_i32(self.base_sequence);
        out.put_i32(self.coordinator_epoch);
        out.put_i16(self.producer_epoch);
        out.put_u8(self.kind() as u8);
        out.put_u8(0);
    }

    fn decode(bytes: &[u8; ENTRY_BYTES], at: usize) -> Result<Self, Corrupt> {
        let i64_at = |from: usize| i64::from_be_bytes(take(bytes, from));
        let i32_at = |from: usize| i32::from_be_bytes(take(bytes, from));
        let (is_transactional, marker) = match bytes[38] {
            0 => (false, None),
            1 => (true, None),
            2 => (true, Some(MarkerKind::Abort)),
            3 => (true, Some(MarkerKind::Commit)),
            kind => return Err(Corrupt::new(at + 38, format!("kind {kind} of a digest entry"))),
        };
        if bytes[39] != 0 {
            return Err(Corrupt::new(at + 39, "a reserved byte of a digest entry is not zero"));
        }
        if i64_at(0) <= NO_PRODUCER_ID || i32_at(24) < 0 {
            return Err(Corrupt::new(at, "a digest entry without a producer or with no offsets"));
        }
        Ok(Self {
            producer_id: i64_at(0),
            base_offset: i64_at(8),
            max_timestamp: i64_at(16),
            last_offset_delta: i32_at(24),
            base_sequence: i32_at(28),
            coordinator_epoch: i32_at(32),
            producer_epoch: i16::from_be_bytes(take(bytes, 36)),
            is_transactional,
            marker,
        })
    }
}

fn take<const N: usize>(bytes: &[u8; ENTRY_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[derive(Debug, Default)]
struct Tail {
    /// Its newest data batches: number of the entry, and whether it must stay anyway.
    newest: VecDeque<(u64, bool)>,
    in_transaction: bool,
}

/// Gathers the digest of a range. Feed it the batches in the order of their offsets.
#[derive(Debug, Default)]
pub struct Digest {
    /// Numbered from `first`; None where an entry has become superfluous.
    entries: VecDeque<Option<DigestEntry>>,
    dropped: usize,
    /// Entries are numbered in the order of their coming; `numbers[i]` is the one of `entries[i]`.
    numbers: VecDeque<u64>,
    next_number: u64,
    producers: HashMap<i64, Tail>,
}

impl Digest {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch; `batch` is the whole batch of `header`. An error leaves the digest unchanged.
    pub fn add(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), Corrupt> {
        if let Some(entry) = DigestEntry::of(header, batch)? {
            self.push(entry);
        }
        Ok(())
    }

    /// Adds what another digest says of the range that follows.
    pub fn extend(&mut self, encoded: &[u8]) -> Result<(), Corrupt> {
        for entry in decode_digest(encoded)? {
            self.push(entry);
        }
        Ok(())
    }

    pub fn push(&mut self, entry: DigestEntry) {
        let tail = self.producers.entry(entry.producer_id).or_default();
        if entry.marker.is_some() {
            tail.in_transaction = false;
        } else {
            let begins = entry.is_transactional && !tail.in_transaction;
            tail.in_transaction |= entry.is_transactional;
            tail.newest.push_back((self.next_number, begins));
            let superfluous = if tail.newest.len() > BATCHES_KEPT {
                tail.newest.pop_front().filter(|(_, must_stay)| !must_stay)
            } else {
                None
            };
            if let Some((number, _)) = superfluous {
                self.drop_entry(number);
            }
        }
        self.entries.push_back(Some(entry));
        self.numbers.push_back(self.next_number);
        self.next_number += 1;
    }

    fn drop_entry(&mut self, number: u64) {
        if let Ok(index) = self.numbers.binary_search(&number) {
            self.entries[index] = None;
            self.dropped += 1;
        }
        if self.dropped > 64 && self.dropped * 2 > self.entries.len() {
            let mut numbers = self.numbers.iter();
            let mut kept = VecDeque::with_capacity(self.entries.len() - self.dropped);
            for entry in &self.entries {
                if let (Some(&number), true) = (numbers.next(), entry.is_some()) {
                    kept.push_back(number);
                }
            }
            self.numbers = kept;
            self.entries.retain(Option::is_some);
            self.dropped = 0;
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &DigestEntry> {
        self.entries.iter().flatten()
    }

    pub fn len(&self) -> usize {
        self.entries.len() - self.dropped
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, for `decode_digest`. No bytes when nothing was to be said.
    pub fn encode(&self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        let mut out = BytesMut::with_capacity(1 + self.len() * ENTRY_BYTES);
        out.put_u8(DIGEST_VERSION);
        for entry in self.entries() {
            entry.encode(&mut out);
        }
        out.freeze()
    }
}

/// The entries of an encoded digest, in order.
pub fn decode_digest(encoded: &[u8]) -> Result<Vec<DigestEntry>, Corrupt> {
    let Some((&version, mut rest)) = encoded.split_first() else {
        return Ok(Vec::new());
    };
    if version != DIGEST_VERSION {
        let why = format!("a digest of version {version}, known is {DIGEST_VERSION}");
        return Err(Corrupt::new(0, why));
    }
    let mut entries = Vec::with_capacity(rest.len() / ENTRY_BYTES);
    while let Some((bytes, after)) = rest.split_first_chunk::<ENTRY_BYTES>() {
        entries.push(DigestEntry::decode(bytes, encoded.len() - rest.len())?);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Corrupt::new(encoded.len() - rest.len(), "a digest entry that is cut short"));
    }
    Ok(entries)
}

/// The digest of concatenated batches.
pub fn digest_of(data: &Bytes) -> Result<Digest, Corrupt> {
    let mut digest = Digest::new();
    let mut walk = batches(data);
    let mut start = walk.position();
    while let Some(item) = walk.next() {
        let (header, batch) = item?;
        digest.add(&header, &batch).map_err(|corrupt| corrupt.shifted(start))?;
        start = walk.position();
    }
    debug_assert!(start == data.len() || start < HEADER_BYTES);
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(producer_id: i64, base_offset: i64, is_transactional: bool) -> DigestEntry {
        DigestEntry {
            producer_id,
            base_offset,
            max_timestamp: base_offset * 10,
            last_offset_delta: 0,
            base_sequence: base_offset as i32,
            coordinator_epoch: -1,
            producer_epoch: 0,
            is_transactional,
            marker: None,
        }
    }

    fn marker(producer_id: i64, base_offset: i64) -> DigestEntry {
        DigestEntry {
            base_sequence: -1,
            coordinator_epoch: 4,
            marker: Some(MarkerKind::Abort),
            ..data(producer_id, base_offset, true)
        }
    }

    fn offsets(digest: &Digest) -> Vec<i64> {
        digest.entries().map(|entry| entry.base_offset).collect()
    }

    #[test]
    fn the_last_five_of_each_producer_stay() {
        let mut digest = Digest::new();
        for offset in 0..1_000 {
            digest.push(data(offset % 2, offset, false));
        }
        assert_eq!(offsets(&digest), (990..1_000).collect::<Vec<_>>());
        assert_eq!(digest.len(), 10);
    }

    #[test]
    fn the_first_batch_of_a_transaction_stays() {
        let mut digest = Digest::new();
        (0..100).for_each(|offset| digest.push(data(1, offset, true)));
        digest.push(marker(1, 100));
        (101..200).for_each(|offset| digest.push(data(1, offset, true)));
        assert_eq!(offsets(&digest), [0, 100, 101, 195, 196, 197, 198, 199]);
    }

    #[test]
    fn decoding_inverts_encoding() {
        let mut digest = Digest::new();
        digest.push(data(1, 3, true));
        digest.push(marker(1, 4));
        digest.push(data(2, 5, false));
        let entries: Vec<_> = digest.entries().copied().collect();
        assert_eq!(decode_digest(&digest.encode()), Ok(entries));
        assert_eq!(decode_digest(&Digest::new().encode()), Ok(vec![]));
    }

    /// Digests of version 1 lie in object stores: these bytes are read for ever.
    #[test]
    fn version_1_is_read() {
        #[rustfmt::skip]
        let stored = [
            1,
            0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0,
            0, 0, 0, 2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 3, 1, 0,
            0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0, 7,
            0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4, 0, 3, 2, 0,
        ];
        let batch = DigestEntry {
            producer_id: 9,
            base_offset: (1 << 32) + 5,
            max_timestamp: 1 << 40,
            last_offset_delta: 2,
            base_sequence: i32::MAX,
            coordinator_epoch: -1,
            producer_epoch: 3,
            is_transactional: true,
            marker: None,
        };
        assert_eq!(batch.last_sequence(), 1);
        let marker = DigestEntry {
            base_offset: (1 << 32) + 8,
            max_timestamp: (1 << 40) + 7,
            last_offset_delta: 0,
            base_sequence: -1,
            coordinator_epoch: 4,
            marker: Some(MarkerKind::Abort),
            ..batch
        };
        assert_eq!(decode_digest(&stored), Ok(vec![batch, marker]));
    }

    #[test]
    fn damaged_digests_are_refused() {
        let mut digest = Digest::new();
        digest.push(data(1, 3, true));
        let bytes = digest.encode();
        for end in 1..bytes.len() {
            let entries = decode_digest(&bytes[..end]);
            assert!(entries.is_err() || end == 1, "{end} bytes");
        }
        let mut newer = bytes.to_vec();
        newer[0] = 2;
        assert!(decode_digest(&newer).is_err());
    }

    #[test]
    fn a_digest_of_digests_is_the_digest_of_all() {
        let mut whole = Digest::new();
        let (mut first, mut second) = (Digest::new(), Digest::new());
        for offset in 0..300 {
            let entry = match offset % 37 {
                36 => marker(offset % 3, offset),
                _ => data(offset % 3, offset, true),
            };
            whole.push(entry);
            if offset < 150 { first.push(entry) } else { second.push(entry) }
        }
        let mut joined = Digest::new();
        joined.extend(&first.encode()).expect("first");
        joined.extend(&second.encode()).expect("second");
        assert_eq!(offsets(&joined), offsets(&whole));
    }
}
