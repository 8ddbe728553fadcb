//! Who holds which range of which stream: judging and applying commits, trims, removals; look-ups.

use std::collections::HashMap;

use crate::columns::Columns;
use crate::objects::{Object, ObjectState, Objects, Prepared};
use crate::ranges::{PackedRanges, Range};
use crate::streams::{Extent, Stream, StreamState, Streams};
use crate::{Broken, hold};

/// Ranges of at least this many bytes are kept in their stream's own list.
pub const LARGE_BYTES: i64 = 8 << 20;

/// What becomes of one range of a commit. Depends on streams alone, never on the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the stream's new end (clipped, if its first part was committed before).
    Taken = 0,
    /// Committed before: only the same WAL can have put it there.
    Already = 1,
    /// The stream was removed.
    Gone = 2,
    /// An older epoch that reaches past the start of the next: another node owns those offsets.
    Fenced = 3,
}

/// One object's ranges: stream, epoch, start, end, bytes, max timestamp; streams ascend strictly.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The node and node epoch whose WAL the batches come from.
    pub owner: (i32, i64),
    pub ranges: &'a Columns,
}

/// A verdict for each range, and the taken ones: stream, start, end, bytes, max timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub verdicts: Vec<Verdict>,
    pub taken: Columns,
}

/// A range of a stream and where its object keeps its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    pub object: i64,
    pub range: Range,
    pub object_bytes: i64,
    pub index_position: i64,
    pub index_bytes: i64,
}

/// Streams, objects and ranges.
#[derive(Debug, Default)]
pub struct Storage {
    pub streams: Streams,
    pub objects: Objects,
    /// Ids below these were given out once, and never will be again.
    pub next_stream: i64,
    pub next_object: i64,
}

impl Storage {
    pub fn create_stream(&mut self, stream: i64, row: Stream) -> Result<(), Broken> {
        hold!(stream >= self.next_stream, "stream {stream} is not a new id");
        self.next_stream = stream + 1;
        self.streams.by_id.insert(stream, row);
        Ok(())
    }

    pub fn prepare(&mut self, first: i64, count: i64, by: Prepared) -> Result<(), Broken> {
        hold!(first >= self.next_object, "object {first} is not a new id");
        self.next_object = first + count;
        for id in first..first + count {
            self.objects.insert(Object::new(id, ObjectState::Prepared, by))?;
        }
        Ok(())
    }

    /// Judges commits as if applied one after the other. `Err` is a sentence about what no correct
    /// node sends: a gap, an epoch that was never opened, streams out of order.
    pub fn judge_commits(&self, commits: &[Commit]) -> Result<Vec<Judged>, String> {
        let mut ends = HashMap::new();
        commits.iter().map(|commit| self.judge_commit(commit, &mut ends)).collect()
    }

    fn judge_commit(
        &self,
        commit: &Commit,
        ends: &mut HashMap<i64, i64>,
    ) -> Result<Judged, String> {
        let [streams, epochs, starts, stops, sizes, stamps] = commit
            .ranges
            .split::<6>()
            .ok_or("a commit has 6 columns: stream, epoch, start, end, bytes, max_timestamp")?;
        if let Some(pair) = streams.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("stream {} after {}: streams must ascend", pair[1], pair[0]));
        }
        let rows = streams.len();
        let mut verdicts = Vec::with_capacity(rows);
        let mut taken: Vec<Vec<i64>> = (0..5).map(|_| Vec::with_capacity(rows)).collect();
        for row in 0..rows {
            let range = Range {
                stream: streams[row],
                start: starts[row],
                end: stops[row],
                bytes: sizes[row],
                max_timestamp: stamps[row],
            };
            let (verdict, start) = self.judge_range(commit.owner, epochs[row], &range, ends)?;
            verdicts.push(verdict);
            if verdict == Verdict::Taken {
                ends.insert(range.stream, range.end);
                let bytes = clipped_bytes(&range, start);
                let values = [range.stream, start, range.end, bytes, range.max_timestamp];
                taken.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            }
        }
        let taken = Columns::new(taken).ok_or("columns of one length")?;
        Ok(Judged { verdicts, taken })
    }

    fn judge_range(
        &self,
        owner: (i32, i64),
        epoch: i64,
        range: &Range,
        ends: &HashMap<i64, i64>,
    ) -> Result<(Verdict, i64), String> {
        let Range { stream, start, end, .. } = *range;
        if start < 0 || start >= end || range.bytes < 0 || epoch < 0 {
            return Err(format!(
                "stream {stream}: [{start}, {end}) at epoch {epoch} holds nothing"
            ));
        }
        let Some(found) = self.streams.get(stream) else {
            if stream >= self.next_stream {
                return Err(format!("stream {stream} was never created"));
            }
            return Ok((Verdict::Gone, start));
        };
        let current = i64::from(found.epoch);
        if epoch < current {
            let next = found.end_of_epoch(epoch as i32).unwrap_or(found.end);
            let verdict = if end <= next { Verdict::Already } else { Verdict::Fenced };
            return Ok((verdict, start));
        }
        if epoch > current {
            return Err(format!("stream {stream}: epoch {epoch} was never opened ({current} is)"));
        }
        let committed = ends.get(&stream).copied().unwrap_or(found.end);
        if end <= committed {
            return Ok((Verdict::Already, start));
        }
        if (found.node_id, found.node_epoch) != owner {
            return Err(format!("stream {stream} is node {}'s at epoch {epoch}", found.node_id));
        }
        if found.state == StreamState::Closed {
            return Err(format!("stream {stream} was closed at {committed}, not {end}"));
        }
        if start > committed {
            return Err(format!("stream {stream}: {start} leaves a gap behind {committed}"));
        }
        Ok((Verdict::Taken, committed))
    }

    /// Applies the taken ranges of one object. The whole object is committed, or nothing.
    pub fn commit(&mut self, object: &Object, taken: &Columns) -> Result<(), Broken> {
        let rows = range_rows(taken)?;
        let mut before = i64::MIN;
        for range in &rows {
            let stream = self.streams.get_mut(range.stream)?;
            hold!(range.stream > before, "stream {} is out of order", range.stream);
            hold!(
                range.start == stream.end && range.end > range.start,
                "stream {}: [{}, {}) at {}",
                range.stream,
                range.start,
                range.end,
                stream.end
            );
            stream.end = range.end;
            before = range.stream;
        }
        self.fill(object, &rows)
    }

    /// Turns a prepared object into a committed one that holds `rows` (streams ascending).
    pub(crate) fn fill(&mut self, object: &Object, rows: &[Range]) -> Result<(), Broken> {
        let slot = self.objects.commit(object)?;
        self.attach(slot, rows)
    }

    /// Gives an object its ranges and its streams the object.
    pub(crate) fn attach(&mut self, slot: u32, rows: &[Range]) -> Result<(), Broken> {
        let small: Vec<Range> = rows.iter().filter(|r| r.bytes < LARGE_BYTES).copied().collect();
        if !small.is_empty() {
            self.objects.share(slot, &small)?;
        }
        for range in rows {
            self.objects.gain(slot, range.bytes.min(i64::from(u32::MAX)));
            let objects = &self.objects;
            let stream = self.streams.get_mut(range.stream)?;
            stream.bytes += range.bytes.min(i64::from(u32::MAX));
            if range.bytes >= LARGE_BYTES {
                let bytes = range.bytes.min(i64::from(u32::MAX)) as u32;
                let Range { start, end, max_timestamp, .. } = *range;
                let at = stream.large.partition_point(|extent| extent.start < start);
                stream.large.insert(at, Extent { start, end, max_timestamp, bytes, slot });
            } else {
                let newest = stream.small.last().map(|last| small_range(objects, *last, range));
                let at = if newest.is_none_or(|newest| newest.start < range.start) {
                    stream.small.len()
                } else {
                    let starts = |slot: &u32| small_range(objects, *slot, range).start;
                    stream.small.partition_point(|slot| starts(slot) < range.start)
                };
                stream.small.insert(at, slot);
            }
        }
        Ok(())
    }

    /// The trims that move a start and free something: stream, start (clamped to the committed end).
    pub fn judge_trims(&self, streams: &[i64], starts: &[i64]) -> (Vec<i64>, Vec<i64>) {
        let mut kept = (Vec::new(), Vec::new());
        for (stream, start) in streams.iter().zip(starts) {
            let Some(found) = self.streams.get(*stream) else { continue };
            let start = (*start).min(found.end);
            let frees =
                || self.walk(*stream, found.start).next().is_some_and(|r| r.range.end <= start);
            if start > found.start && frees() {
                kept.0.push(*stream);
                kept.1.push(start);
            }
        }
        kept
    }

    /// Moves the start. Invariant: never above the committed end; only whole ranges below it go.
    pub fn trim(&mut self, id: i64, start: i64) -> Result<(), Broken> {
        let stream = self.streams.get_mut(id)?;
        hold!(start >= stream.start, "stream {id}: start {start} below {}", stream.start);
        hold!(start <= stream.end, "stream {id}: start {start} above {}", stream.end);
        stream.start = start;
        stream.forget_epochs_below_start();
        let objects = &mut self.objects;
        let large = stream.large.partition_point(|extent| extent.end <= start);
        for extent in stream.large.drain(..large) {
            stream.bytes -= i64::from(extent.bytes);
            objects.lose(extent.slot, i64::from(extent.bytes));
        }
        let mut below = 0;
        for slot in &stream.small {
            let range = objects.at(*slot).ranges.find(id);
            if range.is_some_and(|(_, range)| range.end > start) {
                break;
            }
            stream.bytes -= objects.end_small(*slot, id)?.bytes;
            below += 1;
        }
        stream.small.drain(..below);
        Ok(())
    }

    /// Notes how far superseded records were removed, and when the tombstones there may go.
    pub fn cleaned(&mut self, id: i64, to: i64, horizon_ms: i64) -> Result<(), Broken> {
        let stream = self.streams.get_mut(id)?;
        hold!(to <= stream.end, "stream {id}: cleaned to {to} of {}", stream.end);
        (stream.cleaned_to, stream.delete_horizon_ms) = (to, horizon_ms);
        Ok(())
    }

    /// Ends a stream and all its ranges.
    pub fn remove(&mut self, id: i64) -> Result<(), Broken> {
        let Some(stream) = self.streams.by_id.remove(&id) else {
            return Err(Broken(format!("stream {id} is unknown")));
        };
        for extent in &stream.large {
            self.objects.lose(extent.slot, i64::from(extent.bytes));
        }
        for slot in stream.small {
            self.objects.end_small(slot, id)?;
        }
        Ok(())
    }

    /// The ranges that hold `[offset, ..)` of a stream, in order, from the one that holds `offset`.
    pub fn locate(&self, stream: i64, offset: i64, limit: usize) -> Vec<Located> {
        self.walk(stream, offset).take(limit).collect()
    }

    /// The first range with a record of this time or later: timestamps need not ascend.
    pub fn locate_timestamp(&self, stream: i64, timestamp: i64) -> Option<Located> {
        let start = self.streams.get(stream)?.start;
        self.walk(stream, start).find(|located| located.range.max_timestamp >= timestamp)
    }

    /// Merges a stream's two lists by offset.
    pub(crate) fn walk(&self, id: i64, offset: i64) -> impl Iterator<Item = Located> + '_ {
        let stream = self.streams.get(id);
        let (large, small) = stream.map_or((&[][..], &[][..]), |s| (&s.large[..], &s.small[..]));
        let range_of = move |slot: u32| self.objects.at(slot).ranges.find(id).map(|(_, r)| r);
        let mut next_large = large.partition_point(|extent| extent.end <= offset);
        let mut next_small =
            small.partition_point(|slot| range_of(*slot).is_some_and(|range| range.end <= offset));
        let mut pending = small.get(next_small).and_then(|slot| range_of(*slot));
        std::iter::from_fn(move || {
            let extent = large.get(next_large);
            let small_first = match (extent, pending) {
                (Some(extent), Some(range)) => range.start < extent.start,
                (None, None) => return None,
                (extent, _) => extent.is_none(),
            };
            if let (true, Some(range)) = (small_first, pending) {
                let located = self.located(small[next_small], range);
                next_small += 1;
                pending = small.get(next_small).and_then(|slot| range_of(*slot));
                return Some(located);
            }
            let extent = extent?;
            next_large += 1;
            Some(self.located(extent.slot, extent.range(id)))
        })
    }

    fn located(&self, slot: u32, range: Range) -> Located {
        let object = self.objects.at(slot);
        Located {
            object: object.id,
            range,
            object_bytes: object.bytes,
            index_position: object.index_position,
            index_bytes: object.index_bytes,
        }
    }
}

impl Object {
    pub fn new(id: i64, state: ObjectState, prepared: Prepared) -> Self {
        Self {
            id,
            state,
            prepared,
            bytes: 0,
            level: 0,
            index_position: 0,
            index_bytes: 0,
            live: 0,
            live_bytes: 0,
            ranges: PackedRanges::default(),
        }
    }
}

impl Extent {
    pub(crate) fn range(&self, stream: i64) -> Range {
        let Self { start, end, max_timestamp, .. } = *self;
        Range { stream, start, end, bytes: i64::from(self.bytes), max_timestamp }
    }
}

/// Rows of (stream, start, end, bytes, max timestamp).
pub(crate) fn range_rows(columns: &Columns) -> Result<Vec<Range>, Broken> {
    let Some([streams, starts, ends, sizes, stamps]) = columns.split::<5>() else {
        return Err(Broken(format!("{} columns where ranges have 5", columns.width())));
    };
    let row = |i: usize| Range {
        stream: streams[i],
        start: starts[i],
        end: ends[i],
        bytes: sizes[i],
        max_timestamp: stamps[i],
    };
    Ok((0..columns.rows()).map(row).collect())
}

/// The range of `like`'s stream in an object that holds one (if not, `like` itself).
fn small_range(objects: &Objects, slot: u32, like: &Range) -> Range {
    objects.at(slot).ranges.find(like.stream).map_or(*like, |(_, range)| range)
}

/// A share of the bytes for the part that is taken.
fn clipped_bytes(range: &Range, start: i64) -> i64 {
    let part = i128::from(range.end - start) * i128::from(range.bytes);
    (part / i128::from(range.end - range.start)) as i64
}
