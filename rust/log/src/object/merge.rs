//! Merging: one object out of ranges of others, joined stream by stream.
//!
//! Invariants: of each range exactly its own batches are written, all from blocks that passed their
//! checksums; a stream's digest is those of its ranges, one after another, so that opening it gives
//! the same producers as before. A range that is not there as it was named is damage, never a gap.

use std::collections::HashMap;
use std::fmt;

use automq_batch::{Digest, decode_digest};
use bytes::Bytes;

use super::block::{BlockRef, DigestRef, cut, open_block, open_digest};
use super::{BuiltObject, ClusterId, DamagedObject, ObjectIndex, ObjectWriter, WriteError};

/// Reading so much too much is cheaper than another request.
const GAP_BYTES: u64 = 64 * 1024;
/// Of one read, unless a single block is larger.
const SPAN_BYTES: u64 = 4 << 20;

/// Offsets `[start, end)` of a stream that lie in `object`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergePart {
    pub stream: i64,
    pub object: i64,
    pub start: i64,
    pub end: i64,
}

/// Bytes `[start, end)` of a source, to be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// What cannot be written; the parts were given wrongly, or not all of them were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeError {
    Unread(MergePart),
    Write(WriteError),
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(part) => write!(f, "{part:?} was not read"),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MergeError {}

/// What was read of one part.
#[derive(Debug)]
struct Run {
    pieces: Vec<Bytes>,
    digest: Bytes,
}

/// Where a part lies in its object.
struct Place {
    part: usize,
    blocks: Vec<BlockRef>,
    digest: Option<DigestRef>,
    /// Where the object's own run of the stream begins: below the part, where a commit was clipped.
    run_start: i64,
}

/// Gathers parts from their objects, in any order, then builds the new one.
#[derive(Debug)]
pub struct ObjectMerge {
    object_id: i64,
    cluster_id: ClusterId,
    parts: Vec<MergePart>,
    by_object: HashMap<i64, Vec<usize>>,
    runs: Vec<Option<Run>>,
}

impl ObjectMerge {
    /// `parts` come by stream, then by offset.
    pub fn new(object_id: i64, cluster_id: ClusterId, parts: Vec<MergePart>) -> Self {
        let mut by_object: HashMap<i64, Vec<usize>> = HashMap::new();
        for (at, part) in parts.iter().enumerate() {
            by_object.entry(part.object).or_default().push(at);
        }
        let runs = parts.iter().map(|_| None).collect();
        Self { object_id, cluster_id, parts, by_object, runs }
    }

    /// What to read of one source, in order of positions.
    pub fn spans(&self, index: &ObjectIndex) -> Result<Vec<Span>, DamagedObject> {
        Ok(join(&self.places(index)?))
    }

    /// Takes what was read at `spans(index)`: checks every block, keeps the batches of the parts.
    pub fn take(&mut self, index: &ObjectIndex, data: &[Bytes]) -> Result<(), DamagedObject> {
        let places = self.places(index)?;
        let spans = join(&places);
        if spans.iter().map(|span| span.end - span.start).ne(data.iter().map(|d| d.len() as u64)) {
            return Err(DamagedObject::at(0, "what was read is not what was asked for"));
        }
        let source = Source { spans: &spans, data, keeps: keeps(&places, &spans) };
        for place in &places {
            self.runs[place.part] = Some(source.run(place, &self.parts[place.part])?);
        }
        Ok(())
    }

    /// The new object. Lets go of what was read as it goes.
    pub fn finish(self) -> Result<BuiltObject, MergeError> {
        let mut writer = ObjectWriter::new(self.object_id, self.cluster_id);
        for (part, run) in self.parts.iter().zip(self.runs) {
            let run = run.ok_or(MergeError::Unread(*part))?;
            writer
                .add(part.stream, (part.start, part.end), run.pieces, Some(&run.digest))
                .map_err(MergeError::Write)?;
        }
        let nothing = WriteError::OutOfOrder { stream: -1, why: "a merge of nothing".to_owned() };
        writer.finish().map_err(MergeError::Write)?.ok_or(MergeError::Write(nothing))
    }

    fn places(&self, index: &ObjectIndex) -> Result<Vec<Place>, DamagedObject> {
        let wanted = self.by_object.get(&index.object_id());
        wanted.into_iter().flatten().map(|at| self.place(index, *at)).collect()
    }

    fn place(&self, index: &ObjectIndex, at: usize) -> Result<Place, DamagedObject> {
        let part = self.parts[at];
        let all = index.find(part.stream, 0, usize::MAX);
        let run = all.first().zip(all.last()).map(|(first, last)| (first.start, last.end));
        // A range may have been clipped at its start by what was committed before, never at its end.
        let Some((run_start, _)) = run.filter(|run| run.0 <= part.start && run.1 == part.end)
        else {
            let why = format!("the metadata names {part:?}; the index has {run:?}");
            return Err(DamagedObject::at(index.index_position(), why));
        };
        let blocks = all.into_iter().filter(|block| block.end > part.start).collect();
        Ok(Place { part: at, blocks, digest: index.digest_ref(part.stream), run_start })
    }
}

/// What was read of one object.
struct Source<'a> {
    spans: &'a [Span],
    data: &'a [Bytes],
    /// By span: whether pieces may hold on to all of it, or too little of it is wanted.
    keeps: Vec<bool>,
}

impl Source<'_> {
    fn run(&self, place: &Place, part: &MergePart) -> Result<Run, DamagedObject> {
        let mut pieces = Vec::with_capacity(place.blocks.len());
        for block in &place.blocks {
            let batches = open_block(&self.bytes(block.position, block.size_bytes)?, block)?;
            if block.start >= part.start {
                pieces.push(batches);
                continue;
            }
            let kept = cut(&batches, part.start, part.end, usize::MAX, true)
                .map_err(|bad| DamagedObject::at(block.position + bad.position as u64, bad.why))?;
            pieces.extend(kept.bufs);
        }
        let digest = match place.digest {
            Some(at) => open_digest(&self.bytes(at.position, at.size_bytes)?, &at)?,
            None => Bytes::new(),
        };
        let digest =
            if place.run_start < part.start { from_start(digest, place, part)? } else { digest };
        Ok(Run { pieces, digest })
    }

    fn bytes(&self, position: u64, size_bytes: u64) -> Result<Bytes, DamagedObject> {
        let at = self.spans.partition_point(|span| span.end <= position);
        let inside = |span: &&Span| span.start <= position && position + size_bytes <= span.end;
        let Some(span) = self.spans.get(at).filter(inside) else {
            return Err(DamagedObject::at(position, "lies in nothing that was read"));
        };
        let from = (position - span.start) as usize;
        let bytes = self.data[at].slice(from..from + size_bytes as usize);
        Ok(if self.keeps[at] { bytes } else { Bytes::copy_from_slice(&bytes) })
    }
}

/// The digest without the batches below the part. What is left says the same of those above: a
/// digest leaves out only what later entries of it make superfluous.
fn from_start(digest: Bytes, place: &Place, part: &MergePart) -> Result<Bytes, DamagedObject> {
    let position = place.digest.map_or(0, |at| at.position);
    let entries = decode_digest(&digest)
        .map_err(|bad| DamagedObject::at(position + bad.position as u64, bad.why))?;
    let mut kept = Digest::new();
    entries.into_iter().filter(|entry| entry.base_offset >= part.start).for_each(|e| kept.push(e));
    Ok(kept.encode())
}

fn wanted(places: &[Place]) -> Vec<Span> {
    let span = |position, size_bytes| Span { start: position, end: position + size_bytes };
    let mut wanted: Vec<Span> = places
        .iter()
        .flat_map(|place| {
            let blocks =
                place.blocks.iter().map(move |block| span(block.position, block.size_bytes));
            blocks.chain(place.digest.map(|digest| span(digest.position, digest.size_bytes)))
        })
        .collect();
    wanted.sort_unstable_by_key(|span| span.start);
    wanted
}

fn join(places: &[Place]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for next in wanted(places) {
        let joins = |last: &&mut Span| {
            next.start - last.end <= GAP_BYTES && next.end - last.start <= SPAN_BYTES
        };
        match spans.last_mut().filter(joins) {
            Some(last) => last.end = next.end,
            None => spans.push(next),
        }
    }
    spans
}

/// A span is held whole if at least three quarters of it are wanted.
fn keeps(places: &[Place], spans: &[Span]) -> Vec<bool> {
    let mut wanted_bytes = vec![0; spans.len()];
    for part in wanted(places) {
        let at = spans.partition_point(|span| span.end <= part.start);
        wanted_bytes[at] += part.end - part.start;
    }
    let keeps = |(span, wanted): (&Span, &u64)| wanted * 4 >= (span.end - span.start) * 3;
    spans.iter().zip(&wanted_bytes).map(keeps).collect()
}
