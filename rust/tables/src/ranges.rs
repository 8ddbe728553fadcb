//! The ranges that one object holds of many streams: about 10 bytes each.
//!
//! Rows are sorted by stream and coded in groups of 32, each readable on its own, so that a look-up
//! bisects the groups' first streams and decodes one group. A range that ended (trimmed, removed,
//! replaced) keeps its row and has its bit set in `dead`.

use crate::columns::{read_signed, write_signed};

const GROUP: usize = 32;

/// What an object holds of a stream: the batches of `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub stream: i64,
    pub start: i64,
    pub end: i64,
    pub bytes: i64,
    pub max_timestamp: i64,
}

/// Immutable rows, one per stream, and which of them are dead.
#[derive(Debug, Default)]
pub struct PackedRanges {
    rows: usize,
    alive: usize,
    first_streams: Box<[i64]>,
    positions: Box<[u32]>,
    packed: Box<[u8]>,
    dead: Vec<u64>,
}

impl PackedRanges {
    /// Packs ranges whose streams ascend strictly.
    pub fn new(ranges: &[Range]) -> Self {
        debug_assert!(ranges.windows(2).all(|pair| pair[0].stream < pair[1].stream));
        let mut packed = Vec::with_capacity(ranges.len() * 10);
        let mut first_streams = Vec::with_capacity(ranges.len().div_ceil(GROUP));
        let mut positions = Vec::with_capacity(ranges.len().div_ceil(GROUP));
        for group in ranges.chunks(GROUP) {
            first_streams.push(group[0].stream);
            positions.push(packed.len() as u32);
            let (mut stream, mut stamp) = (group[0].stream, 0);
            for range in group {
                write_signed(&mut packed, range.stream.wrapping_sub(stream));
                write_signed(&mut packed, range.start);
                write_signed(&mut packed, range.end.wrapping_sub(range.start));
                write_signed(&mut packed, range.bytes);
                write_signed(&mut packed, range.max_timestamp.wrapping_sub(stamp));
                (stream, stamp) = (range.stream, range.max_timestamp);
            }
        }
        Self {
            rows: ranges.len(),
            alive: ranges.len(),
            first_streams: first_streams.into(),
            positions: positions.into(),
            packed: packed.into(),
            dead: Vec::new(),
        }
    }

    /// The row of `stream` and what it says, dead or alive.
    pub fn find(&self, stream: i64) -> Option<(usize, Range)> {
        let group = self.first_streams.partition_point(|first| *first <= stream).checked_sub(1)?;
        let rows = GROUP.min(self.rows - group * GROUP);
        self.group(group)
            .take(rows)
            .enumerate()
            .find(|(_, range)| range.stream >= stream)
            .filter(|(_, range)| range.stream == stream)
            .map(|(row, range)| (group * GROUP + row, range))
    }

    /// The ranges that are alive, by stream. Groups of which none is are not decoded.
    pub fn alive(&self) -> impl Iterator<Item = Range> + '_ {
        (0..self.first_streams.len())
            .filter(|group| !self.is_dead_group(*group))
            .flat_map(|group| {
                self.group(group)
                    .take(GROUP.min(self.rows - group * GROUP))
                    .enumerate()
                    .map(move |(row, range)| (group * GROUP + row, range))
            })
            .filter(|(row, _)| !self.is_dead(*row))
            .map(|(_, range)| range)
    }

    pub fn is_dead(&self, row: usize) -> bool {
        self.dead.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    fn is_dead_group(&self, group: usize) -> bool {
        let first = group * GROUP;
        let rows = GROUP.min(self.rows - first);
        // A group is half a word.
        let bits = self.dead.get(first / 64).map_or(0, |word| word >> (first % 64));
        let all = (1_u64 << rows) - 1;
        bits & all == all
    }

    /// Marks a row; says whether it was alive.
    pub fn kill(&mut self, row: usize) -> bool {
        if self.dead.is_empty() {
            self.dead.resize(self.rows.div_ceil(64), 0);
        }
        let was = self.dead[row / 64];
        self.dead[row / 64] = was | 1 << (row % 64);
        let is_new = was != self.dead[row / 64];
        self.alive -= usize::from(is_new);
        is_new
    }

    /// How many are alive.
    pub fn alive_count(&self) -> usize {
        self.alive
    }

    pub fn memory_bytes(&self) -> usize {
        self.packed.len() + self.first_streams.len() * 12 + self.dead.len() * 8
    }

    fn group(&self, group: usize) -> impl Iterator<Item = Range> + '_ {
        let mut at = self.positions[group] as usize;
        let (mut stream, mut stamp) = (self.first_streams[group], 0_i64);
        std::iter::from_fn(move || {
            // The bytes are our own: reading fails only behind the last row.
            let mut next = || read_signed(&self.packed, &mut at).ok();
            stream = stream.wrapping_add(next()?);
            let start = next()?;
            let end = start.wrapping_add(next()?);
            let bytes = next()?;
            stamp = stamp.wrapping_add(next()?);
            Some(Range { stream, start, end, bytes, max_timestamp: stamp })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(count: i64) -> Vec<Range> {
        (0..count)
            .map(|i| Range {
                stream: i * 3 + 1,
                start: i * 1_000_003 % 100_000,
                end: i * 1_000_003 % 100_000 + 50,
                bytes: 4_000 + i % 100,
                max_timestamp: 1_700_000_000_000 + i % 977,
            })
            .collect()
    }

    #[test]
    fn every_stream_is_found_and_no_other() {
        let rows = ranges(100);
        let packed = PackedRanges::new(&rows);
        for (row, range) in rows.iter().enumerate() {
            assert_eq!(packed.find(range.stream), Some((row, *range)));
            assert_eq!(packed.find(range.stream + 1), None);
        }
        assert_eq!(packed.find(0), None);
        assert_eq!(PackedRanges::new(&[]).find(5), None);
    }

    #[test]
    fn a_killed_row_is_not_alive() {
        let rows = ranges(70);
        let mut packed = PackedRanges::new(&rows);
        assert!(packed.kill(64));
        assert!(!packed.kill(64));
        let alive: Vec<_> = packed.alive().collect();
        assert_eq!((alive.len(), packed.alive_count()), (69, 69));
        assert!(!alive.contains(&rows[64]));
    }

    #[test]
    fn groups_that_are_dead_are_passed_over_and_no_other() {
        let rows = ranges(140);
        let mut packed = PackedRanges::new(&rows);
        (32..96).chain(128..139).for_each(|row| assert!(packed.kill(row)));
        let alive: Vec<_> = packed.alive().collect();
        assert_eq!(alive, [&rows[..32], &rows[96..128], &rows[139..]].concat());
        assert!(packed.kill(139));
        assert_eq!(packed.alive().last(), Some(rows[127]));
    }

    #[test]
    fn a_range_takes_about_ten_bytes() {
        let packed = PackedRanges::new(&ranges(20_000));
        assert!(packed.memory_bytes() < 13 * 20_000, "{}", packed.memory_bytes());
    }
}
