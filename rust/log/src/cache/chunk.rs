//! A chunk: a run of whole batches of one stream that lie side by side in memory.

use bytes::Bytes;

use super::arena::{Arena, Piece};
use crate::batches::{BatchAt, walk};
use crate::summed::Summed;

/// A walk over headers inside a chunk covers at most about this much.
const MARK_EVERY_BYTES: usize = 4 * 1024;

#[derive(Clone, Debug)]
enum Place {
    Arena(Piece),
    Shared(Summed),
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    base_offset: i64,
    position: usize,
}

/// Whole batches `[start, end)`, of one generation.
#[derive(Debug)]
pub struct Chunk {
    pub generation: u64,
    pub start: i64,
    pub end: i64,
    pub max_timestamp: i64,
    pub records: u64,
    pub batches: u64,
    /// What the cache counts for it: its bytes or its arena's capacity, and this struct.
    pub charged_bytes: usize,
    place: Place,
    marks: Vec<Mark>,
}

/// A part of a chunk: positions `[from, to)`, offsets up to `next_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub from: usize,
    pub to: usize,
    pub next_offset: i64,
}

impl Chunk {
    /// A chunk that keeps `bytes` by reference.
    pub fn shared(generation: u64, start: i64, batches: Summed) -> Self {
        let charged_bytes = batches.bytes.len() + size_of::<Self>();
        Self::new(generation, start, Place::Shared(batches), charged_bytes)
    }

    /// A chunk to be filled by `push`, at the place where `arena` is filled to.
    pub fn within(generation: u64, start: i64, arena: &Arena, charged_bytes: usize) -> Self {
        let charged_bytes = charged_bytes + size_of::<Self>();
        Self::new(generation, start, Place::Arena(arena.open_piece()), charged_bytes)
    }

    fn new(generation: u64, start: i64, place: Place, charged_bytes: usize) -> Self {
        Self {
            generation,
            start,
            end: start,
            max_timestamp: i64::MIN,
            records: 0,
            batches: 0,
            charged_bytes,
            place,
            marks: Vec::new(),
        }
    }

    /// The memory of this struct and its marks, without the batches.
    pub fn index_bytes(&self) -> usize {
        size_of::<Self>() + self.marks.capacity() * size_of::<Mark>()
    }

    pub fn len(&self) -> usize {
        match &self.place {
            Place::Arena(piece) => piece.len(),
            Place::Shared(summed) => summed.bytes.len(),
        }
    }

    pub fn as_slice(&self) -> &[u8] {
        match &self.place {
            Place::Arena(piece) => piece.as_ref(),
            Place::Shared(summed) => &summed.bytes,
        }
    }

    pub fn slice(&self, from: usize, to: usize) -> Bytes {
        match &self.place {
            Place::Arena(piece) => piece.slice(from, to),
            Place::Shared(summed) => summed.bytes.slice(from..to),
        }
    }

    /// All of it, with what is known of its checksum.
    pub fn summed(&self) -> Summed {
        match &self.place {
            Place::Arena(piece) => piece.slice(0, piece.len()).into(),
            Place::Shared(summed) => summed.clone(),
        }
    }

    pub fn is_in_an_arena(&self) -> bool {
        matches!(self.place, Place::Arena(_))
    }

    pub fn shares_memory_with(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Arena(ours), Place::Arena(theirs)) => ours.shares_memory_with(theirs),
            _ => false,
        }
    }

    /// Copies `bytes` behind this chunk, which must be the last one of `arena`.
    pub fn push(&mut self, arena: &mut Arena, bytes: &[u8]) -> Bytes {
        let Place::Arena(piece) = &mut self.place else {
            panic!("a chunk kept by reference does not grow");
        };
        let from = piece.len();
        arena.push(piece, bytes);
        piece.slice(from, from + bytes.len())
    }

    /// Takes note of a batch that now lies in this chunk. Returns the memory that the note takes.
    pub fn note(&mut self, batch: &BatchAt) -> usize {
        self.end = batch.next_offset();
        self.max_timestamp = self.max_timestamp.max(batch.header.max_timestamp);
        self.records += batch.record_count();
        self.batches += 1;
        let marked = self.marks.last().map_or(0, |mark| mark.position);
        if batch.position < marked + MARK_EVERY_BYTES {
            return 0;
        }
        let before = self.marks.capacity();
        let (base_offset, position) = (batch.header.base_offset, batch.position);
        self.marks.push(Mark { base_offset, position });
        let grown = (self.marks.capacity() - before) * size_of::<Mark>();
        self.charged_bytes += grown;
        grown
    }

    /// Batches from the one that holds `start` on, that end at or below `end`, within `bytes_max`.
    pub fn cut(&self, start: i64, end: i64, bytes_max: usize, at_least_one: bool) -> Option<Cut> {
        let (size, from) = (self.len(), self.seek(start)?);
        if self.end <= end && size - from <= bytes_max {
            return Some(Cut { from, to: size, next_offset: self.end });
        }
        let mut cut = None;
        for batch in self.walk(from) {
            let to = batch.end_position();
            let fits = to - from <= bytes_max || (at_least_one && cut.is_none());
            if batch.next_offset() > end || !fits {
                break;
            }
            cut = Some(Cut { from, to, next_offset: batch.next_offset() });
        }
        cut
    }

    /// The base offset of the batch at `position`, where one starts.
    pub fn base_offset_at(&self, position: usize) -> i64 {
        self.walk(position).next().map_or(self.end, |batch| batch.header.base_offset)
    }

    /// The first batch in `[start, end)` whose newest timestamp is at or above `timestamp`.
    pub fn find_timestamp(&self, timestamp: i64, start: i64, end: i64) -> Option<BatchAt> {
        if self.max_timestamp < timestamp {
            return None;
        }
        self.walk(self.seek(start)?)
            .take_while(|batch| batch.next_offset() <= end)
            .find(|batch| batch.header.max_timestamp >= timestamp)
    }

    /// The position of the batch that holds `offset`, or of the first one above it.
    fn seek(&self, offset: i64) -> Option<usize> {
        if offset <= self.start {
            return Some(0);
        }
        let marked = self.marks.partition_point(|mark| mark.base_offset <= offset);
        let from = marked.checked_sub(1).map_or(0, |last| self.marks[last].position);
        self.walk(from).find(|batch| batch.next_offset() > offset).map(|batch| batch.position)
    }

    fn walk(&self, from: usize) -> impl Iterator<Item = BatchAt> + '_ {
        walk(self.as_slice(), from).map(|batch| batch.expect("batches are checked when appended"))
    }
}
