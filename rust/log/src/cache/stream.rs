//! The cached part of one stream: chunks in order of offset, without a gap.

use std::collections::VecDeque;

use bytes::Bytes;

use super::arena::Arena;
use super::chunk::Chunk;
use super::{BatchFound, CacheRead};
use crate::batches::BatchAt;
use crate::summed::Summed;

/// Batches below this size are copied into arenas: kept by reference they would pin a whole receive
/// buffer each, and thousands of them would make a response of thousands of pieces.
pub const COPIED_BELOW_BYTES: usize = 4 * 1024;
const ARENA_BYTES_MIN: usize = 512;
const ARENA_BYTES_MAX: usize = 64 * 1024;

/// What an append or a removal changed for the accounts of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub charged_bytes: usize,
    pub payload_bytes: usize,
    pub records: u64,
    pub batches: u64,
}

#[derive(Debug)]
pub struct StreamLog {
    pub chunks: VecDeque<Chunk>,
    pub end: i64,
    /// The arena that the newest small batch went to, if that is of the active generation.
    arena: Option<(u64, Arena)>,
}

impl StreamLog {
    pub fn new(start: i64) -> Self {
        Self { chunks: VecDeque::new(), end: start, arena: None }
    }

    pub fn start(&self) -> i64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    pub fn has(&self, generation: u64) -> bool {
        self.chunks.back().is_some_and(|chunk| chunk.generation == generation)
    }

    pub fn front_generation(&self) -> Option<u64> {
        self.chunks.front().map(|chunk| chunk.generation)
    }

    /// Takes `summed`, which holds `batches` from `self.end` on.
    pub fn append(
        &mut self,
        generation: u64,
        summed: Summed,
        batches: &[BatchAt],
    ) -> (Bytes, Change) {
        let payload_bytes = summed.bytes.len();
        let small = payload_bytes < COPIED_BELOW_BYTES;
        let (kept, mut charged_bytes) = if small {
            self.copy_in(generation, &summed.bytes)
        } else {
            let bytes = summed.bytes.clone();
            let chunk = Chunk::shared(generation, self.end, summed);
            let charged_bytes = chunk.charged_bytes;
            self.chunks.push_back(chunk);
            (bytes, charged_bytes)
        };
        let chunk = self.chunks.back_mut().expect("a chunk was just written");
        let offset = chunk.len() - payload_bytes;
        let mut records = 0;
        for batch in batches {
            charged_bytes += chunk.note(&BatchAt { position: offset + batch.position, ..*batch });
            records += batch.record_count();
        }
        self.end = chunk.end;
        let batches = batches.len() as u64;
        (kept, Change { charged_bytes, payload_bytes, records, batches })
    }

    fn copy_in(&mut self, generation: u64, bytes: &[u8]) -> (Bytes, usize) {
        let mut new_bytes = 0;
        let roomy = matches!(&self.arena, Some((of, arena))
            if *of == generation && arena.room() >= bytes.len());
        if !roomy {
            let capacity = match &self.arena {
                Some((of, arena)) if *of == generation => arena.capacity() * 2,
                _ => ARENA_BYTES_MIN,
            };
            let capacity = capacity.min(ARENA_BYTES_MAX).max(bytes.len());
            let arena = Arena::new(capacity);
            new_bytes = arena.capacity();
            self.arena = Some((generation, arena));
        }
        let (_, arena) = self.arena.as_mut().expect("an arena was just made");
        let continues = self
            .chunks
            .back()
            .is_some_and(|chunk| roomy && chunk.generation == generation && chunk.is_in_an_arena());
        let mut charged_bytes = 0;
        if !continues {
            let chunk = Chunk::within(generation, self.end, arena, new_bytes);
            charged_bytes = chunk.charged_bytes;
            self.chunks.push_back(chunk);
        }
        let chunk = self.chunks.back_mut().expect("a chunk was just pushed");
        (chunk.push(arena, bytes), charged_bytes)
    }

    /// Removes the oldest chunk. Memory that the next one shares stays charged, to that one.
    pub fn pop_front(&mut self) -> Option<(u64, Change)> {
        let chunk = self.chunks.pop_front()?;
        let mut charged_bytes = chunk.charged_bytes;
        if let Some(next) = self.chunks.front_mut()
            && next.shares_memory_with(&chunk)
        {
            next.charged_bytes += charged_bytes - chunk.index_bytes();
            charged_bytes = chunk.index_bytes();
        }
        if self.arena.as_ref().is_some_and(|(of, _)| *of == chunk.generation)
            && self.front_generation() != Some(chunk.generation)
        {
            self.arena = None;
        }
        let (payload_bytes, records, batches) = (chunk.len(), chunk.records, chunk.batches);
        Some((chunk.generation, Change { charged_bytes, payload_bytes, records, batches }))
    }

    /// Whole batches from the one that holds `start` on; None when that is no longer here.
    pub fn read(
        &self,
        start: i64,
        end: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Option<CacheRead> {
        if start < self.start() {
            return None;
        }
        let mut read = CacheRead::empty(start);
        let first = self.chunks.partition_point(|chunk| chunk.end <= start);
        for chunk in self.chunks.range(first..) {
            let left = bytes_max.saturating_sub(read.size_bytes);
            let one = at_least_one && read.bufs.is_empty();
            let Some(cut) = chunk.cut(start, end, left, one) else { break };
            if read.bufs.is_empty() {
                read.base_offset = chunk.base_offset_at(cut.from);
            }
            read.size_bytes += cut.to - cut.from;
            read.next_offset = cut.next_offset;
            read.bufs.push(chunk.slice(cut.from, cut.to));
            if cut.to < chunk.len() {
                break;
            }
        }
        Some(read)
    }

    /// The first batch in `[start, end)` with a record at or after `timestamp`, by its header.
    pub fn find_timestamp(&self, timestamp: i64, start: i64, end: i64) -> Option<BatchFound> {
        let first = self.chunks.partition_point(|chunk| chunk.end <= start);
        self.chunks.range(first..).take_while(|chunk| chunk.start < end).find_map(|chunk| {
            let batch = chunk.find_timestamp(timestamp, start, end)?;
            let to = batch.end_position();
            Some(BatchFound {
                bytes: chunk.slice(batch.position, to),
                base_offset: batch.header.base_offset,
                next_offset: batch.next_offset(),
                max_timestamp: batch.header.max_timestamp,
            })
        })
    }
}
