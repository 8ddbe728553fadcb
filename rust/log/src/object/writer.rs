//! Writing an object: runs of batches in, parts of one body out.

use std::fmt;

use automq_batch::{Corrupt, Digest};
use bytes::Bytes;

use super::block::{BLOCK_HEADER_BYTES, BlockHeader, DIGEST_HEADER_BYTES, digest_checksum};
use super::body::Body;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::{BlockEntry, ObjectIndex, StreamEntry, ranges};
use super::{ClusterId, OBJECT_VERSION, u32_at};
use crate::batches::{BatchAt, walk};
use crate::summed::Summed;

/// About the payload of a block; one that holds a single larger batch grows to hold it.
pub const BLOCK_BYTES: usize = 512 * 1024;

/// What an object holds of one stream. `bytes` counts batches, without block headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub stream: i64,
    pub start: i64,
    pub end: i64,
    pub bytes: u64,
    pub max_timestamp: i64,
    pub record_count: u64,
}

/// A finished object: `parts`, one after another, are its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltObject {
    pub object_id: i64,
    pub parts: Vec<Bytes>,
    pub size_bytes: u64,
    pub index_position: u64,
    pub index_bytes: u64,
    pub ranges: Vec<Range>,
}

/// Batches that cannot be written as they were given: a mistake of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    BadBatch {
        stream: i64,
        bad: Corrupt,
    },
    BadDigest {
        stream: i64,
        bad: Corrupt,
    },
    OutOfOrder {
        stream: i64,
        why: String,
    },
    /// An earlier call failed, so what was written is not whole.
    Broken,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadBatch { stream, bad } => write!(f, "a batch of stream {stream}: {bad}"),
            Self::BadDigest { stream, bad } => write!(f, "the digest of stream {stream}: {bad}"),
            Self::OutOfOrder { stream, why } => write!(f, "stream {stream}: {why}"),
            Self::Broken => write!(f, "the writer failed before and has no whole object"),
        }
    }
}

impl std::error::Error for WriteError {}

/// Takes runs in order of streams and offsets, then gives the object.
#[derive(Debug)]
pub struct ObjectWriter {
    object_id: i64,
    cluster_id: ClusterId,
    block_bytes: usize,
    body: Body,
    streams: Vec<StreamEntry>,
    blocks: Vec<BlockEntry>,
    digests: Vec<(i64, Bytes)>,
    digest: Digest,
    block: Block,
    /// Where the last run ended: the end of the open block, if there is one.
    run_end: i64,
    is_broken: bool,
}

/// The block that is being filled.
#[derive(Debug, Default)]
struct Block {
    start: i64,
    next: i64,
    pieces: Vec<Summed>,
    payload_bytes: usize,
    record_count: u64,
    max_timestamp: i64,
}

impl ObjectWriter {
    pub fn new(object_id: i64, cluster_id: ClusterId) -> Self {
        Self::with_block_bytes(object_id, cluster_id, BLOCK_BYTES)
    }

    pub fn with_block_bytes(object_id: i64, cluster_id: ClusterId, block_bytes: usize) -> Self {
        Self {
            object_id,
            cluster_id,
            block_bytes,
            body: Body::default(),
            streams: Vec::new(),
            blocks: Vec::new(),
            digests: Vec::new(),
            digest: Digest::new(),
            block: Block::default(),
            run_end: 0,
            is_broken: false,
        }
    }

    /// Bytes written so far, the open block not counted.
    pub fn size_bytes(&self) -> u64 {
        self.body.size_bytes()
    }

    /// Adds `[start, end)` of a stream: behind the runs added before, of this stream or a lower one.
    /// A run that goes on where the one before ended goes on in its block as well.
    ///
    /// The digest is taken from the batches, unless one is given: batches that were left out by log
    /// compaction still count for producers. After an error the writer is of no use.
    pub fn add(
        &mut self,
        stream: i64,
        range: (i64, i64),
        pieces: impl IntoIterator<Item: Into<Summed>>,
        digest: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        let added = self.add_run(stream, range, pieces, digest);
        self.is_broken = added.is_err();
        added
    }

    fn add_run(
        &mut self,
        stream: i64,
        (start, end): (i64, i64),
        pieces: impl IntoIterator<Item: Into<Summed>>,
        digest: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        self.begin_run(stream, start, end)?;
        let bad_digest = |bad| WriteError::BadDigest { stream, bad };
        if let Some(encoded) = digest {
            self.digest.extend(encoded).map_err(bad_digest)?;
        }
        let mut any = false;
        for piece in pieces {
            let piece = piece.into();
            any |= !piece.bytes.is_empty();
            self.add_piece(stream, end, &piece, digest.is_none())?;
        }
        if !any {
            let why = format!("no batches for [{start}, {end})");
            return Err(WriteError::OutOfOrder { stream, why });
        }
        self.run_end = end;
        Ok(())
    }

    fn begin_run(&mut self, stream: i64, start: i64, end: i64) -> Result<(), WriteError> {
        let refuse = |why| Err(WriteError::OutOfOrder { stream, why });
        let last = self.streams.last().map(|entry| entry.stream);
        if stream < 0 || start < 0 || end <= start {
            return refuse(format!("[{start}, {end}) is no range of offsets"));
        }
        if let Some(last) = last.filter(|last| *last > stream) {
            return refuse(format!("comes behind stream {last}"));
        }
        if last == Some(stream) && start < self.run_end {
            return refuse(format!("[{start}, {end}) comes behind offset {}", self.run_end));
        }
        if last != Some(stream) {
            self.end_stream();
            self.streams.push(StreamEntry {
                stream,
                first_block: self.blocks.len(),
                digest_position: 0,
                digest_bytes: 0,
            });
        } else if start > self.run_end {
            self.end_open_block();
        }
        if self.block.payload_bytes == 0 {
            self.block.start = start;
        }
        self.block.next = start;
        Ok(())
    }

    fn add_piece(
        &mut self,
        stream: i64,
        end: i64,
        piece: &Summed,
        digested: bool,
    ) -> Result<(), WriteError> {
        let bad = |bad| WriteError::BadBatch { stream, bad };
        let mut from = 0;
        for batch in walk(&piece.bytes, 0) {
            let batch = batch.map_err(bad)?;
            let (base, next) = (batch.header.base_offset, batch.next_offset());
            if base < self.block.next || next > end {
                let free = self.block.next;
                let why = format!("a batch [{base}, {next}) where [{free}, {end}) is free");
                return Err(WriteError::OutOfOrder { stream, why });
            }
            let size = self.block.payload_bytes + batch.end_position() - from;
            if size > self.block_bytes && self.block.payload_bytes + batch.position > from {
                self.block.take(piece, from, batch.position);
                from = batch.position;
                self.end_block(self.block.next);
            }
            if digested {
                let whole = &piece.bytes[batch.position..batch.end_position()];
                self.digest.add(&batch.header, whole).map_err(bad)?;
            }
            self.block.note(&batch);
        }
        self.block.take(piece, from, piece.bytes.len());
        Ok(())
    }

    /// Writes the open block, of offsets up to `end`; the next one starts there.
    fn end_block(&mut self, end: i64) {
        let next = Block { start: end, next: end, ..Block::default() };
        let block = std::mem::replace(&mut self.block, next);
        let header = BlockHeader {
            object_id: self.object_id,
            stream: self.streams[self.streams.len() - 1].stream,
            start: block.start,
            end,
            payload_bytes: block.payload_bytes as u64,
        };
        self.blocks.push(BlockEntry {
            start: block.start,
            end,
            record_count: block.record_count,
            position: self.body.size_bytes(),
            size_bytes: (BLOCK_HEADER_BYTES + block.payload_bytes) as u64,
            max_timestamp: block.max_timestamp,
        });
        self.body.copy(&header.encode(&block.pieces));
        block.pieces.into_iter().for_each(|piece| self.body.push(piece.bytes));
    }

    fn end_open_block(&mut self) {
        if self.block.payload_bytes > 0 {
            self.end_block(self.run_end);
        }
    }

    fn end_stream(&mut self) {
        self.end_open_block();
        let digest = std::mem::take(&mut self.digest);
        if let Some(entry) = self.streams.last_mut()
            && !digest.is_empty()
        {
            let digest = digest.encode();
            entry.digest_bytes = (DIGEST_HEADER_BYTES + digest.len()) as u64;
            self.digests.push((entry.stream, digest));
        }
    }

    /// The object; None when nothing was added.
    pub fn finish(mut self) -> Result<Option<BuiltObject>, WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        if self.streams.is_empty() {
            return Ok(None);
        }
        self.end_stream();
        let digest_position = self.body.size_bytes();
        for (stream, digest) in std::mem::take(&mut self.digests) {
            let checksum = digest_checksum(self.object_id, stream, &digest);
            self.body.copy(&checksum.to_be_bytes());
            self.body.push(digest);
        }
        let index_position = self.body.size_bytes();
        let index =
            ObjectIndex::encode(self.object_id, self.cluster_id, &self.streams, &self.blocks);
        let index_bytes = index.len() as u64;
        let size_bytes = index_position + index_bytes + FOOTER_BYTES as u64;
        let footer = Footer {
            object_id: self.object_id,
            cluster_id: self.cluster_id,
            object_bytes: size_bytes,
            digest_position,
            index_position,
            index_bytes,
            index_checksum: u32_at(&index, 4),
            version: OBJECT_VERSION,
        };
        self.body.push(index.into());
        self.body.copy(&footer.encode());
        let ranges = ranges(&self.streams, &self.blocks);
        let parts = self.body.finish();
        let object_id = self.object_id;
        Ok(Some(BuiltObject { object_id, parts, size_bytes, index_position, index_bytes, ranges }))
    }
}

impl Block {
    fn note(&mut self, batch: &BatchAt) {
        let newest = batch.header.max_timestamp;
        let is_first = self.next == self.start;
        self.max_timestamp = if is_first { newest } else { self.max_timestamp.max(newest) };
        self.record_count += batch.record_count();
        self.next = batch.next_offset();
    }

    fn take(&mut self, piece: &Summed, from: usize, to: usize) {
        if from < to {
            self.payload_bytes += to - from;
            self.pieces.push(piece.part(from, to));
        }
    }
}
