//! The log cache: recent batches by stream, in generations, within a budget of bytes.
//!
//! A *generation* is what one upload turns into one object: appends go to the active one, `seal`
//! closes it, `release` says that it is committed. Released generations stay as a cache and are
//! evicted oldest first when the cache is over its budget.
//!
//! Invariants: the batches of a stream have no gap; **what is not released is never evicted**, so an
//! acknowledged batch can be read here until an object holds it; what was handed out never changes.

mod arena;
mod chunk;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use automq_batch::Corrupt;
use bytes::Bytes;

use crate::batches::{BatchAt, walk};
use crate::summed::Summed;
use chunk::Chunk;
use stream::{Change, StreamLog};

pub use stream::COPIED_BELOW_BYTES;

/// Whole batches, in order. `bufs` that lie side by side in memory are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRead {
    pub bufs: Vec<Bytes>,
    pub size_bytes: usize,
    /// The first batch's base offset: at or below the start. The start when nothing was read.
    pub base_offset: i64,
    /// Where to read on: one more than the last offset read, or the start when nothing was.
    pub next_offset: i64,
}

impl CacheRead {
    pub fn empty(start: i64) -> Self {
        Self { bufs: Vec::new(), size_bytes: 0, base_offset: start, next_offset: start }
    }
}

/// One batch that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchFound {
    pub bytes: Bytes,
    pub base_offset: i64,
    pub next_offset: i64,
    pub max_timestamp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Active,
    Sealed,
    Released,
}

/// What one generation holds now. `memory_bytes` is what it costs, `payload_bytes` its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationStats {
    pub id: u64,
    pub phase: Phase,
    pub memory_bytes: usize,
    pub payload_bytes: usize,
    pub records: u64,
    pub batches: u64,
    pub streams: usize,
}

/// The part of one stream that belongs to one generation: `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub stream: i64,
    pub start: i64,
    pub end: i64,
    /// The batches, in order; each piece holds whole ones.
    pub pieces: Vec<Summed>,
}

/// A call that breaks the cache's contract: a mistake of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheError {
    BadBatch { stream: i64, bad: Corrupt },
    OtherHeader { stream: i64, field: &'static str, header: i64, given: i64 },
    NotContiguous { stream: i64, end: i64, base_offset: i64 },
    UnknownGeneration { generation: u64 },
    WrongPhase { generation: u64, phase: Phase, wanted: &'static str },
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadBatch { stream, bad } => write!(f, "stream {stream}: {bad}"),
            Self::OtherHeader { stream, field, header, given } => {
                write!(f, "stream {stream}: the batch says {field} {header}, the call {given}")
            }
            Self::NotContiguous { stream, end, base_offset } => {
                write!(f, "stream {stream} ends at {end}, the batch starts at {base_offset}")
            }
            Self::UnknownGeneration { generation } => write!(f, "no generation {generation}"),
            Self::WrongPhase { generation, phase, wanted } => {
                write!(f, "generation {generation} is {phase:?}, wanted {wanted}")
            }
        }
    }
}

impl std::error::Error for CacheError {}

/// See the module. Shared between the event loop and a thread that builds an object.
#[derive(Debug)]
pub struct LogCache {
    state: Mutex<State>,
}

#[derive(Debug)]
struct Generation {
    id: u64,
    released: bool,
    held: Change,
    /// Streams that have, or had, chunks here. A dropped and reopened stream may be in it twice.
    streams: Vec<i64>,
    stream_count: usize,
}

#[derive(Debug)]
struct State {
    bytes_max: usize,
    memory_bytes: usize,
    unreleased_bytes: usize,
    evicted_bytes: u64,
    streams: HashMap<i64, StreamLog>,
    closed: VecDeque<Generation>,
    active: Generation,
}

/// Plain numbers about the whole cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStats {
    pub memory_bytes: usize,
    /// Memory that may not be evicted because no commit covers it yet.
    pub unreleased_bytes: usize,
    /// Batches in the active generation, for deciding when to seal it.
    pub active_bytes: usize,
    pub streams: usize,
    /// Payload evicted since the start.
    pub evicted_bytes: u64,
}

impl LogCache {
    /// An empty cache that evicts released data when it holds more than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                bytes_max,
                memory_bytes: 0,
                unreleased_bytes: 0,
                evicted_bytes: 0,
                streams: HashMap::new(),
                closed: VecDeque::new(),
                active: Generation::new(0),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds whole batches `[base_offset, last_offset]` to a stream and gives the bytes that are kept.
    pub fn append(
        &self,
        stream: i64,
        base_offset: i64,
        last_offset: i64,
        max_timestamp: i64,
        batches: impl Into<Summed>,
    ) -> Result<Bytes, CacheError> {
        let batches = batches.into();
        let parsed = parse(stream, &batches.bytes)?;
        let same = |field, header, given| {
            let differs = CacheError::OtherHeader { stream, field, header, given };
            if header == given { Ok(()) } else { Err(differs) }
        };
        let (first, last) = (&parsed[0], &parsed[parsed.len() - 1]);
        let newest = parsed.iter().map(|batch| batch.header.max_timestamp).fold(i64::MIN, i64::max);
        same("base offset", first.header.base_offset, base_offset)?;
        same("last offset", last.next_offset() - 1, last_offset)?;
        same("max timestamp", newest, max_timestamp)?;
        self.state().append(stream, &parsed, batches)
    }

    /// Whole batches from the one that holds `start` on, that end at or below `end`.
    ///
    /// None when `start` is below what is cached. Over `bytes_max` only with `at_least_one`, and then
    /// by one batch only.
    pub fn read(
        &self,
        stream: i64,
        start: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Option<CacheRead> {
        self.state().streams.get(&stream)?.read(start, end, bytes_max, at_least_one)
    }

    /// The first cached batch in `[start, end)` whose newest timestamp is at or above `timestamp`.
    pub fn find_timestamp(
        &self,
        stream: i64,
        timestamp: i64,
        start: i64,
        end: i64,
    ) -> Option<BatchFound> {
        self.state().streams.get(&stream)?.find_timestamp(timestamp, start, end)
    }

    /// Offsets `[start, end)` of a stream that are cached; both the end when all is evicted.
    pub fn offsets(&self, stream: i64) -> Option<(i64, i64)> {
        self.state().streams.get(&stream).map(|log| (log.start(), log.end))
    }

    /// Closes the active generation and gives its id; None when it holds nothing.
    pub fn seal(&self) -> Option<u64> {
        let mut state = self.state();
        if state.active.stream_count == 0 {
            return None;
        }
        let next = Generation::new(state.active.id + 1);
        let sealed = std::mem::replace(&mut state.active, next);
        let id = sealed.id;
        state.closed.push_back(sealed);
        Some(id)
    }

    /// Says that a sealed generation is committed: an object holds it, so it may be evicted.
    pub fn release(&self, generation: u64) -> Result<(), CacheError> {
        let mut state = self.state();
        let sealed = state.closed_generation(generation, "sealed")?;
        let phase = sealed.phase();
        if phase != Phase::Sealed {
            return Err(CacheError::WrongPhase { generation, phase, wanted: "sealed" });
        }
        sealed.released = true;
        let held = sealed.held.charged_bytes;
        state.unreleased_bytes -= held;
        state.evict();
        Ok(())
    }

    /// Forgets a stream: it is deleted, or no longer ours and all of it is committed.
    pub fn drop_stream(&self, stream: i64) {
        self.state().drop_stream(stream);
    }

    /// All generations, oldest first; the last is the active one.
    pub fn generations(&self) -> Vec<GenerationStats> {
        let state = self.state();
        let closed = state.closed.iter().map(|closed| closed.stats(closed.phase()));
        closed.chain([state.active.stats(Phase::Active)]).collect()
    }

    pub fn bytes_max(&self) -> usize {
        self.state().bytes_max
    }

    pub fn stats(&self) -> CacheStats {
        let state = self.state();
        CacheStats {
            memory_bytes: state.memory_bytes,
            unreleased_bytes: state.unreleased_bytes,
            active_bytes: state.active.held.payload_bytes,
            streams: state.streams.len(),
            evicted_bytes: state.evicted_bytes,
        }
    }

    /// The streams of a sealed generation, in order of their ids.
    pub fn streams_of(&self, generation: u64) -> Result<Vec<i64>, CacheError> {
        let mut state = self.state();
        let sealed = state.closed_generation(generation, "sealed")?;
        if sealed.released {
            let phase = sealed.phase();
            return Err(CacheError::WrongPhase { generation, phase, wanted: "sealed" });
        }
        let mut streams = sealed.streams.clone();
        streams.sort_unstable();
        streams.dedup();
        Ok(streams)
    }

    /// What a stream has in a generation; None when it has nothing there (any more).
    ///
    /// The lock is held for one stream at a time, so that building an object never stops the loop.
    pub fn run_of(&self, generation: u64, stream: i64) -> Option<Run> {
        let state = self.state();
        let chunks = &state.streams.get(&stream)?.chunks;
        let first = chunks.partition_point(|chunk| chunk.generation < generation);
        let past = chunks.partition_point(|chunk| chunk.generation <= generation);
        let (start, end) = (chunks.get(first)?.start, chunks.get(past.checked_sub(1)?)?.end);
        if first == past {
            return None;
        }
        let pieces = chunks.range(first..past).map(Chunk::summed).collect();
        Some(Run { stream, start, end, pieces })
    }
}

fn parse(stream: i64, batches: &[u8]) -> Result<Vec<BatchAt>, CacheError> {
    let bad = |bad| CacheError::BadBatch { stream, bad };
    let parsed: Vec<BatchAt> = walk(batches, 0).collect::<Result<_, _>>().map_err(bad)?;
    if parsed.is_empty() {
        return Err(bad(Corrupt { position: 0, why: "no bytes".to_owned() }));
    }
    for pair in parsed.windows(2) {
        let (end, base_offset) = (pair[0].next_offset(), pair[1].header.base_offset);
        if end != base_offset {
            return Err(CacheError::NotContiguous { stream, end, base_offset });
        }
    }
    Ok(parsed)
}

impl State {
    fn append(
        &mut self,
        stream: i64,
        batches: &[BatchAt],
        bytes: Summed,
    ) -> Result<Bytes, CacheError> {
        let base_offset = batches[0].header.base_offset;
        let mut new_bytes = 0;
        let log = self.streams.entry(stream).or_insert_with(|| {
            new_bytes = STREAM_BYTES;
            StreamLog::new(base_offset)
        });
        if log.end != base_offset {
            return Err(CacheError::NotContiguous { stream, end: log.end, base_offset });
        }
        if !log.has(self.active.id) {
            self.active.streams.push(stream);
            self.active.stream_count += 1;
        }
        let (kept, change) = log.append(self.active.id, bytes, batches);
        self.active.held.add(&change);
        self.unreleased_bytes += change.charged_bytes;
        self.memory_bytes += change.charged_bytes + new_bytes;
        self.evict();
        Ok(kept)
    }

    fn closed_generation(
        &mut self,
        generation: u64,
        wanted: &'static str,
    ) -> Result<&mut Generation, CacheError> {
        if generation == self.active.id {
            return Err(CacheError::WrongPhase { generation, phase: Phase::Active, wanted });
        }
        self.closed
            .iter_mut()
            .find(|closed| closed.id == generation)
            .ok_or(CacheError::UnknownGeneration { generation })
    }

    /// Removes released chunks, oldest generation first, until the budget is kept.
    fn evict(&mut self) {
        while self.memory_bytes > self.bytes_max {
            let Some(oldest) = self.closed.front_mut().filter(|oldest| oldest.released) else {
                return;
            };
            let Some(&stream) = oldest.streams.last() else {
                self.closed.pop_front();
                continue;
            };
            let log = self.streams.get_mut(&stream);
            let Some(log) = log.filter(|log| log.front_generation() == Some(oldest.id)) else {
                oldest.streams.pop();
                continue;
            };
            let Some((_, change)) = log.pop_front() else { return };
            if log.front_generation() != Some(oldest.id) {
                oldest.stream_count -= 1;
            }
            oldest.held.remove(&change);
            self.memory_bytes -= change.charged_bytes;
            self.evicted_bytes += change.payload_bytes as u64;
        }
    }

    fn drop_stream(&mut self, stream: i64) {
        let Some(mut log) = self.streams.remove(&stream) else { return };
        self.memory_bytes -= STREAM_BYTES;
        let mut previous = None;
        while let Some((id, change)) = log.pop_front() {
            let of = if id == self.active.id {
                &mut self.active
            } else {
                let found = self.closed.iter_mut().find(|closed| closed.id == id);
                found.expect("a chunk's generation is known as long as the chunk")
            };
            if previous != Some(id) {
                of.stream_count -= 1;
                previous = Some(id);
            }
            of.held.remove(&change);
            self.memory_bytes -= change.charged_bytes;
            if !of.released {
                self.unreleased_bytes -= change.charged_bytes;
            }
        }
    }
}

/// What a stream costs beside its chunks: its entry in the table and a first ring of chunks.
const STREAM_BYTES: usize = size_of::<StreamLog>() + 64;

impl Generation {
    fn new(id: u64) -> Self {
        let held = Change::default();
        Self { id, released: false, held, streams: Vec::new(), stream_count: 0 }
    }

    fn phase(&self) -> Phase {
        if self.released { Phase::Released } else { Phase::Sealed }
    }

    fn stats(&self, phase: Phase) -> GenerationStats {
        GenerationStats {
            id: self.id,
            phase,
            memory_bytes: self.held.charged_bytes,
            payload_bytes: self.held.payload_bytes,
            records: self.held.records,
            batches: self.held.batches,
            streams: self.stream_count,
        }
    }
}

impl Change {
    fn add(&mut self, other: &Self) {
        self.charged_bytes += other.charged_bytes;
        self.payload_bytes += other.payload_bytes;
        self.records += other.records;
        self.batches += other.batches;
    }

    fn remove(&mut self, other: &Self) {
        self.charged_bytes -= other.charged_bytes;
        self.payload_bytes -= other.payload_bytes;
        self.records -= other.records;
        self.batches -= other.batches;
    }
}
